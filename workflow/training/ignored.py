"""What is ignored in a training image of objects: it is gray, so that nothing is learned of it."""

from __future__ import annotations

from collections.abc import Sequence

from workflow.models import Pixels
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.matching import objects
from workflow.shapes.overlap import as_mask

# What no image has anything to say of.
GRAY = 114


def counted(annotations: Sequence[Annotation]) -> list[Annotation]:
    """The annotations of an image but what is ignored, and the points of that."""
    gone = {a.id for a in annotations if a.ignored and a.id}
    return [a for a in annotations if not a.ignored and not (a.parent and a.parent in gone)]


def hidden(pixels: Pixels, annotations: Sequence[Annotation]) -> Pixels:
    """An image (height, width, 3) whose ignored parts are gray, but for what lies within other objects.

    Left as it is, it would be learned as a place without objects: no detector here takes a crowd.
    """
    ignored = [a for a in annotations if a.ignored]
    if not ignored:
        return pixels
    size = pixels.shape[:2]
    hide = masks.decode(masks.union([as_mask(a, *size) for a in ignored]))
    if others := objects(counted(annotations)):
        hide &= ~masks.decode(masks.union([as_mask(a, *size) for a in others]))
    pixels = pixels.copy()
    pixels[hide] = GRAY
    return pixels
