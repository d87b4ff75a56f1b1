"""The saved views of the App's dataset: what one would look for, one choice away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from workflow.shapes.mistakes import AGAINST_TRUTH, MISSED
from workflow.shown.app.kind import Kind, Shown
from workflow.shown.app.names import (
    DIFFERENCES,
    EVALUATED,
    NEAR,
    OPENED,
    TRUTH,
    UNIQUENESS,
    doubt_field,
    error_mark,
    errors_field,
    gained_field,
    run_key,
)

# Of the pairs of classes that a model takes for each other, the most frequent.
PAIRS = 6


def save_views(fo: Any, dataset: Any, shown: Shown, kind: Kind, likened: bool = False) -> None:
    """Save them all at once: `save_view` writes and reads the whole dataset's document for each.

    `likened` says that images were compared by their vectors. A view whose address another has already, since
    classes may be called alike, gets a number.
    """
    from bson import json_util
    from fiftyone.core.odm import SavedViewDocument
    from fiftyone.core.utils import to_slug

    made: dict[str, Any] = {}
    more = _of_likeness(fo, dataset) if likened else ()
    now = datetime.now(UTC).replace(tzinfo=None)
    for number, (name, view, why) in enumerate((*_views(fo, dataset, shown, kind), *more)):
        try:
            slug = to_slug(name)
        except ValueError:
            slug = ""
        if not slug or slug in made:
            name = f"{name} {number}"
            slug = to_slug(name)
        stages = [json_util.dumps(stage) for stage in view._serialize(include_uuids=False)]
        known = {"name": name, "slug": slug, "description": why, "view_stages": stages}
        known |= {"dataset_id": dataset._doc.id, "created_at": now, "last_modified_at": now}
        made[slug] = SavedViewDocument(**known)
    dataset._doc.saved_views = SavedViewDocument.objects.insert(list(made.values()))
    dataset.save()


def _views(fo: Any, dataset: Any, shown: Shown, kind: Kind) -> Iterator[tuple[str, Any, str]]:
    """Name, view and description of each."""
    value = fo.ViewField
    counted = dataset.match_tags(EVALUATED)
    models = list(shown.numbers)
    others = {field: kind.fields_of([model for model in models if model != field]) for field in models}
    # Truth and one model: more boxes on each other cannot be read.
    of_one = {f: counted.exclude_fields(rest) if rest else counted for f, rest in others.items()}
    opened = of_one[shown.last].sort_by(errors_field(shown.last), reverse=True) if models else counted
    yield (
        OPENED,
        opened,
        f"What was evaluated, those images first on which {shown.last or 'nobody'} errs most",
    )
    for field, alone in of_one.items():
        wrong = alone.match(value(errors_field(field)) > 0)
        yield f"worst {field}", wrong.sort_by(errors_field(field), reverse=True), f"Where {field} errs most"
        yield from _of_objects(value, alone, field, kind)
        for (true, said), count in kind.confusions[field].most_common(PAIRS):
            why = f"{count} of {true!r} that {field} took for {said!r}"
            yield f"{field} {true} taken for {said}", kind.confused(value, alone, field, true, said), why
        if (cut := _median(kind.sure[field])) is not None:
            yield f"truth in doubt {field}", _doubted(value, alone, field, cut, kind), _why(field, cut)
    for field in models[1:]:
        gained = gained_field(field)
        better, worse = counted.match(value(gained) > 0), counted.match(value(gained) < 0)
        yield f"improved {field}", better.sort_by(gained, reverse=True), f"Fewer errors than {models[0]}"
        yield f"worsened {field}", worse.sort_by(gained), f"More errors than {models[0]}"
    if len(models) > 1:
        differing = counted.match(value(DIFFERENCES) > 0).sort_by(DIFFERENCES, reverse=True)
        yield "models differ", differing, f"Where models say something else than {shown.last}"


def _of_likeness(fo: Any, dataset: Any) -> Iterator[tuple[str, Any, str]]:
    yield "near duplicates", dataset.exists(NEAR).sort_by(NEAR), "Images that are nearly copies of others"
    yield "most unlike others", dataset.sort_by(UNIQUENESS, reverse=True), "Images like which there are few"


def _of_objects(value: Any, alone: Any, field: str, kind: Kind) -> Iterator[tuple[str, Any, str]]:
    """What is too much, and what lacks, of labels of which an image may have several."""
    if not kind.listed:
        return
    false = alone.filter_labels(field, value(run_key(field)) == "fp")
    yield (
        f"false positives {field}",
        false.sort_by(errors_field(field), reverse=True),
        f"What {field} made up",
    )
    missed = alone.filter_labels(TRUTH, value(error_mark(field)) == MISSED)
    yield f"missed {field}", missed.sort_by(errors_field(field), reverse=True), f"What {field} did not find"


def _doubted(value: Any, alone: Any, field: str, cut: float, kind: Kind) -> Any:
    doubted = alone.match(value(doubt_field(field)) >= cut)
    if kind.listed:
        wrong = value(error_mark(field)).is_in(list(AGAINST_TRUTH))
        doubted = doubted.filter_labels(field, wrong & (value("confidence") >= cut))
    return doubted.sort_by(doubt_field(field), reverse=True)


def _why(field: str, cut: float) -> str:
    return f"{field} is surer than {cut:.2f}, as of half of what it has right, and the truth says otherwise"


def _median(scores: list[float]) -> float | None:
    """The score that half of the right labels have or exceed; None where scores tell nothing."""
    if not scores or min(scores) == max(scores):
        return None
    return float(np.median(scores))
