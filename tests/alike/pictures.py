"""Images made from a number, no two alike, and copies of them as they come about in practice."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 240, height: int = 180) -> Image.Image:
    """Soft shapes and some noise, as a photograph has them."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 3 // 5, image.height * 3 // 5), Image.Resampling.LANCZOS)


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    """Two percent off each side."""
    width, height = image.size
    return image.crop((width // 50, height // 50, width - width // 50, height - height // 50))


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def tinted(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, dtype=float) * (1.1, 0.95, 0.8) + (8, 0, 0)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


COPIES = {copy.__name__: copy for copy in (resized, recompressed, cropped, mirrored, tinted)}
