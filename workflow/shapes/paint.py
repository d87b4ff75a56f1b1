"""Classes painted over an image: masks to one number a pixel, and back. The one place that does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.shapes.overlap import as_mask
from workflow.tasks import MOST_PAINTED, VOID_LABEL

Numbers = NDArray[np.uint8]
# What nobody painted, and what nobody can tell: neither learned nor counted.
NOTHING, VOID = 0, 255


@dataclass(frozen=True)
class Painting:
    """`pixels` (height, width): k for the k-th class, 0 where nobody painted, 255 for what is void.

    Of two layers the later counts: so many pixels were painted `twice`, by classes of different names. So
    many annotations had no pixel: `empty`. What is ignored is void, whatever its label.
    """

    pixels: Numbers
    twice: int
    empty: int


def paint(annotations: Iterable[Annotation], names: Sequence[str], height: int, width: int) -> Painting:
    """Paint what covers pixels, in its order. ValueError for a mask of another size, or too many classes."""
    if len(names) > MOST_PAINTED:
        raise ValueError(f"{len(names)} classes do not fit 8 bits, {MOST_PAINTED} are the most")
    pixels = np.zeros((height, width), dtype=np.uint8)
    twice = empty = 0
    for annotation in annotations:
        layer = masks.decode(as_mask(annotation, height, width))
        if layer.shape != pixels.shape:
            size = f"{layer.shape[1]}x{layer.shape[0]}"
            raise ValueError(f"mask {annotation.label!r} of {size} is none of a {width}x{height} image")
        number = VOID if annotation.ignored else names.index(annotation.label) + 1
        twice += int((layer & (pixels != NOTHING) & (pixels != VOID) & (pixels != number)).sum())
        empty += not layer.any()
        pixels[layer] = number
    return Painting(pixels, twice, empty)


def annotations_of(pixels: Numbers, names: Sequence[str], provenance: Provenance) -> list[Annotation]:
    """A mask for each class that occurs, in the order of `names`, and an ignored one of what is void."""
    painted = [
        Annotation(name, provenance, mask=masks.encode(layer)) for name, layer in layers(pixels, names)
    ]
    if (void := pixels == VOID).any():
        painted.append(Annotation(VOID_LABEL, provenance, mask=masks.encode(void), ignored=True))
    return painted


def layers(pixels: Numbers, names: Sequence[str]) -> Iterator[tuple[str, masks.Bits]]:
    """Each class that occurs, in the order of `names`, with its pixels."""
    for number in np.unique(pixels).tolist():
        if number not in (NOTHING, VOID):
            yield names[number - 1], pixels == number
