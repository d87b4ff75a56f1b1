"""Annotators: anything that looks at images and guesses labels.

`MODELS` is the table: each family's "module:Class" is loaded when picked. A model is named by its family
and a checkpoint, `FAMILY:CHECKPOINT`; what was fine-tuned here is `run:NAME`. A bare `NAME.pt` is
ultralytics'. A checkpoint is a file or folder on this machine, or what its family's publisher calls it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workflow.errors import ModelError
from workflow.records import Annotation
from workflow.store import read_json

Pixels = NDArray[np.uint8]
Guesses = tuple[Annotation, ...]


@dataclass(frozen=True)
class Family:
    """One row of the table. `examples` are checkpoints of the publishers, `local` one on this machine."""

    place: str
    task: str
    what: str
    licence: str
    local: str
    examples: tuple[str, ...]

    @property
    def module(self) -> Any:
        return import_module(self.place.partition(":")[0])


MODELS = {
    "ultralytics": Family(
        "workflow.models.ultralytics:Ultralytics",
        "detection",
        "YOLO",
        "AGPL-3.0, library and weights",
        "ultralytics:base/weights.pt",
        ("yolo11n.pt", "yolo11s.pt", "yolo11m.pt"),
    ),
    "detr": Family(
        "workflow.models.detr:Detr",
        "detection",
        "DETR, Deformable DETR, RT-DETRv2, D-FINE and others of transformers",
        "Apache-2.0, the library; weights as their publisher says",
        "detr:models/NAME",
        ("PekingU/rtdetr_v2_r18vd", "ustc-community/dfine-xlarge-coco", "SenseTime/deformable-detr"),
    ),
    "open-vocabulary": Family(
        "workflow.models.open_vocabulary:OpenVocabulary",
        "detection of what the class names say, untrained",
        "Grounding DINO, MM Grounding DINO, OWL-ViT, OWLv2",
        "Apache-2.0, the library; weights as their publisher says",
        "open-vocabulary:models/NAME",
        ("IDEA-Research/grounding-dino-tiny", "google/owlv2-base-patch16-ensemble"),
    ),
}


class Annotator(Protocol):
    """One model, loaded once. `name` and `revision` go into the provenance of what it says.

    `names` are the classes it can tell, after the class map; none for a model that finds what it is told.
    """

    name: str
    revision: str

    @property
    def names(self) -> tuple[str, ...]: ...

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        """Guess labels of a batch of upright RGB images (height, width, 3), best first, scores in [0, 1].

        `prior` is what the annotator before it in a chain said of each image. Only labels in `classes`
        come back; boxes lie within their image.
        """
        ...

    def close(self) -> None: ...


def resolve(spec: str, project: Path) -> tuple[str, Path | str]:
    """Family and checkpoint that a spec names. A checkpoint that is a file or folder comes as its Path.

    ModelError for an unknown family or a missing run.
    """
    family, _, checkpoint = spec.partition(":")
    if not checkpoint and family.endswith(".pt"):
        family, checkpoint = "ultralytics", spec
    if family == "run":
        return _resolve_run(checkpoint, project)
    if family not in MODELS:
        near = difflib.get_close_matches(family, MODELS, 1)
        hint = f"did you mean {near[0]}:...?" if near else f"families: {', '.join(MODELS)}, run"
        raise ModelError(f"model {spec!r}: no family {family!r}", hint)
    if not checkpoint:
        raise ModelError(f"model {spec!r}: names no checkpoint", f"write {family}:CHECKPOINT")
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
        MODELS[family].module.fetch(checkpoint, fetched_folder())


def _resolve_run(name: str, project: Path) -> tuple[str, Path]:
    runs = project / "data" / "runs"
    card = read_json(runs / name / "run.json") if re.fullmatch(r"[\w.-]+", name) else None
    if card is None:
        known = sorted(p.parent.name for p in runs.glob("*/run.json"))
        raise ModelError(f"no finished run {name!r}", f"runs: {', '.join(known) or 'none; workflow train'}")
    return card["family"], runs / name / card["checkpoint"]


def slug(spec: str) -> str:
    """A file name for an annotator: ultralytics:base/digits.pt -> ultralytics-base-digits-pt."""
    return re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")


def load(
    spec: str,
    project: Path,
    *,
    threshold: float,
    image_size: int,
    class_map: dict[str, str] | None = None,
    one_label_a_place: bool = False,
    device: str = "auto",
    log: Path | None = None,
) -> Annotator:
    """Load the model a spec names. ModelError says in one line what is missing."""
    family, checkpoint = resolve(spec, project)
    return getattr(MODELS[family].module, MODELS[family].place.partition(":")[2])(
        spec,
        checkpoint,
        threshold=threshold,
        image_size=image_size,
        class_map=class_map or {},
        one_label_a_place=one_label_a_place,
        device=device,
        log=log or project / "data" / "logs" / f"{slug(spec)}.log",
    )
