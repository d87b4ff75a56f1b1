"""What a line of each file of data/ must hold: one door for what people may have edited by hand.

Which files these are follows from their names. Types are checked to the letter (no number in quotes, no
NaN), what the records say of values by making the records; each problem names its field.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from workflow.records import Annotation, ImageRecord, Mask, Provenance, RotatedBox, Sample, State

Row = dict[str, Any]
_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
# Lines to which a later version, or a person, may add a key.
_OPEN = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


@dataclass(frozen=True)
class Shape:
    """What a line must be: its types, the keys no two lines may share, and what makes its records."""

    model: type[BaseModel]
    unique: tuple[str, ...] = ()
    make: Callable[[Row], object] = dict

    def check(self, line: bytes, row: Row) -> tuple[Any, list[str]]:
        """The record of a line, whose JSON says `row`, and what is wrong with it; each with its field."""
        try:
            self.model.__pydantic_validator__.validate_json(line)
        except ValidationError as error:
            return None, [_words(one) for one in error.errors(include_url=False)]
        try:
            return self.make(row), []
        except ValueError as error:
            return None, [str(error)]


def _words(error: Any) -> str:
    """One of pydantic's errors: the field, and what is the matter with it."""
    *above, last = error["loc"] or ("",)
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        # Of a list of fixed length, it is an item that is missing.
        holder = ".".join(map(str, above))
        return f"{holder} has too few numbers" if isinstance(last, int) else f"{field} is missing"
    if error["type"] == "extra_forbidden":
        holder = next((str(key) for key in reversed(above) if isinstance(key, str)), "")
        known = _KEYS.get(holder, ())
        near = difflib.get_close_matches(str(last), known, 1, cutoff=0.5)
        return f"{field}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    what = error["msg"][:1].lower() + error["msg"][1:]
    value = error["input"]
    shown = f", and is {value!r}" if isinstance(value, str | int | float | bool) else ""
    return f"{field}: {what}{shown[:80]}".removeprefix(": ")


def _model_of(record: type, config: ConfigDict, **other: Any) -> type[BaseModel]:
    """The types of a dataclass's fields, those in `other` replaced."""
    hints = get_type_hints(record)
    return create_model(  # type: ignore[call-overload]
        record.__name__,
        __config__=config,
        **{
            field.name: (other.get(field.name, hints[field.name]), _default(field))
            for field in fields(record)
            if other.get(field.name, "") is not None
        },
    )


def _default(field: Any) -> Any:
    return ... if field.default is MISSING else field.default


def _model(name: str, config: ConfigDict, **types: Any) -> type[BaseModel]:
    return create_model(name, __config__=config, **types)


# The keys of what may stand in each field, to name what was probably meant.
_KEYS = {
    "annotations": [field.name for field in fields(Annotation)],
    "provenance": [field.name for field in fields(Provenance)],
    "rotated_box": [field.name for field in fields(RotatedBox)],
    "mask": [field.name for field in fields(Mask)],
    "": [field.name for field in fields(ImageRecord)],
}
_GEOMETRY = {
    "rotated_box": _model_of(RotatedBox, _STRICT) | None,
    "mask": _model_of(Mask, _STRICT) | None,
}
_ANNOTATION = _model_of(Annotation, _STRICT, provenance=_model_of(Provenance, _STRICT), **_GEOMETRY)
_TRUE = _model_of(Annotation, _STRICT, provenance=None, **_GEOMETRY)
_ACTION = _model(
    "Action",
    _OPEN,
    action=(str, ...),
    label=(str | None, None),
    was=(str | None, None),
    score=(float | None, None),
    moved=(bool, False),
    reshaped=(bool, False),
)
_PLACE = _model("Place", _OPEN, what=(str, ...), labels=(dict[str, list[str]], ...))
IMAGE = Shape(_model_of(ImageRecord, _STRICT), ("id", "path"), lambda row: ImageRecord(**row))
LEDGER = Shape(
    _model(
        "Ledger",
        _OPEN,
        image=(str, ...),
        actions=(list[_ACTION], ...),  # type: ignore[valid-type]
        at=(str, ...),
        person=(str, ...),
        lead_time=(float, ...),
        blind=(bool, ...),
        skipped=(bool, ...),
        model=(str, ""),
        control=(bool, False),
        probes=(list[_model("Probe", _OPEN, caught=(bool, ...))], []),  # type: ignore[misc]
    )
)
PUSHED = Shape(
    _model(
        "Pushed",
        _OPEN,
        image=(str, ...),
        task=(int, ...),
        versions=(list[str], []),
        blind=(str, ""),
        saw_nothing=(str, ""),
    ),
    ("image",),
)
SENT = Shape(
    _model(
        "Sent",
        _OPEN,
        image=(str, ...),
        version=(str, ...),
        score=(float | None, None),
        result=(list[Row], ...),
    )
)
DISPUTE = Shape(
    _model("Dispute", _OPEN, image=(str, ...), people=(list[str], []), on=(list[_PLACE], ...)),  # type: ignore[valid-type]
    ("image",),
)
# Whatever else a file of lines by image holds.
BY_IMAGE = Shape(_model("Line", _OPEN, image=(str, ...)))
DUPLICATE = Shape(_model("Duplicate", _OPEN, path=(str, ...), of=(str, ...)))
GROUPED = Shape(_model("Grouped", _OPEN, image=(str, ...), own=(str, ...), group=(str, ...)), ("image",))
PROMOTION = Shape(
    _model(
        "Promotion",
        _OPEN,
        at=(str, ...),
        model=(str, ...),
        revision=(str, ""),
        why=(str, ""),
        forced=(bool, False),
        back=(bool, False),
    )
)
QUARANTINED = Shape(_model("Quarantined", _OPEN, path=(str, ...), reason=(str, ...)))


def _measured(row: Row) -> None:
    if not ({"id", "width", "height"} <= row.keys() or {"reason", "problem"} <= row.keys()):
        raise ValueError("says neither size nor reason")


MEASURED = Shape(
    _model("Measured", _OPEN, stat=(tuple[str, int, int], ...), limit=(Any, ...), path=(str, ...)),
    make=_measured,
)


# What is not of the record is kept with it as it came.
_SAMPLE = _model(
    "Sample",
    _OPEN,
    image=(str, ...),
    state=(State, ...),
    annotations=(list[_ANNOTATION], ...),  # type: ignore[valid-type]
    task=(int | None, None),
    at=(str, ""),
    relations=(list[Row], []),
)
_ANSWER = _model(
    "Answer",
    _STRICT,
    image=(str, ...),
    height=(int, ...),
    width=(int, ...),
    guesses=(list[_TRUE], ...),  # type: ignore[valid-type]
    full=(list[tuple[int, float]], []),
)
_TRUTH = _model(
    "Truth",
    _OPEN,
    file=(str, ...),
    annotations=(list[_TRUE], []),  # type: ignore[valid-type]
    unreadable=(bool, False),
)


def sample_shape(annotation: Callable[[Row], Annotation]) -> Shape:
    """A line of labels or predictions; `annotation` makes the record of one of its annotations."""

    def make(row: Row) -> Sample:
        made = tuple(_with_place(annotation, n, a) for n, a in enumerate(row["annotations"]))
        meta = {key: value for key, value in row.items() if key not in ("image", "state", "annotations")}
        return Sample(row["image"], row["state"], made, meta)

    return Shape(_SAMPLE, ("image",), make)


def answer_shape(annotation: Callable[[Row], Annotation]) -> Shape:
    """A line of what annotators said, before anything was chosen."""
    nobody = {"provenance": {"kind": "model", "name": ""}}

    def make(row: Row) -> None:
        for n, a in enumerate(row["guesses"]):
            _with_place(annotation, n, a | nobody)

    return Shape(_ANSWER, ("image",), make)


def truth_shape(annotation: Callable[[Row], Annotation]) -> Shape:
    """A line of the simulated reviewer's truth: a file and its annotations, or that it is `unreadable`."""
    somebody = {"provenance": {"kind": "person", "name": "somebody"}}

    def make(row: Row) -> None:
        for n, a in enumerate(row.get("annotations", [])):
            _with_place(annotation, n, a | somebody)

    return Shape(_TRUTH, ("file",), make)


def _with_place(make: Callable[[Row], Annotation], number: int, row: Row) -> Annotation:
    try:
        made = make(row)
        if made.mask is not None:
            _check_runs(made.mask)
        return made
    except ValueError as error:
        raise ValueError(f"annotations.{number}: {error}") from None


def _check_runs(mask: Mask) -> None:
    from faster_coco_eval.core import mask as library

    size = f"{mask.height} x {mask.width}"
    if mask.height < 1 or mask.width < 1:
        raise ValueError(f"a mask of {size} pixels")
    try:
        library.area({"size": [mask.height, mask.width], "counts": mask.counts})
    except (ValueError, RuntimeError):
        raise ValueError(f"mask.counts are no runs of {size} pixels") from None


def shape_of(path: Path, annotation: Callable[[Row], Annotation]) -> Shape | None:
    """What the lines of a file of ours must be, by its name; None for other files."""
    names = {
        "labels.jsonl": sample_shape(annotation),
        "catalog.jsonl": IMAGE,
        "ledger.jsonl": LEDGER,
        "pushed.jsonl": PUSHED,
        "disagreements.jsonl": DISPUTE,
        "duplicates.jsonl": DUPLICATE,
        "quarantine.jsonl": QUARANTINED,
        "measured.jsonl": MEASURED,
        "promotions.jsonl": PROMOTION,
        "groups.jsonl": GROUPED,
        "set-aside.jsonl": BY_IMAGE,
    }
    folders = {"predictions": names["labels.jsonl"], "pushed": SENT}
    return names.get(path.name) or folders.get(path.parent.name)
