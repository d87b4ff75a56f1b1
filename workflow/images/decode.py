"""Decode once, upright, whatever the bit depth; refuse bombs; say why a file is no good."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from workflow.errors import ImageError
from workflow.images import depth, jpeg, memory, strange, thumbnail
from workflow.images.depth import Gray, Levels
from workflow.images.file import File
from workflow.images.orientation import TURNS, asked_otherwise, significant_bits, upright
from workflow.images.thumbnail import Thumbnail

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
        *(".avif", ".jp2", ".heic", ".heif"),
    }
)
# Formats that browsers show as they are; MPO is a JPEG with more of them behind it.
SHOWN = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP")
JPEGS = ("JPEG", "MPO")
# Bytes a pixel that Pillow keeps of each mode, and that its decoders take besides, as measured.
KEPT = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
BESIDES = {"WEBP": 12.5, "AVIF": 12, "JPEG2000": 20, "TIFF": 4, "GIF": 4}
PROGRESSIVE, TURNING = 8, 11
# Up to so many pixels an image is converted at once, which is faster than in strips.
AT_ONCE = 2**21
# Up to so many bytes a file is held while it is looked at; a larger one is read again for its hash.
HELD = 2**26
# By how much libjpeg reduces an image while it decodes it, for less than the whole takes.
SCALES = (8, 4, 2)
# An image's upright height and width -> the least of both that will do, or None.
Least = Callable[[int, int], tuple[int, int] | None]
Made = TypeVar("Made")

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's warning.
Image.MAX_IMAGE_PIXELS = None
# What it warns of on odd metadata is no news; a filter of its own for each thread there is not.
warnings.filterwarnings("ignore", module=r"PIL\.")
_gate = memory.Gate()


@dataclass(frozen=True, slots=True)
class Look:
    """An image that can be decoded: its upright size in pixels, and EXIF's orientation (1 is upright).

    `copy` says why a browser is to be shown a copy of its pixels instead; empty where it is not.
    Gray of more than 8 bits has its `gray` range, and `levels` where the file itself states its depth.
    `sha256` is of the file's bytes, in hex.
    """

    width: int
    height: int
    thumbnail: Thumbnail
    sha256: str = ""
    orientation: int = 1
    copy: str = ""
    gray: Gray | None = None
    levels: Levels | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Upright RGB `pixels` (h, w, 3) of an image of `height` and `width`, each the mean of `scale` x `scale`.

    Where the scale does not divide a side, the last of its pixels reach over the image's edge.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    scale: int = 1


@dataclass(frozen=True, slots=True)
class _Opened:
    """An image whose header has been read and checked, and what is to be done to it.

    `width` and `height` are upright, of the whole image; `scale` says how much smaller it is decoded.
    """

    image: Image.Image
    name: str
    width: int
    height: int
    orientation: int
    significant: int | None
    content: bytes
    scale: int = 1

    @property
    def need(self) -> int:
        """Bytes that decoding takes: the decoder's own, Pillow's image, and the pixels that come of it."""
        image = self.image
        # A progressive image's coefficients are all kept, however small it comes out.
        progressive = PROGRESSIVE * self.scale**2
        besides = progressive if image.info.get("progressive") else BESIDES.get(image.format or "", 0.5)
        besides += TURNING if self.orientation in TURNS else 0
        # To see whether only the end is missing, the rest is decoded twice more.
        besides += 8 if self.content and self.content.rfind(jpeg.END_MARKER, -(2**16)) < 0 else 0
        return int(image.width * image.height * (KEPT.get(image.mode, 4) + besides + 3))


def from_file(
    path: File, max_megapixels: float = 200.0, memory: float | None = None, levels: Levels | None = None
) -> NDArray[np.uint8]:
    """The upright RGB pixels (height, width, 3) of the first frame.

    Gray and palette images are spread over three channels, CMYK is converted, transparency is laid on
    white as a browser's page does. Deep gray is scaled to 8 bits by the values for black and white that
    `levels` or the file states, else by the smallest usual depth that holds it. `memory` is how many
    gigabytes all threads that decode may take; without it, a share of the machine's.
    Raises ImageError for what is empty, truncated, too large or no image.
    """
    return _in_file(path, max_megapixels, memory, lambda opened: _pixels(opened, levels))


def from_bytes(
    content: bytes, name: str, max_megapixels: float = 200.0, memory: float | None = None
) -> NDArray[np.uint8]:
    """As `from_file`, of a file's content; `name` is what errors call it."""
    file = io.BytesIO(content)
    return _in(file, name, max_megapixels, memory, lambda opened: _pixels(opened, None))


def view(path: File, least: Least, max_megapixels: float = 200.0, memory: float | None = None) -> View:
    """As `from_file`; a JPEG in the smallest size libjpeg makes of it, 1/8, 1/4, 1/2 or 1, that is enough.

    `least` says of an upright (height, width) what is: neither side may come out smaller; None for the whole.
    """
    return _in_file(path, max_megapixels, memory, _view, least)


def look(path: File, max_megapixels: float = 200.0, memory: float | None = None) -> Look:
    """Read a file once, and decode it to see that it can be. ImageError as `from_file`.

    libjpeg decodes a JPEG at the smallest scale that fills the thumbnail, and passes over no byte of it.
    """

    def whole(file: IO[bytes]) -> Look:
        # Read at once it is of one moment, even if it changes meanwhile.
        small = not isinstance(file, io.BytesIO) and os.fstat(file.fileno()).st_size <= HELD
        held: Any = io.BytesIO(file.read()) if small else file
        look = _in(held, str(path), max_megapixels, memory, _look)
        held.seek(0)
        return replace(look, sha256=hashlib.file_digest(held, "sha256").hexdigest())

    return _with_file(path, whole)


def is_deep(path: Path) -> bool:
    """Whether a file is gray of more than 8 bits, by its header; False for what is no image."""
    try:
        with Image.open(path) as image:
            return depth.is_deep(image)
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError and more; decoding says what is wrong.
        return False


def _in_file(
    path: File,
    max_megapixels: float,
    gigabytes: float | None,
    use: Callable[[_Opened], Made],
    least: Least | None = None,
) -> Made:
    return _with_file(path, lambda file: _in(file, str(path), max_megapixels, gigabytes, use, least))


def _with_file(path: File, use: Callable[[IO[bytes]], Made]) -> Made:
    try:
        with path.open("rb") as file:
            return use(file)
    except FileNotFoundError:
        raise ImageError(f"{path} is gone", "missing") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read", "no-permission", f"chmod u+r {path}") from None
    except OSError as error:
        raise ImageError(f"{path}: broken ({error})", "broken") from None


def _in(
    file: IO[bytes],
    name: str,
    max_megapixels: float,
    gigabytes: float | None,
    use: Callable[[_Opened], Made],
    least: Least | None = None,
) -> Made:
    """What `use` makes of an image, within the memory that decoders may take together."""
    try:
        with Image.open(file) as image:
            _refuse_bomb(name, image, max_megapixels)
            opened = _open(image, file, name)
            if least is not None:
                opened = _reduced(opened, least)
            budget = memory.budget(gigabytes)
            _refuse_large(opened, budget)
            with _gate.taking(opened.need, budget):
                return use(opened)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise strange.error(file, name) from None
    except MemoryError:
        raise ImageError(f"{name}: too large for this machine's memory", "too-large") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more on broken files.
        reason = "truncated" if "truncated" in str(error) else "broken"
        raise ImageError(f"{name}: {reason} ({error})", reason) from None


def _open(image: Image.Image, file: IO[bytes], name: str) -> _Opened:
    width, height, turn = upright(image, file)
    content = b""
    if image.format in JPEGS:
        place = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(place)
        if image.info.get("progressive") and jpeg.has_too_many_scans(content):
            what = f"{name}: a progressive JPEG of more than {jpeg.MOST_SCANS} scans"
            raise ImageError(what, "too-many-scans", "save it anew")
    return _Opened(image, name, width, height, turn, significant_bits(image, file), content)


def _reduced(opened: _Opened, least: Least) -> _Opened:
    """The same, to be decoded in the smallest size that is enough."""
    image = opened.image
    enough = least(opened.height, opened.width)
    if enough is None or image.format not in JPEGS or image.mode not in ("RGB", "L"):
        return opened
    for scale in SCALES:
        # What reaches over the right and the lower edge must stay there when the image is turned.
        stays = opened.orientation in (1, 5) or not (image.width % scale or image.height % scale)
        if stays and opened.height >= enough[0] * scale and opened.width >= enough[1] * scale:
            image.draft(None, (image.width // scale, image.height // scale))
            return replace(opened, scale=scale)
    return opened


def _view(opened: _Opened) -> View:
    return View(_pixels(opened, None), opened.height, opened.width, opened.scale)


def _look(opened: _Opened) -> Look:
    image = opened.image
    moves = image.format not in JPEGS and getattr(image, "is_animated", False)
    if isinstance(image, JpegImageFile):
        image.draft("L", thumbnail.size(*image.size))
        # In one call, rather than in one for each 64 KB.
        image.decodermaxblock = len(opened.content)
    loaded = _loaded(opened)
    copy = "it moves: the first frame is what is labeled" if moves else _why_copied(opened)
    if loaded is not image:
        copy = "it lacks its end marker, without which many readers refuse it"
    gray = depth.measure(loaded) if depth.is_deep(loaded) else None
    levels = depth.stated(loaded, opened.significant)
    small = thumbnail.measure(_thumbnail(opened, loaded))
    return Look(opened.width, opened.height, small, "", opened.orientation, copy, gray, levels)


def _thumbnail(opened: _Opened, image: Image.Image) -> Image.Image:
    """The upright thumbnail of an image with its pixels, which may be reduced already."""
    if image.mode not in ("L", "RGB") or image.has_transparency_data:
        return thumbnail.reduced(Image.fromarray(_pixels(opened, None)))
    small = thumbnail.reduced(image)
    if opened.orientation in TURNS and image.format != "TIFF":
        return small.transpose(TURNS[opened.orientation])
    return small


def _why_copied(opened: _Opened) -> str:
    """Why a browser is not to be shown the file itself: it could not, or would show something else."""
    image = opened.image
    if image.format not in SHOWN:
        return f"no browser shows {image.format}"
    if depth.is_deep(image):
        return "its gray has more than 8 bits"
    if image.mode == "CMYK":
        return "browsers differ on CMYK"
    if image.format in JPEGS and jpeg.process(opened.content) not in jpeg.SHOWN:
        return "no browser shows a JPEG coded like this"
    if (other := asked_otherwise(image, opened.orientation)) is not None:
        return f"browsers take its orientation as {opened.orientation}, other programs as {other}"
    return ""


def _loaded(opened: _Opened) -> Image.Image:
    """The image with its pixels. A JPEG that lacks only its end marker is good: browsers show it."""
    try:
        opened.image.load()
        return opened.image
    except OSError as error:
        content = opened.content
        if "truncated" not in str(error) or not jpeg.may_lack_its_end_only(content):
            raise
        whole, more = (Image.open(io.BytesIO(content + end)) for end in (jpeg.END_MARKER, jpeg.FILLED_END))
        for image in (whole, more):
            image.draft(None, (image.width // opened.scale, image.height // opened.scale))
        # Where a part of the scan is missing, the decoder takes what follows for it.
        if ImageChops.difference(whole, more).getbbox() is not None:
            raise
        return whole


def _refuse_bomb(name: str, image: Image.Image, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        what = f"{name}: {megapixels:.3g} megapixels, more than {max_megapixels:g}"
        raise ImageError(what, "too-large", "raise images.max_megapixels if that is meant")
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name}: has no pixels", "no-pixels")


def _refuse_large(opened: _Opened, budget: int) -> None:
    if opened.need > budget:
        takes, may = (f"{size / memory.GIGABYTE:.2g} GB" for size in (opened.need, budget))
        what = f"{opened.name}: takes {takes} of memory to decode, more than {may}"
        raise ImageError(what, "too-large", "raise images.memory if that is meant")


def _pixels(opened: _Opened, levels: Levels | None) -> NDArray[np.uint8]:
    image = _loaded(opened)
    if depth.is_deep(image):
        pixels = _gray_pixels(
            image, levels or depth.stated(image, opened.significant) or depth.common([depth.measure(image)])
        )
    else:
        pixels = _colour_pixels(image)
    if opened.orientation in TURNS and image.format != "TIFF":
        return np.asarray(Image.fromarray(pixels).transpose(TURNS[opened.orientation]))
    return pixels


def _gray_pixels(image: Image.Image, levels: Levels) -> NDArray[np.uint8]:
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    top = 0
    for strip in depth.strips(image):
        pixels[top : top + len(strip)] = depth.scale(strip, levels)[:, :, None]
        top += len(strip)
    return pixels


def _colour_pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.width * image.height <= AT_ONCE:
        return np.asarray(_to_rgb(image))
    # Some rows at a time, lest a large image be there in each of the modes it passes through.
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = depth.rows_at_once(image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + part.height] = np.asarray(_to_rgb(part))
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
