"""Labels of whole images in the App, with a stock classification run.

FiftyOne evaluates images with one label. Where they have several, a run lists every label that is right,
missed or false, which its panel counts as it counts images with one. Numbers of ours beside its own, such
as the average precision, it forgets when it reads such a run, so they stand in the report only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from workflow.formats import fiftyone as documents
from workflow.records import ImageRecord
from workflow.shapes.mistakes import BACKGROUND, MISSED
from workflow.shown.app.kind import (
    Document,
    Field,
    Ids,
    Shown,
    colours_by_field,
    label_field,
    list_attributes,
    listed,
    save_results,
)
from workflow.shown.app.names import DIFFERENCES, PEOPLE, TRUTH, doubt_field, error_mark, run_key


class Labels:
    """A Classification an image, or Classifications; a model's are those its user would see."""

    drawn = False

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._ids = Ids()
        self._single = shown.schema.task.exclusive
        self._runs: dict[str, Any] = {}
        # A model -> (true document or None, predicted document or None) of every label.
        self._pairs: dict[str, list[tuple[Document | None, Document | None]]] = {f: [] for f in shown.numbers}
        self.listed = not self._single
        self.confusions: dict[str, Counter[tuple[str, str]]] = {field: Counter() for field in shown.numbers}
        self.sure: dict[str, list[float]] = {field: [] for field in shown.numbers}
        self.precision: dict[str, dict[str, float]] = {}

    def fields(self, fo: Any) -> dict[str, Field]:
        cls = "Classification" if self._single else "Classifications"
        fields = {field: label_field(fo, cls) for field in self._shown.fields}
        marks: dict[str, Field] = {run_key(field): (fo.BooleanField, {}) for field in self._shown.numbers}
        marks |= {doubt_field(field): (fo.FloatField, {}) for field in self._shown.numbers}
        return fields | marks | ({DIFFERENCES: (fo.IntField, {})} if len(self._shown.numbers) > 1 else {})

    def attributes(self, fo: Any) -> dict[str, Field]:
        attributes: dict[str, Field] = {}
        for field in self._shown.fields:
            if self._single:
                attributes |= {
                    f"{field}.{name}": (fo.StringField, {})
                    for name in (*documents.ATTRIBUTES.values(), documents.REGION, PEOPLE)
                }
            else:
                attributes |= list_attributes(fo, field, "Classifications")
        for field in self._shown.numbers if self.listed else ():
            for labels in (TRUTH, field):
                marks = (run_key(field), error_mark(field))
                attributes |= {f"{labels}.classifications.{mark}": (fo.StringField, {}) for mark in marks}
        return attributes

    def register(self, view: Any) -> None:
        from fiftyone.utils.eval.classification import SimpleEvaluationConfig

        for field in self._shown.numbers:
            run = self._runs[field] = SimpleEvaluationConfig(field, TRUTH).build()
            run.register_run(view, run_key(field))
            run.register_samples(view, run_key(field))

    def labels(self, row: ImageRecord) -> Document:
        written = {
            field: self._ids.on(documents.to_fiftyone(self._shown.seen(field, row), row.width, row.height))
            for field in self._shown.fields
        }
        if self._single:
            sample: Document = {field: guesses[0] if guesses else None for field, guesses in written.items()}
        else:
            sample = {field: listed("Classifications", guesses) for field, guesses in written.items()}
        if row.id in self._shown.sizes:
            for field in self._shown.numbers:
                pairs = self._pair(written.get(TRUTH, []), written[field])
                self._pairs[field] += pairs
                sample[run_key(field)] = all(t and p and t["label"] == p["label"] for t, p in pairs)
                sample |= self._mark(field, pairs)
            if len(self._shown.numbers) > 1:
                sample[DIFFERENCES] = self._differences(written)
        return sample

    def _mark(self, field: str, pairs: list[tuple[Document | None, Document | None]]) -> Document:
        """Note what is wrong and how sure the model is of it; several labels an image are marked each."""
        doubts = []
        for true, guess in pairs:
            right = bool(true and guess and true["label"] == guess["label"])
            if self.listed:
                for one, wrong, kind in ((true, "fn", MISSED), (guess, "fp", BACKGROUND)):
                    if one:
                        one |= (
                            {run_key(field): "tp"}
                            if right
                            else {run_key(field): wrong, error_mark(field): kind}
                        )
            if guess and right:
                self.sure[field].append(guess["confidence"] or 0.0)
            elif guess:
                doubts.append(guess["confidence"] or 0.0)
                if true:
                    self.confusions[field][true["label"], guess["label"]] += 1
        return {doubt_field(field): max(doubts)} if doubts else {}

    def _differences(self, written: Mapping[str, list[Document]]) -> int:
        """How many labels only one of two has, the last model and another: one of several exclusive labels
        for another is one difference."""
        said = {field: {d["label"] for d in written[field]} for field in self._shown.numbers}
        last = said.pop(self._shown.last)
        if self._single:
            return sum(labels != last for labels in said.values())
        return sum(len(labels ^ last) for labels in said.values())

    def save(self, view: Any) -> None:
        from fiftyone.utils.eval.classification import ClassificationResults

        for field, run in self._runs.items():
            key, pairs = run_key(field), self._pairs[field]
            true, guesses = [t for t, _ in pairs], [p for _, p in pairs]
            results = ClassificationResults(
                view,
                run.config,
                key,
                [t and t["label"] for t in true],
                [p and p["label"] for p in guesses],
                confs=[p and p["confidence"] for p in guesses],
                ytrue_ids=[t and str(t["_id"]) for t in true],
                ypred_ids=[p and str(p["_id"]) for p in guesses],
                classes=list(self._shown.schema.classes),
                backend=run,
            )
            save_results(run, view._dataset, key, results)
            run.add_fields_to_sidebar_group(view._dataset, key, omit_fields=(field, TRUTH))

    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any:
        return colours_by_field(fo, by_field)

    def fields_of(self, models: Iterable[str]) -> list[str]:
        return list(models)

    def confused(self, value: Any, view: Any, field: str, true: str, said: str) -> Any:
        pair = (value(f"{TRUTH}.label") == true) & (value(f"{field}.label") == said)
        return view.match(pair).sort_by(f"{field}.confidence", reverse=True)

    def _pair(
        self, true: list[Document], guesses: list[Document]
    ) -> list[tuple[Document | None, Document | None]]:
        if self._single:
            return [(true[0] if true else None, guesses[0] if guesses else None)]
        guesses_by_label, truths_by_label = ({d["label"]: d for d in side} for side in (guesses, true))
        pairs: list[tuple[Document | None, Document | None]] = [
            (t, guesses_by_label.get(t["label"])) for t in true
        ]
        return pairs + [(None, p) for p in guesses if p["label"] not in truths_by_label]
