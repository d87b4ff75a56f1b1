"""Vary training images, and the boxes and masks on them in step, by torchvision's v2 functions.

What is drawn by lot comes from a generator that is handed in, never from torch's own random numbers: images
are varied in threads, while the model draws its dropout from those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from workflow.errors import ModelError
from workflow.shapes.paint import VOID
from workflow.training import Augment, Recipe
from workflow.training.ignored import GRAY

Example = dict[str, Any]

# What no image has anything to say of, where it was moved away or cut out: no class in a mask.
IGNORE = VOID
# A box of which less is left in view is none any more.
IN_VIEW = 0.1
# Hues turn by this share of what saturation changes by.
HUE = 0.1


def refuse(recipe: Recipe, cannot: Sequence[str], who: str) -> None:
    """ModelError where the project itself asked for a variation that a trainer cannot do."""
    asked = [name for name in cannot if name in recipe.asked]
    if asked:
        raise ModelError(f"{who} cannot vary images by {asked[0]}", f"take {asked[0]} out of [train]")


def vary(example: Mapping[str, Any], augment: Augment, rng: np.random.Generator) -> Example:
    """An example as `data.Samples` gives it, varied: image and boxes and masks move together.

    Boxes are cut to the image; those hardly in view go, with their labels and masks. Mosaics are not made
    here.
    """
    varied = dict(example) | {"image": _coloured(example["image"], augment, rng)}
    return _cut_out(_moved(varied, augment, rng), augment, rng)


def _moved(example: Example, augment: Augment, rng: np.random.Generator) -> Example:
    """Flipped, turned and scaled about a place drawn by lot, so that all parts take turns in the middle."""
    if augment.flip and rng.random() < 0.5:
        example |= {name: F.horizontal_flip(example[name]) for name in _pictures(example)}
    angle = augment.rotate * rng.uniform(-1, 1)
    zoom = 1 + augment.scale * rng.uniform(-1, 1)
    height, width = example["image"].shape[-2:]
    shift = [side * abs(zoom - 1) / 2 * rng.uniform(-1, 1) for side in (width, height)]
    if not (angle or zoom != 1):
        return example
    for name in _pictures(example):
        example[name] = F.affine(
            example[name],
            angle,
            shift,
            zoom,
            [0.0, 0.0],
            InterpolationMode.BILINEAR if name == "image" else InterpolationMode.NEAREST,
            {"image": [GRAY] * 3, "mask": [IGNORE]}.get(name, 0),
        )
    if "boxes" not in example:
        return example
    whole = example["boxes"]
    inside = F.clamp_bounding_boxes(whole, clamping_mode="hard")
    return _keep(example | {"boxes": inside}, _areas(inside) >= IN_VIEW * _areas(whole))


def _cut_out(example: Example, augment: Augment, rng: np.random.Generator) -> Example:
    """One gray rectangle over up to that share of the image; what it all but hides is not to be found."""
    if not augment.cutout:
        return example
    height, width = example["image"].shape[-2:]
    area, stretch = augment.cutout * rng.random(), np.exp(rng.uniform(-0.5, 0.5))
    h = round(min(height, height * float(np.sqrt(area) * stretch)))
    w = round(min(width, width * float(np.sqrt(area) / stretch)))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    example["image"] = F.erase(example["image"], y, x, h, w, torch.tensor(GRAY, dtype=torch.uint8))
    if "mask" in example:
        example["mask"] = _painted_over(example["mask"], y, x, h, w, IGNORE)
    if "masks" in example:
        example["masks"] = _painted_over(example["masks"], y, x, h, w, 0)
    if "boxes" not in example:
        return example
    boxes = example["boxes"]
    low, high = torch.tensor([x, y]), torch.tensor([x + w, y + h])
    hidden = torch.cat([boxes[:, :2].maximum(low), boxes[:, 2:].minimum(high)], dim=1)
    return _keep(example, _areas(boxes) - _areas(hidden) >= IN_VIEW * _areas(boxes))


def _painted_over(mask: Tensor, y: int, x: int, h: int, w: int, value: int) -> Tensor:
    """`F.erase` leaves masks as they are."""
    painted = mask.clone()
    painted[..., y : y + h, x : x + w] = value
    return tv_tensors.wrap(painted, like=mask)


def _coloured(image: Tensor, augment: Augment, rng: np.random.Generator) -> Tensor:
    if augment.colour:
        image = F.adjust_saturation(image, 1 + augment.colour * rng.uniform(-1, 1))
        image = F.adjust_hue(image, HUE * augment.colour * rng.uniform(-1, 1))
    if augment.contrast:
        image = F.adjust_contrast(image, 1 + augment.contrast * rng.uniform(-1, 1))
        image = F.adjust_brightness(image, 1 + augment.contrast * rng.uniform(-1, 1))
    if augment.noise:
        spread = 255 * augment.noise * rng.random()
        grain = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32)) * spread
        noisy = (image.float() + grain).round().clamp(0, 255).to(torch.uint8)
        image = tv_tensors.wrap(noisy, like=image)
    return image


def _pictures(example: Example) -> list[str]:
    """What has a place in the image."""
    return [name for name in ("image", "boxes", "masks", "mask") if name in example]


def _areas(boxes: Tensor) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).as_subclass(Tensor)
    return sides.prod(dim=1)


def _keep(example: Example, enough: Tensor) -> Example:
    """Only the objects of which enough is in view, and that are a pixel wide and high."""
    boxes = example["boxes"]
    sides = (boxes[:, 2:] - boxes[:, :2]).as_subclass(Tensor)
    kept = enough & (sides >= 1).all(dim=1)
    for name in ("boxes", "labels", "masks"):
        if name in example:
            example[name] = tv_tensors.wrap(example[name][kept], like=example[name])
    return example
