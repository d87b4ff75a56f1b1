"""Images as a network takes them: in batches of one size, so that none is padded to its neighbours' size.

Padding would make what a model guesses of an image depend on the others that happen to be beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from workflow.models import Pixels, Size

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
# Sides in a larger proportion are none that networks were made for: the shorter would be scaled to nothing,
# or the longer to gigabytes.
ASPECT = 48
GRAY = 114
# The numbers of some images, and what a network takes of them.
Batch = tuple[list[int], Any]


def filled_up(image: Pixels) -> Pixels:
    """The image, wider or higher by gray where one of its sides is more than `ASPECT` times the other."""
    least = -(-max(image.shape[:2]) // ASPECT)
    margins = [(0, max(0, least - side)) for side in image.shape[:2]]
    if not any(margin for _, margin in margins):
        return image
    return np.pad(image, (*margins, (0, 0)), constant_values=GRAY)


def same_shape(images: Sequence[Pixels]) -> list[Batch]:
    """The images in groups of one (height, width), with their numbers."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    return [(numbers, [images[number] for number in numbers]) for numbers in groups.values()]


def same_size_batches(processor: Any, images: Sequence[Pixels]) -> list[Batch]:
    """Pixel values (n, 3, h, w) of images that come out of the processor at one size, with their numbers."""
    import torch

    groups: dict[tuple[int, ...], list[tuple[int, Any]]] = {}
    for number, image in enumerate(images):
        # torch warns of memory that it may not write to.
        writable = np.require(image, requirements="W")
        inputs = processor(images=[writable], input_data_format="channels_last", return_tensors="pt")
        pixels = inputs["pixel_values"]
        groups.setdefault(tuple(pixels.shape), []).append((number, pixels))
    return [
        ([number for number, _ in group], torch.cat([pixels for _, pixels in group]))
        for group in groups.values()
    ]


def same_size_inputs(
    processor: Any, images: Sequence[Pixels], **arguments: Any
) -> list[tuple[list[int], dict[str, Tensor]]]:
    """As `same_size_batches`, with all that the processor gives beside the pixel values, by name."""
    import torch
    from PIL import Image

    groups: dict[tuple[int, ...], list[tuple[int, dict[str, Tensor]]]] = {}
    for number, image in enumerate(images):
        # As a picture, since an array of three rows or columns could be taken for one of three channels.
        inputs = dict(processor(images=[Image.fromarray(image)], return_tensors="pt", **arguments))
        groups.setdefault(tuple(inputs["pixel_values"].shape), []).append((number, inputs))
    return [
        (
            [number for number, _ in group],
            {name: torch.cat([inputs[name] for _, inputs in group]) for name in group[0][1]},
        )
        for group in groups.values()
    ]


def seen_by(processor: Any, height: int, width: int) -> Size | None:
    """At least the size to which a processor of transformers scales an image, before it cuts or pads it.

    None where it does not scale, or says by what rule in words that are not known here.
    """
    if of_timm := getattr(processor, "data_config", None):
        short = max(of_timm["input_size"][1:]) / (of_timm.get("crop_pct") or 1)
        return fitted(height, width, short / min(height, width))
    size = getattr(processor, "size", None)
    if not getattr(processor, "do_resize", False) or not size:
        return None
    size = {name: value for name, value in dict(size).items() if value}
    match size:
        case {"height": high, "width": wide} if len(size) == 2:
            # Enough also for those that keep the sides' proportion, or pad to a square before.
            return high, wide
        case {"max_height": high, "max_width": wide}:
            return fitted(height, width, min(high / height, wide / width))
        case {"shortest_edge": short}:
            # Classifiers that cut the middle out may scale to more than what is left (ConvNeXt).
            short = short / (getattr(processor, "crop_pct", None) or 1)
            scale = short / min(height, width)
            most = size.get("longest_edge")
            return fitted(height, width, min(scale, most / max(height, width)) if most else scale)
        case {"longest_edge": long}:
            return fitted(height, width, long / max(height, width))
    return None


def fitted(height: int, width: int, scale: float) -> Size:
    """The size scaled, rounded up."""
    return math.ceil(height * scale), math.ceil(width * scale)


def by_batch(batches: Iterable[Batch], count: int, look: Callable[[Any, list[int]], Iterable[T]]) -> list[T]:
    """What `look` makes of a batch and its images' numbers, in the order of all `count` images."""
    results: dict[int, T] = {}
    for numbers, inputs in batches:
        results |= dict(zip(numbers, look(inputs, numbers), strict=True))
    return [results[number] for number in range(count)]
