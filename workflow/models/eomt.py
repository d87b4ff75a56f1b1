"""EoMT through transformers (Apache-2.0), on DINOv2 or DINOv3: masks of objects, or a mask a class.

It answers as Mask2Former does (Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", 2025).
A panoptic checkpoint has learned both: `#instance` asks for its objects, `#semantic` for each pixel's class.
Images are either filled up to a square, or cut into overlapping squares, as its processor says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workflow.models import Guesses
from workflow.models.device import autocast, upload
from workflow.models.frame import Size
from workflow.models.mask2former import Mask2Former, claims
from workflow.models.segments import class_masks

if TYPE_CHECKING:
    from torch import Tensor


class Eomt(Mask2Former):
    """An EoMT checkpoint as an Annotator; it gives as many objects as it has queries at most.

    Where the processor cuts images into squares, the network's answers on them are averaged where they
    overlap; that tells the class of a pixel but no object, so that such a checkpoint is of classes only.
    """

    family = "eomt"
    kinds = ("eomt", "eomt_dinov3")

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        if self.task == "semantic-segmentation" and self._processor.do_split_image:
            return self._classes_of_cuttings(inputs, sizes, labels)
        return super()._look(inputs, sizes, labels)

    def _classes_of_cuttings(
        self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]
    ) -> list[Guesses]:
        """From each image's squares, which follow each other in `inputs`."""
        import torch

        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(pixel_values=upload(inputs, self._device))
        likely = outputs.class_queries_logits.float().softmax(dim=-1)[..., :-1]
        each = len(inputs) // len(sizes)
        squares = zip(
            likely.split(each), outputs.masks_queries_logits.float().split(each), sizes, strict=True
        )
        joined = [self._joined(some, drawn, size) for some, drawn, size in squares]
        return class_masks(joined, sizes, labels, claims, self._threshold, self._provenance())

    def _joined(self, likely: Tensor, drawn: Tensor, size: Size) -> Tensor:
        """One raster (class, h, w) of an image from what its squares' queries claim, as they were cut.

        `likely` are class probabilities (square, query, class), `drawn` mask logits (square, query, h, w).
        """
        import torch

        height, width = self._scaled(size)
        side = self._processor.size["shortest_edge"]
        total = drawn.new_zeros(likely.shape[-1], height, width)
        counts = drawn.new_zeros(height, width)
        # Where the squares are longer together than the image's longer side, they share the difference.
        spare = len(drawn) * side - max(height, width)
        step = side - (spare / (len(drawn) - 1) if len(drawn) > 1 else 0)
        for number, (one, logits) in enumerate(zip(likely, drawn, strict=True)):
            square = torch.einsum("qc,qhw->chw", one, self._at_side(logits[None], side)[0].sigmoid())
            some = slice(int(number * step), int(number * step) + side)
            place = (some, slice(None)) if height > width else (slice(None), some)
            total[(slice(None), *place)] += square
            counts[place] += 1
        return total / counts.clamp(min=1)

    def _within(self, logits: Tensor, size: Size) -> Tensor:
        """The part of masks (n, h, w) in which the image lies, without what fills up the square."""
        if not self._processor.do_pad or not len(logits):
            return logits
        height, width = self._scaled(size)
        return self._at_side(logits[None], self._processor.size["longest_edge"])[0, :, :height, :width]

    def _scaled(self, size: Size) -> Size:
        """The height and width at which the network sees an image."""
        from transformers.image_transforms import get_size_with_aspect_ratio

        limits = self._processor.size
        return get_size_with_aspect_ratio(size, limits["shortest_edge"], limits["longest_edge"])

    def _at_side(self, rasters: Tensor, side: int) -> Tensor:
        """Rasters (n, channel, h, w) in the pixels of the network's square."""
        from torch.nn.functional import interpolate

        return interpolate(rasters, (side, side), mode="bilinear", align_corners=False)
