"""Copies of what a browser does not show as it is: PNGs of the upright pixels, in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

from PIL import Image

from workflow.images import decode, depth
from workflow.images.depth import Gray, Levels
from workflow.images.file import File

# Quick to write; what deflates well does so at every level.
COMPRESSION = 3


def name(image: str, levels: Levels | None) -> str:
    """The name of an image's copy, another one for other `levels`."""
    return f"{image}.png" if levels is None else f"{image}-{levels[0]:.12g}-{levels[1]:.12g}.png"


def levels_of(grays: Mapping[str, Gray], stated: Mapping[str, Levels], bits: int | None) -> dict[str, Levels]:
    """Black and white of each deep image of a source, by its key in `grays`.

    For whole numbers that is what a person has said, `bits`, else what the file itself has `stated`, else
    one decision for all others; for fractions one decision for all.
    """
    depths = {key: depth.of_bits(bits) for key, gray in grays.items() if not gray.floating} if bits else {}
    levels = {**stated, **depths}
    for floating in (False, True):
        rest = {key: g for key, g in grays.items() if key not in levels and g.floating == floating}
        if rest:
            levels |= dict.fromkeys(rest, depth.common(rest.values()))
    return levels


def write(
    source: File, file: IO[bytes], max_megapixels: float, memory: float | None, levels: Levels | None
) -> None:
    """Write the copy of an image. ImageError where it cannot be decoded any more."""
    pixels = decode.from_file(source, max_megapixels, memory, levels)
    Image.fromarray(pixels).save(file, "PNG", compress_level=COMPRESSION)
