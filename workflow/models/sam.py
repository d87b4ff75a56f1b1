"""SAM, SAM-HQ, SAM 2 and 3 through transformers (Apache-2.0): the mask of what a box encloses.

They name nothing: boxes and labels come from the model before them in a chain, `["grounding-dino", "sam2"]`.
Or from a person who clicks: `embed` looks at an image once, `mask` answers any number of prompts on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workflow.models import Guesses, Options, Pixels
from workflow.models.batches import filled_up
from workflow.models.device import autocast, upload
from workflow.models.frame import HubFrame, cut
from workflow.models.segments import AT_ONCE
from workflow.records import Annotation, Point
from workflow.shapes import masks
from workflow.shapes.overlap import as_box

# Boxes of an image that are asked for at once.
PROMPTS = 64

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Embedded:
    """An image as the mask decoder knows it; `size` is (height, width) of the image as it was shown.

    `scale` leads from the image's pixels (x, y) to those the model saw; `padding` is what a post-processor
    must know of those it did not see. `upright` is the image's own (height, width): what is too narrow for a
    network is shown on a wider ground.
    """

    features: dict[str, Any]
    size: tuple[int, int]
    scale: np.ndarray
    padding: dict[str, Any]
    upright: tuple[int, ...]


class Sam(HubFrame):
    """A promptable segmenter as an Annotator: a mask for each box, rotated box, outline or mask of `prior`.

    Label and score are kept. What encloses no area, and what the model sees nothing in, comes to no mask.
    """

    family = "sam"
    auto = "AutoModelForMaskGeneration"
    kinds = ("sam", "sam2", "sam2_video", "sam3_tracker", "sam3_video", "sam_hq")

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "instance-segmentation")
        # The model before it was asked by the usual threshold already.
        self._threshold = options.threshold or 0.0

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        guesses: list[Guesses] = [()] * len(images)
        wanted = [self._wanted(some, classes) for some in prior]
        # An image without boxes costs nothing.
        numbers = [number for number, boxes in enumerate(wanted) if boxes]
        if not numbers:
            return guesses
        embedded = self._embed([filled_up(images[number]) for number in numbers])
        for number, one in zip(numbers, embedded, strict=True):
            boxes = np.array([box for _, box in wanted[number]], dtype=np.float32)
            drawn = self._guesses([a for a, _ in wanted[number]], self._draw(one, boxes))
            guesses[number] = cut(drawn, images[number])
        return guesses

    def embed(self, image: Pixels) -> Embedded:
        """Look at an upright RGB image (height, width, 3), which takes nearly all the time."""
        return replace(self._embed([filled_up(image)])[0], upright=image.shape[:2])

    def mask(
        self, image: Embedded, points: Sequence[Point], positive: Sequence[bool], box: Box | None = None
    ) -> np.ndarray:
        """The mask (height, width) of what prompts mean: pixels of the image, in the object or beside it.

        `image` is what `embed` gave.

        A single click may mean a thing or a part of it: of the model's three readings the one it is surest
        of is taken. With a box or several clicks there is one.
        """
        import torch

        prompts: dict[str, Any] = {}
        if len(points):
            place = (np.asarray(points, dtype=np.float32) * image.scale).astype(np.float32)
            prompts["input_points"] = upload(torch.from_numpy(place)[None, None], self._device)
            kinds = torch.tensor([int(good) for good in positive])
            prompts["input_labels"] = upload(kinds[None, None], self._device)
        if box is not None:
            corners = np.array([box], dtype=np.float32)
            prompts["input_boxes"] = upload(self._seen(image, corners)[None], self._device)
        ambiguous = len(points) == 1 and box is None
        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(**image.features, **prompts, multimask_output=ambiguous)
        best = outputs.iou_scores[0, 0].argmax()
        height, width = image.upright
        return next(self._enlarge(image, outputs.pred_masks[0, :, best, None].float()))[:height, :width]

    def _wanted(self, prior: Guesses, classes: Sequence[str]) -> list[tuple[Annotation, Box]]:
        return [
            (a, box)
            for a in prior
            if a.label in classes and (a.score is None or a.score > self._threshold) and (box := as_box(a))
        ]

    def _guesses(self, boxes: list[Annotation], drawn: Iterator[np.ndarray]) -> Guesses:
        return tuple(
            Annotation(a.label, self._provenance(), mask=masks.encode(mask), score=a.score)
            for a, mask in zip(boxes, drawn, strict=True)
            if mask.any()
        )

    def _prepare(self, image: Pixels) -> Any:
        # torch warns of memory that it may not write to.
        writable = np.require(image, requirements="W")
        return self._processor(images=[writable], input_data_format="channels_last", return_tensors="pt")

    def _embed(self, images: Sequence[Pixels]) -> list[Embedded]:
        """What the mask decoder needs of the images, each looked at once."""
        import torch

        inputs = [self._prepare(image) for image in images]
        pixels = upload(torch.cat([one["pixel_values"] for one in inputs]), self._device)
        with torch.inference_mode(), autocast(self._device):
            seen = self._model.get_image_embeddings(pixels)
        features = {"image_embeddings": seen}
        if self._model.config.model_type == "sam_hq":
            features = {"image_embeddings": seen[0], "intermediate_embeddings": seen[1]}
        return [
            self._embedded(image.shape[:2], one, {k: _pick(v, place) for k, v in features.items()})
            for place, (image, one) in enumerate(zip(images, inputs, strict=True))
        ]

    def _embedded(self, size: tuple[int, ...], inputs: Any, features: dict[str, Any]) -> Embedded:
        height, width = size
        # SAM and SAM-HQ see the image at the top left of a square, the others stretched to one.
        padding = {k: inputs[k].tolist() for k in ("reshaped_input_sizes",) if k in inputs}
        (seen,) = padding.get("reshaped_input_sizes", [inputs["pixel_values"].shape[-2:]])
        scale = np.array([seen[1] / width, seen[0] / height], dtype=np.float32)
        return Embedded(features, (height, width), scale, padding, (height, width))

    def _seen(self, image: Embedded, boxes: np.ndarray) -> Any:
        """Boxes (n, 4) in the pixels that the model saw."""
        import torch

        height, width = image.size
        # A rotated box may reach over the edge.
        within = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        return torch.from_numpy(within * np.tile(image.scale, 2))

    def _draw(self, image: Embedded, boxes: np.ndarray) -> Iterator[np.ndarray]:
        """The mask (height, width) in each of the boxes of one image."""
        import torch

        for part in upload(self._seen(image, boxes), self._device).split(PROMPTS):
            with torch.inference_mode(), autocast(self._device):
                outputs = self._model(**image.features, input_boxes=part[None], multimask_output=False)
            yield from self._enlarge(image, outputs.pred_masks[0].float())

    def _enlarge(self, image: Embedded, logits: Any) -> Iterator[np.ndarray]:
        """Masks (n, 1, h, w) as the model draws them, each at the image's size."""
        height, width = image.size
        for few in logits.split(max(1, AT_ONCE // (height * width))):
            (large,) = self._processor.post_process_masks([few], original_sizes=[image.size], **image.padding)
            yield from large[:, 0].cpu().numpy()


def _pick(value: Any, place: int) -> Any:
    """One image's part of what is a tensor, or one a level, over a batch."""
    if isinstance(value, list | tuple):
        return [level[place : place + 1] for level in value]
    return value[place : place + 1]
