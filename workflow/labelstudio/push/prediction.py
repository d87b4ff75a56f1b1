"""An image's guesses as the prediction people are shown, by whichever way it reaches the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from workflow.labels import probes
from workflow.labels.blind import blindness
from workflow.labels.duplicates import collapse
from workflow.labels.order import as_read, sureness
from workflow.labelstudio import regions
from workflow.labelstudio.interface import Interface
from workflow.labelstudio.pushed import version
from workflow.project.rows import Row
from workflow.project.settings import Settings
from workflow.records import Annotation, ImageRecord, Sample

# Pixels by which an outline may cut the stairs of a mask's edge.
STAIRS = 1.25


def as_prediction(
    sample: Sample,
    record: ImageRecord,
    settings: Settings,
    interface: Interface,
    lose: Callable[[str], None],
) -> Row:
    """The row of {image, version, score, result, blind} that `PushedGuesses` keeps; blind ones show nothing.

    What the `interface` cannot show, or is no class of the project, is told to `lose`. The least certain
    guess makes the score, by which the server can sort the unsure first.
    """
    size = (record.width, record.height)
    push = settings.push
    blind = blindness(record, push)
    annotations = () if blind else _of_classes(sample.annotations, settings, lose)
    annotations, _, doubles = collapse(annotations)
    for _ in range(doubles):
        lose("guesses twice in the same place (one is shown)")
    annotations = probes.plant(annotations, record, settings.schema, push.probes)
    taken = regions.acceptable(annotations, *size, lose)
    shown = interface.fit(taken, *size, lose, STAIRS)
    result = interface.write(as_read(shown), *size)
    score = sureness(a.score for a in sample.annotations) or 0.0
    row = {"image": record.id, "version": version(sample), "score": score, "result": result}
    return row | ({"blind": blind} if blind else {})


def _of_classes(
    annotations: tuple[Annotation, ...], settings: Settings, lose: Callable[[str], None]
) -> tuple[Annotation, ...]:
    """Guesses of today's classes and of what is ignored, those of a renamed class by its new name."""
    known = (*settings.labels, *settings.ignore)
    new = {old: name for name, old in settings.renamed_from.items()}
    named = [replace(a, label=new.get(a.label, a.label)) for a in annotations]
    by_case = {name.casefold(): name for name in settings.labels}
    for a in named:
        if a.label in known:
            continue
        if settings.schema.names(a):
            lose("ignored masks, for which Label Studio has no label")
            continue
        near = by_case.get(a.label.casefold())
        other = f"guesses of {a.label!r}, where the class is {near!r} (preannotate.class_map makes them one)"
        lose(other if near else "guesses of what is no class of the project")
    return tuple(a for a in named if a.label in known)
