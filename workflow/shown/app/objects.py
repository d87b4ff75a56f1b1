"""Boxes, masks, outlines and keypoints in the App, with stock COCO runs of our own matches."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workflow.formats import fiftyone as documents
from workflow.metrics import Labels
from workflow.metrics.coco import Sweep, coco_sweep
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.per_image import image_precision
from workflow.records import Annotation, ImageRecord, RotatedBox
from workflow.shapes import masks
from workflow.shapes.matching import Match, Matching, errors_of, match, objects, score_of
from workflow.shapes.mistakes import AGAINST_TRUTH, Touch, mistakes
from workflow.shapes.overlap import as_mask
from workflow.shown.app.kind import (
    IOU,
    LISTS,
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
from workflow.shown.app.names import (
    DIFFERENCES,
    TRUTH,
    doubt_field,
    error_mark,
    errors_field,
    iou_mark,
    other_mark,
    partner_mark,
    run_key,
)


class Objects:
    """Detections, with masks or without; rotated boxes are Polylines, keypoints a field of their own.

    Objects are matched across classes, so that the panel's confusion matrix shows what was taken for what.
    """

    listed = drawn = True

    def __init__(self, shown: Shown) -> None:
        self._shown, self._ids = shown, Ids()
        self._cls = "Polylines" if "rotated_box" in shown.schema.task.geometry else "Detections"
        self._runs: dict[str, Any] = {}
        self._matches: dict[str, list[tuple[Any, ...]]] = {field: [] for field in shown.numbers}
        # (true class, the class it was taken for) -> how often.
        self.confusions: dict[str, Counter[tuple[str, str]]] = {field: Counter() for field in shown.numbers}
        self.sure: dict[str, list[float]] = {field: [] for field in shown.numbers}
        self._sweeps = {field: self._sweep(field) for field in shown.numbers}
        self.precision = {field: self._precision(sweep) for field, sweep in self._sweeps.items()}
        self._seen = {field: self._seen_of(field) for field in shown.numbers}
        # A model -> who of its objects is who of the last model's.
        self._between = {
            field: Matching(shown.sizes, self._seen[shown.last], self._seen[field], IOU)
            for field in shown.numbers
            if field != shown.last
        }

    def fields(self, fo: Any) -> dict[str, Field]:
        fields = {field: label_field(fo, self._cls) for field in self._shown.fields}
        if self._shown.schema.task.points:
            fields |= {_points_field(field): label_field(fo, "Keypoints") for field in self._shown.fields}
        counts = [f"{run_key(field)}_{word}" for field in self._shown.numbers for word in ("tp", "fp", "fn")]
        counts += [DIFFERENCES] if self._between else []
        doubts: dict[str, Field] = {doubt_field(field): (fo.FloatField, {}) for field in self._shown.numbers}
        return fields | doubts | {name: (fo.IntField, {}) for name in counts}

    def attributes(self, fo: Any) -> dict[str, Field]:
        attributes: dict[str, Field] = {}
        for field in self._shown.fields:
            attributes |= list_attributes(fo, field, self._cls)
            if self._cls == "Polylines":
                numbers = (fo.ListField, {"subfield": fo.FloatField})
                attributes[f"{field}.polylines.{documents.ROTATED}"] = numbers
            if self._shown.schema.task.points:
                attributes |= list_attributes(fo, _points_field(field), "Keypoints")
        for field in self._shown.numbers:
            texts = (run_key(field), partner_mark(field), error_mark(field), other_mark(field))
            marks = dict.fromkeys(texts, fo.StringField) | {iou_mark(field): fo.FloatField}
            for labels in (TRUTH, field):
                attributes |= {f"{labels}.{LISTS[self._cls]}.{name}": (k, {}) for name, k in marks.items()}
        return attributes

    def register(self, view: Any) -> None:
        from fiftyone.utils.eval.coco import COCOEvaluationConfig

        use_masks = "mask" in self._shown.schema.task.geometry
        for field in self._shown.numbers:
            config = COCOEvaluationConfig(
                field, TRUTH, iou=IOU, classwise=False, compute_mAP=True, use_masks=use_masks
            )
            run = self._runs[field] = config.build()
            run.register_run(view, run_key(field))
            run.register_samples(view, run_key(field), dynamic=True)

    def labels(self, row: ImageRecord) -> Document:
        seen = {field: self._seen_on(field, row) for field in self._shown.fields}
        written = {
            f: self._ids.on(documents.to_fiftyone(some, row.width, row.height)) for f, some in seen.items()
        }
        sample: Document = {field: listed(self._cls, guesses) for field, guesses in written.items()}
        if self._shown.schema.task.points:
            sample |= {_points_field(field): self._points(field, row) for field in written}
        if row.id in self._shown.sizes:
            for field in self._shown.numbers:
                sample |= self._mark(field, row, seen, written)
            if self._between:
                sample[DIFFERENCES] = self._differences(row, seen)
        return sample

    def save(self, view: Any) -> None:
        for field, run in self._runs.items():
            self._save_run(view, field, run)

    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any:
        more = {_points_field(field): colour for field, colour in by_field.items()}
        return colours_by_field(fo, {**by_field, **(more if self._shown.schema.task.points else {})})

    def fields_of(self, models: Iterable[str]) -> list[str]:
        names = list(models)
        return names + [_points_field(name) for name in names if self._shown.schema.task.points]

    def confused(self, value: Any, view: Any, field: str, true: str, said: str) -> Any:
        pair = (value("label") == said) & (value(other_mark(field)) == true)
        return view.filter_labels(field, pair).sort_by(errors_field(field), reverse=True)

    def _sweep(self, field: str) -> Sweep:
        """COCO's arrays of a model."""
        if compared := self._shown.compared.get(field):
            return compared.sweep
        sides = self._counted(TRUTH), self._counted(field)
        return coco_sweep(self._shown.sizes, *sides, self._shown.schema.classes)

    def _precision(self, sweep: Sweep) -> dict[str, float]:
        values = image_precision(sweep.ranks(), len(self._shown.sizes)).tolist()
        return {i: v for i, v in zip(sorted(self._shown.sizes), values, strict=True) if v == v}

    def _seen_of(self, field: str) -> dict[str, list[Annotation]]:
        """What a model's user sees of the images that count, as it is compared."""
        return {row.id: self._comparable(self._shown.seen(field, row), row) for row in self._shown.rows}

    def _seen_on(self, field: str, row: ImageRecord) -> list[Annotation]:
        kept = self._seen.get(field, {}).get(row.id)
        return self._comparable(self._shown.seen(field, row), row) if kept is None else kept

    def _differences(self, row: ImageRecord, seen: Mapping[str, list[Annotation]]) -> int:
        """On how many objects the other models say something else than the last one."""
        last = seen[self._shown.last]
        return sum(
            errors_of(matching.match(row.id, class_agnostic=True), last, seen[field]).total
            for field, matching in self._between.items()
        )

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
    ) -> tuple[list[Match], list[Touch] | None]:
        """Which guess that is seen is which truth, and what overlaps; of boxes the numbers know it."""
        compared = self._shown.compared.get(field)
        if compared is None:
            return match(truth, guesses, IOU, class_agnostic=True), None
        triples, touching = compared.across[row.id], compared.matching.touching(row.id)
        everything = compared.predicted.get(row.id, ())
        if len(everything) == len(guesses):
            return triples, touching
        kept = [score_of(a) >= compared.numbers.threshold for a in everything]
        place = list(itertools.accumulate(kept, initial=0))
        near = touching and [(place[p], t, iou) for p, t, iou in touching if kept[p]]
        return [(t, None if p is None else place[p], iou) for t, p, iou in triples], near

    def _mark(
        self,
        field: str,
        row: ImageRecord,
        seen: Mapping[str, list[Annotation]],
        written: Mapping[str, list[Document]],
    ) -> Document:
        """Write one image's matches on its labels, note them for the run, return the sample's counts."""
        key, partner, overlap = run_key(field), partner_mark(field), iou_mark(field)
        sides = truth, guesses = seen.get(TRUTH, []), seen[field]
        documents = written.get(TRUTH, []), written[field]
        counts, found = dict.fromkeys(("tp", "fp", "fn"), 0), self._matches[field]
        matches, touching = self._matched(field, row, truth, guesses)
        names = [[document["_id"].binary.hex() for document in some] for some in documents]
        for t, p, iou in matches:
            true = None if t is None else documents[0][t]
            guess = None if p is None else documents[1][p]
            t_label, t_name = (None, None) if true is None or t is None else (true["label"], names[0][t])
            p_label, p_name = (None, None) if guess is None or p is None else (guess["label"], names[1][p])
            score = None if p is None else score_of(guesses[p])
            found.append((t_label, p_label, iou, score, t_name, p_name))
            right = t_label == p_label
            if true is not None:
                true[key], true[partner], true[overlap] = "tp" if right else "fn", p_name or "", iou
                counts["tp" if right else "fn"] += 1
            if guess is not None:
                guess[key], guess[partner], guess[overlap] = "tp" if right else "fp", t_name or "", iou
                counts["fp"] += not right
            if right:
                self.sure[field].append(score or 0.0)
            elif true and guess and t_label and p_label:
                true[other_mark(field)], guess[other_mark(field)] = p_label, t_label
                self.confusions[field][t_label, p_label] += 1
        kinds = mistakes(matches, *sides, touching)
        for side, of_side in zip(documents, reversed(kinds), strict=True):
            for number, kind in of_side.items():
                side[number][error_mark(field)] = kind
        doubts = [score_of(guesses[p]) for p, kind in kinds[0].items() if kind in AGAINST_TRUTH]
        doubt: Document = {doubt_field(field): max(doubts)} if doubts else {}
        return doubt | {f"{key}_{outcome}": count for outcome, count in counts.items()}

    def _save_run(self, view: Any, field: str, run: Any) -> None:
        import numpy as np
        from fiftyone.utils.eval.coco import COCODetectionResults

        numbers, classes = self._shown.numbers[field], self._shown.schema.classes
        assert isinstance(numbers, DetectionMetrics)
        sweep = self._sweeps[field]
        key = run_key(field)
        # FiftyOne itself has the mean over the IoUs, but only where it speaks of what is scored. Its F1 is of
        # objects matched across classes.
        known = () if self._shown.schema.task.points else ("map50_95",)
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
        return {row.id: self._comparable(self._shown.of(field, row), row) for row in self._shown.rows}


def _points_field(field: str) -> str:
    return f"{field}_points"


def _turned(a: Annotation) -> Annotation:
    x1, y1, x2, y2 = a.box or (0, 0, 0, 0)
    return replace(a, box=None, rotated_box=RotatedBox((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0))
