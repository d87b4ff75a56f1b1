"""Foreign annotations as a project's task labels them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workflow.formats.page import Page
from workflow.records import Annotation
from workflow.shapes import overlap
from workflow.shapes.clip import clip
from workflow.shapes.paint import annotations_of, paint
from workflow.tasks import Task


def fit(page: Page, classes: Sequence[str]) -> list[Annotation]:
    """A page's annotations as its project's task labels them; what that is not is counted.

    Boxes are drawn round outlines and masks where the task is detection, and masks painted within
    outlines, one a class, where it is semantic segmentation: the later of two layers counts.
    """
    task = page.reading.schema.task
    if task.name == "semantic-segmentation":
        return _layers(page, classes)
    fitted = []
    for annotation in page.annotations:
        if task.name == "detection" and annotation.geometry in ("polygons", "mask", "rotated_box"):
            box = overlap.as_box(annotation)
            page.lose(f"{_name(annotation)}, now the boxes round them")
            annotation = replace(annotation, box=box, polygons=None, mask=None, rotated_box=None)
            annotation = clip(annotation, page.width, page.height, page.lose) or annotation
        if task.takes(annotation):
            fitted.append(annotation)
        else:
            page.drop(f"{_name(annotation)}, which {task.name} has none of")
    if task.name == "classification" and len({a.label for a in fitted}) > 1:
        page.drop("labels of images that have several, where the task has one", len(fitted))
        return []
    return _without_orphans(fitted, page, task)


def _without_orphans(fitted: list[Annotation], page: Page, task: Task) -> list[Annotation]:
    if task.name != "keypoints":
        return fitted
    boxes = {a.id for a in fitted if a.box is not None}
    kept = [a for a in fitted if a.keypoints is None or a.parent in boxes]
    page.drop("points without a box", len(fitted) - len(kept))
    return kept


def _layers(page: Page, classes: Sequence[str]) -> list[Annotation]:
    if not page.annotations or page.lose_misfit():
        # Nothing is painted in a size that only the source says.
        return []
    names = sorted(
        dict.fromkeys(a.label for a in page.annotations if not a.ignored),
        key=lambda label: classes.index(label) if label in classes else -1,
    )
    drawn = [a for a in page.annotations if a.geometry in ("mask", "polygons")]
    for annotation in page.annotations:
        if annotation not in drawn:
            page.drop(f"{_name(annotation)}, which semantic-segmentation has none of")
    painting = paint(drawn, names, page.height, page.width)
    page.lose("pixels painted twice (the later layer counts)", painting.twice)
    scores = {a.label: a.score for a in drawn if not a.ignored}
    painted = annotations_of(painting.pixels, names, page.reading.provenance)
    return [replace(a, score=scores.get(a.label)) for a in painted]


def _name(annotation: Annotation) -> str:
    names = {"": "labels of whole images", "polygons": "outlines", "keypoints": "points"}
    plural = {"box": "boxes", "rotated_box": "rotated boxes", "mask": "masks"}
    return (names | plural)[annotation.geometry]
