"""Decode once, upright, whatever the bit depth; refuse bombs; say why a file is no good."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from workflow.errors import ImageError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2", ".heic", ".heif"}
)

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's warning.
Image.MAX_IMAGE_PIXELS = None


def from_file(path: Path, max_megapixels: float = 200.0) -> NDArray[np.uint8]:
    """The upright RGB pixels (height, width, 3) of the first frame.

    Gray and palette images are spread over three channels, CMYK is converted, transparency is laid on
    white as a browser's page does, and 10, 12 and 16-bit gray is scaled to 8 bits.
    Raises ImageError for what is empty, truncated, too large or no image.
    """
    try:
        with path.open("rb") as file:
            return _pixels(file, str(path), max_megapixels)
    except FileNotFoundError:
        raise ImageError(f"{path} is gone", "missing") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read", "no-permission", f"chmod u+r {path}") from None
    except OSError as error:
        raise ImageError(f"{path}: broken ({error})", "broken") from None


def from_bytes(content: bytes, name: str, max_megapixels: float = 200.0) -> NDArray[np.uint8]:
    """As `from_file`, of a file's content; `name` is what errors call it."""
    return _pixels(io.BytesIO(content), name, max_megapixels)


def _pixels(file: IO[bytes], name: str, max_megapixels: float) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                _refuse_bomb(name, image, max_megapixels)
                image.load()
                return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except ImageError:
        raise
    except UnidentifiedImageError:
        reason = "empty-file" if file.seek(0, io.SEEK_END) == 0 else "not-an-image"
        raise ImageError(f"{name}: {reason.replace('-', ' ')}", reason) from None
    except MemoryError:
        raise ImageError(f"{name}: too large for this machine's memory", "too-large") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        reason = "truncated" if "truncated" in str(error) else "broken"
        raise ImageError(f"{name}: {reason} ({error})", reason) from None


def _refuse_bomb(name: str, image: Image.Image, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        what = f"{name}: {megapixels:.0f} megapixels, more than {max_megapixels:g}"
        raise ImageError(what, "too-large", "raise images.max_megapixels if that is meant")
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name}: has no pixels", "no-pixels")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(pixels: NDArray) -> NDArray[np.uint8]:
    """Scale deep gray by the smallest usual bit depth that holds it: 12-bit scans must not come out black."""
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels)
        top = 1.0 if pixels.max(initial=0) <= 1 else 255.0 if pixels.max() <= 255 else 65535.0
    else:
        top = next(d for d in (255, 1023, 4095, 65535, 2**32) if pixels.max(initial=0) <= d)
    return (np.clip(pixels / top, 0, 1) * 255 + 0.5).astype(np.uint8)
