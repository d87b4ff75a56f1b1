"""Boxes, masks, outlines and keypoints in the App, with stock COCO runs of our own matches."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workflow.formats import fiftyone as documents
from workflow.metrics import Labels
from workflow.metrics.coco import coco_sweep
from workflow.metrics.detection_record import DetectionMetrics
from workflow.records import Annotation, ImageRecord, RotatedBox
from workflow.shapes import masks
from workflow.shapes.matching import Match, match, objects, score_of
from workflow.shapes.overlap import as_mask
from workflow.shown.app.kind import (
    IOU,
    LISTS,
    TRUTH,
    Document,
    Field,
    Ids,
    Shown,
    colours_by_field,
    extra_metrics,
    label_field,
    list_attributes,
    listed,
    save_results,
)


class Objects:
    """Detections, with masks or without; rotated boxes are Polylines, keypoints a field of their own."""

    def __init__(self, shown: Shown) -> None:
        self._shown, self._ids = shown, Ids()
        self._cls = "Polylines" if "rotated_box" in shown.schema.task.geometry else "Detections"
        self._runs: dict[str, Any] = {}
        self._matches: dict[str, list[tuple[Any, ...]]] = {field: [] for field in shown.numbers}

    def fields(self, fo: Any) -> dict[str, Field]:
        fields = {field: label_field(fo, self._cls) for field in self._shown.fields}
        if self._shown.schema.task.points:
            fields |= {_points_field(field): label_field(fo, "Keypoints") for field in self._shown.fields}
        counts = [f"eval_{field}_{word}" for field in self._shown.numbers for word in ("tp", "fp", "fn")]
        return fields | {name: (fo.IntField, {}) for name in counts}

    def attributes(self, fo: Any) -> dict[str, Field]:
        attributes: dict[str, Field] = {}
        for field in self._shown.fields:
            attributes |= list_attributes(fo, field, self._cls)
            if self._cls == "Polylines":
                numbers = (fo.ListField, {"subfield": fo.FloatField})
                attributes[f"{field}.polylines.{documents.ROTATED}"] = numbers
            if self._shown.schema.task.points:
                attributes |= list_attributes(fo, _points_field(field), "Keypoints")
        kinds = {"": fo.StringField, "_id": fo.StringField, "_iou": fo.FloatField}
        for field in self._shown.numbers:
            for labels in (TRUTH, field):
                marks = {f"{labels}.{LISTS[self._cls]}.eval_{field}{end}": k for end, k in kinds.items()}
                attributes |= {path: (kind, {}) for path, kind in marks.items()}
        return attributes

    def register(self, view: Any) -> None:
        from fiftyone.utils.eval.coco import COCOEvaluationConfig

        use_masks = "mask" in self._shown.schema.task.geometry
        for field in self._shown.numbers:
            config = COCOEvaluationConfig(
                field, TRUTH, iou=IOU, classwise=True, compute_mAP=True, use_masks=use_masks
            )
            run = self._runs[field] = config.build()
            run.register_run(view, f"eval_{field}")
            run.register_samples(view, f"eval_{field}", dynamic=True)

    def labels(self, row: ImageRecord) -> Document:
        seen = {field: self._comparable(self._shown.seen(field, row), row) for field in self._shown.fields}
        written = {
            f: self._ids.on(documents.to_fiftyone(some, row.width, row.height)) for f, some in seen.items()
        }
        sample = {field: listed(self._cls, guesses) for field, guesses in written.items()}
        if self._shown.schema.task.points:
            sample |= {_points_field(field): self._points(field, row) for field in written}
        if row.id in self._shown.sizes:
            for field in self._shown.numbers:
                sample |= self._mark(field, row, seen, written)
        return sample

    def save(self, view: Any) -> None:
        for field, run in self._runs.items():
            self._save_run(view, field, run)

    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any:
        more = {_points_field(field): colour for field, colour in by_field.items()}
        return colours_by_field(fo, {**by_field, **(more if self._shown.schema.task.points else {})})

    def _comparable(self, labels: Sequence[Annotation], row: ImageRecord) -> list[Annotation]:
        """The objects as one kind of document; a mask without pixels is nothing to be seen."""
        guesses = objects(labels)
        if "mask" in self._shown.schema.task.geometry:
            bits = [a.mask or as_mask(a, row.height, row.width) for a in guesses]
            pairs = zip(guesses, bits, strict=True)
            return [replace(a, polygons=None, mask=mask) for a, mask in pairs if masks.area(mask)]
        return [_turned(a) if self._cls == "Polylines" and a.box else a for a in guesses]

    def _points(self, field: str, row: ImageRecord) -> Document:
        points = [a for a in self._shown.seen(field, row) if a.geometry == "keypoints"]
        return listed("Keypoints", self._ids.on(documents.to_fiftyone(points, row.width, row.height)))

    def _matched(
        self, field: str, row: ImageRecord, truth: Sequence[Annotation], guesses: Sequence[Annotation]
    ) -> list[Match]:
        """Which guess that is seen is which truth; of boxes the numbers know it already."""
        compared = self._shown.compared.get(field)
        if compared is None:
            return match(truth, guesses, IOU)
        threshold = compared.numbers.threshold
        scores = [score_of(a) for a in compared.predicted.get(row.id, ())]
        place = list(itertools.accumulate((score >= threshold for score in scores), initial=0))
        triples = compared.matching.match(row.id, threshold)
        return [(t, None if p is None else place[p], iou) for t, p, iou in triples]

    def _mark(
        self,
        field: str,
        row: ImageRecord,
        seen: Mapping[str, list[Annotation]],
        written: Mapping[str, list[Document]],
    ) -> Document:
        """Write one image's matches on its labels, note them for the run, return the sample's counts."""
        key = f"eval_{field}"
        truth, guesses = seen.get(TRUTH, []), seen[field]
        counts = {"tp": 0, "fp": 0, "fn": 0}
        for t, p, iou in self._matched(field, row, truth, guesses):
            true = None if t is None else written[TRUTH][t]
            guess = None if p is None else written[field][p]
            outcome = "fn" if guess is None else "fp" if true is None else "tp"
            counts[outcome] += 1
            for one, other in ((true, guess), (guess, true)):
                if one is not None:
                    one |= {key: outcome, f"{key}_id": str(other["_id"]) if other else "", f"{key}_iou": iou}
            score = None if p is None else score_of(guesses[p])
            ends = [(one["label"], str(one["_id"])) if one else (None, None) for one in (true, guess)]
            self._matches[field].append((ends[0][0], ends[1][0], iou, score, ends[0][1], ends[1][1]))
        return {f"{key}_{outcome}": count for outcome, count in counts.items()}

    def _save_run(self, view: Any, field: str, run: Any) -> None:
        import numpy as np
        from fiftyone.utils.eval.coco import COCODetectionResults

        numbers, classes = self._shown.numbers[field], self._shown.schema.classes
        assert isinstance(numbers, DetectionMetrics)
        if compared := self._shown.compared.get(field):
            sweep = compared.sweep
        else:
            sweep = coco_sweep(self._shown.sizes, self._counted(TRUTH), self._counted(field), classes)
        key = f"eval_{field}"
        # FiftyOne itself has the mean over the IoUs, but only where it speaks of what is scored.
        known = ("f1",) if self._shown.schema.task.points else ("map50_95", "f1")
        results = COCODetectionResults(
            view,
            run.config,
            key,
            self._matches[field],
            sweep.precision,
            np.linspace(0, 1, sweep.precision.shape[2]),
            run.config.iou_threshs,
            list(classes),
            recall_sweep=sweep.recall,
            thresholds=sweep.scores,
            custom_metrics=extra_metrics(
                numbers, known, threshold=("Score of the best F1", numbers.threshold)
            ),
            backend=run,
        )
        save_results(run, view._dataset, key, results)
        run.add_fields_to_sidebar_group(view._dataset, key, omit_fields=(field, TRUTH))

    def _counted(self, field: str) -> Labels:
        """All labels of the evaluated images, as they are compared."""
        labels = self._shown.fields.get(field, {})
        rows = (
            ImageRecord(image, image, width, height, "test")
            for image, (width, height) in self._shown.sizes.items()
        )
        return {row.id: self._comparable(labels.get(row.id, ()), row) for row in rows}


def _points_field(field: str) -> str:
    return f"{field}_points"


def _turned(a: Annotation) -> Annotation:
    x1, y1, x2, y2 = a.box or (0, 0, 0, 0)
    return replace(a, box=None, rotated_box=RotatedBox((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0))
