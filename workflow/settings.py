"""What project.toml may say: one pydantic model a section, unknown keys refused."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from workflow.records import Split

Share = Annotated[float, Field(ge=0, lt=1)]
Unit = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(Section):
    """`folder` is relative to the project; `max_megapixels` refuses decompression bombs."""

    folder: str = "data/images"
    max_megapixels: Annotated[float, Field(gt=0)] = 200.0


class SplitRule(Section):
    """Shares of validation and test; the rest trains.

    `group` is a regular expression on the image's path: images that agree on its first group (one
    video, one patient, one sender) stay on the same side. `salt` draws another split.
    """

    validation: Share = 0.1
    test: Share = 0.2
    group: str | None = None
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


class Preannotate(Section):
    """`model` is FAMILY:CHECKPOINT or run:NAME; `class_map` turns the model's names into the project's.

    `one_label_a_place` keeps only the best of overlapping boxes, whatever their classes: where no two
    objects can share a place, a second guess there is only one more thing to delete.
    """

    model: str = "yolo11n.pt"
    threshold: Unit = 0.25
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] = 640
    class_map: dict[str, str] = {}
    one_label_a_place: bool = False


class Push(Section):
    """Images of a `blind` split are pushed without predictions, so that no figure is anchored on them.

    `image_url` says where a server elsewhere finds the images: https://images.example/{path}. Without
    it the server must see this machine's disk (local files storage).
    """

    blind: tuple[Split, ...] = ("test",)
    image_url: str | None = None

    @field_validator("image_url")
    @classmethod
    def _has_a_path(cls, template: str | None) -> str | None:
        if template is not None and "{path}" not in template:
            raise ValueError("needs {path}, where an image's path goes")
        return template


class Review(Section):
    """The simulated reviewer: where the truth lies, what it tolerates, and the seconds an action costs."""

    truth: str | None = None
    accept_iou: Unit = 0.85
    look: float = 1.5
    move: float = 3.0
    relabel: float = 1.5
    delete: float = 1.0
    add: float = 5.0


class Train(Section):
    """Transfer learning from `base` (by default the pre-annotator).

    `flip`, `mosaic`, `rotate` (up to so many degrees) and `scale` (up to that share) vary the images;
    `freeze` keeps that many of the model's first layers as they are; `patience` is the number of
    epochs without progress on the validation split after which training stops.
    """

    base: str | None = None
    epochs: Count = 50
    batch: Count = 16
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] = 640
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    freeze: Annotated[int, Field(ge=0)] = 0
    patience: Count = 20
    flip: bool = True
    mosaic: bool = True
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Share = 0.5
    seed: int = 0


class Evaluate(Section):
    split: Split = "test"


class Demo(Section):
    """`images` is a Python file in the project that draws the raw images into its data folder."""

    images: str | None = None


class Settings(Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,39}$")]
    title: Annotated[str, Field(min_length=3, max_length=50)]
    task: Literal["detection"] = "detection"
    classes: tuple[str, ...]
    images: Images = Images()
    split: SplitRule = SplitRule()
    preannotate: Preannotate = Preannotate()
    push: Push = Push()
    review: Review = Review()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    demo: Demo = Demo()

    @field_validator("classes")
    @classmethod
    def _are_names(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if not classes:
            raise ValueError("names no class")
        twice = sorted({c for c in classes if classes.count(c) > 1})
        if twice:
            raise ValueError(f"names {', '.join(map(repr, twice))} more than once")
        if not all(c.strip() == c and c for c in classes):
            raise ValueError("has an empty name, or one with space around it")
        return classes

    @model_validator(mode="after")
    def _map_leads_to_classes(self) -> Settings:
        for source, target in self.preannotate.class_map.items():
            if target not in self.classes:
                raise ValueError(f"preannotate.class_map: {source!r} leads to {target!r}, which is no class")
        return self
