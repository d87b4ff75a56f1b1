"""U-Net, and whatever else segmentation-models-pytorch (MIT) has: semantic segmentation you trained yourself.

A checkpoint is a folder with what the library's `save_pretrained` writes, config.json and
model.safetensors, and a names.json beside them, since neither says what the network was taught:

    {"names": ["background", "cell"], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

the name of each output channel, and how colours in [0, 1] were normalised. A network of one channel has
one name, and says where it is by a sigmoid; one of several says so by a softmax over them. An `image_size`
there is the length of an image's longer side in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels
from workflow.models.batches import Batch, same_size_batches
from workflow.models.device import autocast, pick_device, ready, upload
from workflow.models.frame import THRESHOLD, Frame, Size
from workflow.models.segments import class_masks, softmax, without_background
from workflow.project.rows import file_digest, read_json
from workflow.tasks import BACKGROUND

if TYPE_CHECKING:
    from torch import Tensor

FILES = ("config.json", "model.safetensors", "names.json")
LOCAL = f"name a folder with {', '.join(FILES[:-1])} and {FILES[-1]}, as in unet:models/NAME"


class Unet(Frame):
    """A network of segmentation-models-pytorch as an Annotator.

    One mask a class, of the pixels where it is the likeliest; its score is their mean probability, and
    without a threshold all come back. An image is seen as large as it is, or with its longer side
    `image_size` pixels, by default those of training.
    """

    # Which names it is asked for decides whose a pixel is.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        if not isinstance(checkpoint, Path):
            raise ModelError(f"model {spec!r}: {checkpoint} is not on this machine", LOCAL)
        for name in FILES:
            if not (checkpoint / name).exists():
                raise ModelError(f"model {spec!r}: {checkpoint / name} is missing", LOCAL)
        if find_spec("segmentation_models_pytorch") is None:
            what = f"model {spec!r}: segmentation-models-pytorch is not installed (it is optional)"
            raise ModelError(what, "pip install segmentation-models-pytorch")
        self.device = pick_device(options.device)
        self.engine = f"PyTorch, {self.device}"
        self.network, channels = _load(spec, checkpoint)
        self.network = ready(self.network, self.device, options.compiled)
        names, self._mean, self._std = _read_names(spec, checkpoint / "names.json", channels)
        own_size = read_json(checkpoint / "names.json").get("image_size")
        self._image_size: int | None = options.image_size or own_size
        classes = without_background(dict(enumerate(names)), options.class_map)
        super().__init__(spec, options, "semantic-segmentation", [file_digest(checkpoint)], classes)

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        raise ModelError(f"{checkpoint} is not on this machine", LOCAL)

    def close(self) -> None:
        del self.network

    def seen(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the network sees an image."""
        scale = self._image_size / max(height, width) if self._image_size else 1.0
        return max(1, round(height * scale)), max(1, round(width * scale))

    def prepare(self, images: Sequence[Pixels], **_: Any) -> dict[str, Tensor]:
        """One image as the network takes it, (1, 3, h, w), filled up to its stride at the right and below."""
        import torch
        from torch.nn.functional import interpolate, pad

        (image,) = images
        height, width = self.seen(*image.shape[:2])
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        if image.shape[:2] != (height, width):
            pixels = interpolate(pixels, (height, width), mode="bilinear", antialias=True)
        pixels = (pixels - torch.tensor(self._mean)[:, None, None]) / torch.tensor(self._std)[:, None, None]
        stride = self.network.encoder.output_stride
        return {"pixel_values": pad(pixels, (0, -width % stride, 0, -height % stride))}

    def _seen_at(self, height: int, width: int) -> Size | None:
        return self.seen(height, width) if self._image_size else None

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        return same_size_batches(self.prepare, images)

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        seen = [self.seen(*size) for size in sizes]
        # Without the margin that filled the image up.
        rasters = [one[:, :h, :w] for one, (h, w) in zip(self._forward(inputs), seen, strict=True)]
        return class_masks(rasters, sizes, labels, softmax, self._threshold, self._provenance())

    def _forward(self, inputs: Tensor) -> Tensor:
        """Logits (image, class, h, w)."""
        import torch

        with torch.inference_mode(), autocast(self.device):
            logits = self.network(upload(inputs, self.device))
        # A network with a head for the whole image too gives both.
        logits = (logits[0] if isinstance(logits, tuple) else logits).float()
        if logits.shape[1] == 1:
            # The softmax of 0 and x is the sigmoid of x.
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits


def _load(spec: str, folder: Path) -> tuple[Any, int]:
    """The network, in evaluation mode, and its number of channels.

    The library's own from_pretrained prints to standard output, and may fetch an encoder's weights.
    """
    import segmentation_models_pytorch as library
    from safetensors.torch import load_file

    config = read_json(folder / "config.json")
    kind = getattr(library, str(config.get("_model_class")), None)
    if not isinstance(kind, type) or not issubclass(kind, library.base.SegmentationModel):
        what = f"model {spec!r}: {folder / 'config.json'} names no network of segmentation-models-pytorch"
        raise ModelError(what, "save it by the library's save_pretrained")
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    try:
        # Without the activation, so that what comes out are logits.
        model: Any = kind(**settings | {"encoder_weights": None, "activation": None})
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(f"model {spec!r}: {' '.join(lines[:2])[:200]}", LOCAL) from error
    if settings.get("in_channels", 3) != 3:
        raise ModelError(f"model {spec!r}: takes {settings['in_channels']} channels, not RGB", LOCAL)
    return model.eval(), settings.get("classes", 1)


def _read_names(spec: str, file: Path, channels: int) -> tuple[list[str], list[float], list[float]]:
    content = read_json(file)
    keys = ("names", "mean", "std")
    parts: list[Any] = [content.get(key) if isinstance(content, dict) else None for key in keys]
    if [len(part) if isinstance(part, list) else 0 for part in parts] != [channels, 3, 3]:
        what = f"model {spec!r}: {file} needs {channels} names, a mean and a std of three numbers"
        raise ModelError(what, "see docs/models.md")
    names, mean, std = parts
    return ([BACKGROUND, *names] if channels == 1 else names), mean, std
