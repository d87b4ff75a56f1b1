"""What project.toml may say: one pydantic model a section, unknown keys refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from workflow.records import Split
from workflow.schema import Schema
from workflow.tasks import BACKGROUND, MOST_PAINTED, TaskName

Share = Annotated[float, Field(ge=0, lt=1)]
Unit = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Spec = Annotated[str, Field(min_length=1)]
ImageSize = Annotated[int, Field(ge=32, multiple_of=32)]
# So many objects an image may have by a model's guesses, unless a project says otherwise.
MAX_DET = 1000
# As `preannotate.model`: the run that `workflow promote` made it.
PROMOTED = "promoted"
# How people see and correct the masks of objects.
MaskStyle = Literal["brush", "polygon"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(Section):
    """`folder` is relative to the project; `max_megapixels` refuses decompression bombs.

    `memory` is how many gigabytes all decoders together may take: a share of the machine's where it is not
    set. `depth` is how many bits count in gray of more than 8; by default the files or their values say.
    Models that scale images down are shown JPEGs at a reduced scale, unless `exact_decode` is set.
    """

    folder: str = "data/images"
    max_megapixels: Annotated[float, Field(gt=0)] = 200.0
    memory: Annotated[float, Field(gt=0)] | None = None
    depth: Annotated[int, Field(ge=1, le=32)] | None = None
    exact_decode: bool = False

    @property
    def limits(self) -> dict[str, float]:
        """What of the limits is set here, for the fingerprints of stages that decode.

        Without what is the default, lest a model that an earlier version trained be trained anew.
        """
        return self.model_dump(include={"max_megapixels", "memory"}, exclude_defaults=True)


class SplitRule(Section):
    """Shares of validation and test; the rest trains.

    `group` is a regular expression on the image's path: images that agree on its first group (one
    video, one patient, one sender) stay on the same side. With `near_duplicates` so do near-copies, by their
    looks; images that are catalogued stay where they are. `salt` draws another split.
    """

    validation: Share = 0.1
    test: Share = 0.2
    group: str | None = None
    near_duplicates: bool = False
    salt: str = ""

    @field_validator("group")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and re.compile(pattern).groups != 1:
                raise ValueError("needs exactly one (group) in its regular expression")
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from None
        return pattern

    @model_validator(mode="after")
    def _leaves_some_to_train(self) -> SplitRule:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave nothing to train on")
        return self


class Slices(Section):
    """An image is shown in squares of `size` pixels; neighbours share `overlap` of a side or more."""

    size: Annotated[int, Field(ge=32)]
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.2


class Preannotate(Section):
    """`model` is FAMILY:CHECKPOINT, a short name, or run:NAME; several hand their guesses on in a row.

    With "promoted" it is the run that `workflow promote` made it, and `base` until there is one.
    `threshold` holds for every class that `thresholds` does not name; without either, what draws must be
    a quarter sure. What was said is kept down to the score `floor` (0.01, of masks 0.1), so that other
    thresholds above it ask nobody anew. `class_map` turns the model's names into the project's. A model that
    reads is asked for the `prompts` of a class, by default its name, put into each of the `templates`.
    `one_label_a_place` keeps only the best of overlapping boxes, whatever their classes: where no two
    objects can share a place, a second guess there is only one more thing to delete. `max_det` is how many
    objects of an image are kept at most, the best; where it or the model's own bound is reached, that is
    said. With `slices` the model that draws first is shown an image in parts, and the whole of it besides.
    `trust` lets code run that comes with a model.
    """

    model: Spec | Annotated[tuple[Spec, ...], Field(min_length=1)] = "yolo11n.pt"
    base: Spec | Annotated[tuple[Spec, ...], Field(min_length=1)] = "yolo11n.pt"
    threshold: Unit | None = None
    floor: Unit | None = None
    thresholds: dict[str, Unit] = {}
    image_size: ImageSize | None = None
    class_map: dict[str, str] = {}
    prompts: dict[str, tuple[str, ...]] = {}
    templates: tuple[str, ...] = ()
    one_label_a_place: bool = False
    max_det: Count = MAX_DET
    slices: Slices | None = None
    trust: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """Those that the settings name, one after the other: who guesses may have been promoted since,
        which `project.promoted.preannotators` knows.
        """
        return (self.named,) if isinstance(self.named, str) else self.named

    @property
    def named(self) -> str | tuple[str, ...]:
        """The same as it is written."""
        return self.base if self.model == PROMOTED else self.model

    @model_validator(mode="after")
    def _names_models(self) -> Preannotate:
        chain = () if isinstance(self.model, str) else self.model
        if PROMOTED in chain or PROMOTED in (self.base, *self.base):
            raise ValueError(f"{PROMOTED!r} stands alone, as model; what else guesses is its base")
        return self

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"{template!r} needs one {{}}, where the class goes")
        return templates


class Push(Section):
    """Images of a `blind` split are pushed without predictions, so that no figure is anchored on them.

    So is a `control` share of the rest: what labeling takes without help is measured on it. `probes` is
    the share of guesses' images that get one more guess, planted and wrong, to measure who looks.
    `predictions` names a file of data/predictions to push instead of the pre-annotator's.
    `versions` says whether a new model's guesses join the old ones or replace them where nobody worked.
    `order` says what people get to see first: the images as catalogued, or those the model is unsure of.
    `label_config` is a labeling interface of one's own, an XML file, in place of the generated one.
    `masks` says whether people see and correct the masks of objects as brush strokes or as outlines.
    `annotations_per_task` is how many people the stream of tasks shows each image to; unset, it stays as
    it is on the server.

    An image that somebody tagged in the FiftyOne App with a word of `look_again` has it as a reason on its
    task.

    `image_url` says where a server elsewhere finds the images: https://images.example/{path}, or
    s3:// or gs:// and a bucket. Without it the server must see this machine's disk (local files storage).
    """

    blind: tuple[Split, ...] = ("test",)
    control: Share = 0.05
    probes: Share = 0.0
    predictions: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    versions: Literal["join", "replace"] = "join"
    order: Literal["catalog", "uncertain"] = "catalog"
    image_url: str | None = None
    masks: MaskStyle = "brush"
    label_config: Annotated[str, Field(min_length=1)] | None = None
    smart: bool = False
    look_again: tuple[str, ...] = ("relabel", "wrong")
    annotations_per_task: Annotated[int, Field(ge=1)] | None = None

    @field_validator("image_url")
    @classmethod
    def _has_a_path(cls, template: str | None) -> str | None:
        if template is None:
            return None
        if "{path}" not in template:
            raise ValueError("needs {path}, where an image's path goes")
        if not re.match(r"(https?|s3|gs)://[^/{]+/", template):
            raise ValueError("begins with none of https://HOST/, http://HOST/, s3://BUCKET/, gs://BUCKET/")
        return template


class Pull(Section):
    """Whose word counts where several people labeled one image.

    `latest` is the last submission; `ground-truth` what somebody marked as such in Label Studio;
    `agreement` what at least `minimum` people and the majority agree on, regions being the same from
    an IoU of `agreement_iou`; `all` keeps everybody's. `people` is how they are called wherever somebody
    is named: by name, by initials, or by the server's number alone.
    """

    annotators: Literal["latest", "ground-truth", "agreement", "all"] = "latest"
    agreement_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    minimum: Annotated[int, Field(ge=2)] = 2
    people: Literal["names", "initials", "numbers"] = "names"


class Review(Section):
    """The simulated reviewer: where the truth lies, what it tolerates, and the seconds an action costs."""

    truth: str | None = None
    accept_iou: Unit = 0.85
    look: float = 1.5
    move: float = 3.0
    reshape: float = 8.0
    relabel: float = 1.5
    delete: float = 1.0
    add: float = 5.0


class Train(Section):
    """Transfer learning from `base` (by default the pre-annotator, the last of a chain).

    `method` says what learns: a new head, low-rank adapters beside it (LoRA, of `lora_rank`), or all.
    `augment` is a preset of how images are varied; `flip`, `mosaic`, `rotate` (up to so many degrees),
    `scale`, `colour`, `contrast`, `noise` and `cutout` (up to so large a share) change it one by one.
    `patience` is the number of epochs without progress on the validation split after which training
    stops. Without a `learning_rate` or an `image_size` the family's own for the method is taken.
    """

    base: str | None = None
    method: Literal["head", "lora", "full"] = "full"
    epochs: Count = 50
    batch: Count = 16
    image_size: ImageSize | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    lora_rank: Count = 16
    patience: Count = 20
    augment: Literal["none", "light", "strong"] = "light"
    flip: bool | None = None
    mosaic: bool | None = None
    rotate: Annotated[float, Field(ge=0, le=180)] | None = None
    scale: Share | None = None
    colour: Unit | None = None
    contrast: Share | None = None
    noise: Share | None = None
    cutout: Share | None = None
    seed: int = 0


class Evaluate(Section):
    """`max_guesses` is how many guesses of an image and class count, the best. At each IoU of `voc_iou`
    Pascal VOC's average precision is told beside COCO's.
    """

    split: Split = "test"
    max_guesses: Annotated[int, Field(ge=100)] = 100
    voc_iou: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


class Promote(Section):
    """A run becomes the pre-annotator if its score on the test images is not worse than today's: the lower
    end of the paired interval of the difference lies above `margin`.
    """

    margin: Annotated[float, Field(ge=-1, le=1)] = -0.02


class Demo(Section):
    """`images` is a Python file in the project that draws the raw images into its data folder.

    It runs with all the rights of whoever starts it, and so only with `trust`, unless it comes with workflow.
    """

    images: str | None = None
    trust: bool = False


class Settings(Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,39}$")]
    title: Annotated[str, Field(min_length=3, max_length=50)]
    task: TaskName = "detection"
    classes: tuple[str, ...]
    keypoints: tuple[str, ...] = ()
    keypoint_sigmas: tuple[Annotated[float, Field(gt=0)], ...] = ()
    ignore: tuple[str, ...] = ()
    renamed_from: dict[str, str] = {}
    images: Images = Images()
    split: SplitRule = SplitRule()
    preannotate: Preannotate = Preannotate()
    push: Push = Push()
    pull: Pull = Pull()
    review: Review = Review()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    promote: Promote = Promote()
    demo: Demo = Demo()

    @property
    def schema(self) -> Schema:  # type: ignore[override]
        """Task, classes and keypoints, as they are passed on from here."""
        return Schema.of(self.task, self.classes, self.keypoints)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every name an annotation may have: the classes, and the keypoints of their objects."""
        return self.classes + self.keypoints

    @field_validator("classes", "keypoints", "ignore")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not classes and info.field_name == "classes":
            raise ValueError("names no class")
        twice = sorted({c for c in classes if classes.count(c) > 1})
        if twice:
            raise ValueError(f"names {', '.join(map(repr, twice))} more than once")
        if not all(c.strip() == c and c for c in classes):
            raise ValueError("has an empty name, or one with space around it")
        return classes

    @model_validator(mode="before")
    @classmethod
    def _models_know_old_names(cls, values: Any) -> Any:
        """What a model, trained before a class was renamed, calls by its old name is that class."""
        renamed = values.get("renamed_from") if isinstance(values, dict) else None
        section = values.get("preannotate", {}) if isinstance(renamed, dict) else None
        if isinstance(renamed, dict) and isinstance(section, dict):
            known = section.get("class_map", {})
            if isinstance(known, dict):
                old = {old: new for new, old in renamed.items() if isinstance(old, str)}
                values = values | {"preannotate": section | {"class_map": old | known}}
        return values

    @model_validator(mode="after")
    def _ignored_is_painted(self) -> Settings:
        """What is painted to be ignored is no class; objects are ignored one by one, by a note."""
        if self.ignore and self.schema.task.kind != "pixels":
            raise ValueError(
                f"ignore: {self.task} has no painted classes; note 'ignored' on a region instead"
            )
        if both := [name for name in self.ignore if name in self.classes]:
            raise ValueError(f"ignore: {both[0]!r} is a class too")
        return self

    @model_validator(mode="after")
    def _names_are_renamed(self) -> Settings:
        for new, old in self.renamed_from.items():
            if new not in self.labels:
                raise ValueError(f"renamed_from: {new!r} is no class")
            if old in self.labels:
                raise ValueError(f"renamed_from: {old!r} is still a class, so {new!r} is not its new name")
        if twice := [
            old for old in self.renamed_from.values() if [*self.renamed_from.values()].count(old) > 1
        ]:
            raise ValueError(f"renamed_from: {twice[0]!r} cannot become two classes")
        return self

    @model_validator(mode="after")
    def _names_are_classes(self) -> Settings:
        for source, target in self.preannotate.class_map.items():
            if target not in self.labels:
                raise ValueError(f"preannotate.class_map: {source!r} leads to {target!r}, which is no class")
        for section in ("prompts", "thresholds"):
            for name in getattr(self.preannotate, section):
                if name not in self.classes:
                    raise ValueError(f"preannotate.{section}: {name!r} is no class")
        return self

    @model_validator(mode="after")
    def _fit_the_task(self) -> Settings:
        if self.schema.task.points and not self.keypoints:
            raise ValueError("keypoints: names no point, and task is keypoints")
        if self.keypoints and not self.schema.task.points:
            raise ValueError(f"keypoints: are not labeled where task is {self.task}")
        if self.preannotate.slices and self.schema.task.kind == "labels":
            raise ValueError(f"preannotate.slices: are for what draws, and task is {self.task}")
        if self.push.probes and not self.schema.task.of_objects:
            raise ValueError(f"push.probes: are planted among objects, and {self.task} has none")
        if self.keypoint_sigmas and len(self.keypoint_sigmas) != len(self.keypoints):
            counts = f"has {len(self.keypoint_sigmas)} numbers for {len(self.keypoints)} keypoints"
            raise ValueError(f"keypoint_sigmas: {counts}; give one each, in their order")
        if shared := set(self.keypoints) & set(self.classes):
            raise ValueError(f"keypoints: {sorted(shared)[0]!r} is a class too")
        if self.schema.task.kind == "pixels" and BACKGROUND in self.classes:
            raise ValueError(f"classes: {BACKGROUND!r} is what nobody painted, and no class")
        if self.schema.task.kind == "pixels" and len(self.classes) > MOST_PAINTED:
            most = f"{MOST_PAINTED} are the most that fit a painted picture"
            raise ValueError(f"classes: names {len(self.classes)}, and {most}")
        return self
