"""Classes painted over images in the App: PNG files of class numbers, with a stock segmentation run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.colours import ON_LAYERS
from workflow.metrics.semantic_record import count_pixels
from workflow.records import ImageRecord
from workflow.shapes.paint import VOID, paint
from workflow.shown.app.kind import Document, Field, Shown, extra_metrics, label_field, save_results
from workflow.shown.app.names import DIFFERENCES, TRUTH, run_key
from workflow.tasks import BACKGROUND, VOID_LABEL

WORDS = ("accuracy", "precision", "recall")


class Pixels:
    """A Segmentation a field: pixel value 0 is what nobody painted, k the k-th class."""

    listed = drawn = False

    def __init__(self, shown: Shown) -> None:
        assert shown.files is not None
        self._shown, self._files = shown, shown.files
        self._names = (BACKGROUND, *shown.schema.classes)
        self._runs: dict[str, Any] = {}
        self._matches: dict[str, list[tuple[Any, ...]]] = {field: [] for field in shown.numbers}
        self.confusions: dict[str, Counter[tuple[str, str]]] = {field: Counter() for field in shown.numbers}
        self.sure: dict[str, list[float]] = {field: [] for field in shown.numbers}
        self.precision: dict[str, dict[str, float]] = {}
        self._counts = {f: np.zeros((len(self._names),) * 2, dtype=np.int64) for f in shown.numbers}

    def fields(self, fo: Any) -> dict[str, Field]:
        fields = {field: label_field(fo, "Segmentation") for field in self._shown.fields}
        names = [f"{run_key(f)}_{word}" for f in self._shown.numbers for word in WORDS]
        names += [DIFFERENCES] if len(self._shown.numbers) > 1 else []
        return fields | {name: (fo.FloatField, {}) for name in names}

    def attributes(self, fo: Any) -> dict[str, Field]:
        return {}

    def register(self, view: Any) -> None:
        from fiftyone.utils.eval.segmentation import SimpleEvaluationConfig

        view._dataset.default_mask_targets = dict(enumerate(self._names)) | {VOID: VOID_LABEL}
        for field in self._shown.fields:
            (self._files / field).mkdir(parents=True, exist_ok=True)
        for field in self._shown.numbers:
            run = self._runs[field] = SimpleEvaluationConfig(field, TRUTH).build()
            run.register_run(view, run_key(field))
            run.register_samples(view, run_key(field))

    def labels(self, row: ImageRecord) -> Document:
        from bson import ObjectId

        sample: Document = {}
        painted: dict[str, NDArray[np.uint8]] = {}
        for field in self._shown.fields:
            pixels = paint(
                self._shown.of(field, row), self._shown.schema.classes, row.height, row.width
            ).pixels
            painted[field] = pixels
            path = self._files / field / f"{row.id}.png"
            _write_png(path, pixels)
            document = {"_id": ObjectId(), "_cls": "Segmentation", "tags": []}
            sample[field] = document | {"mask_path": str(path.absolute())}
        if row.id in self._shown.sizes:
            for field in self._shown.numbers:
                sample |= self._mark(field, painted, sample)
            last = painted.get(self._shown.last)
            others = [painted[field] for field in self._shown.numbers if field != self._shown.last]
            if others:
                sample[DIFFERENCES] = float(max((other != last).mean() for other in others))
        return sample

    def save(self, view: Any) -> None:
        from fiftyone.utils.eval.segmentation import SegmentationResults

        for field, run in self._runs.items():
            key = run_key(field)
            results = SegmentationResults(
                view,
                run.config,
                key,
                self._counts[field],
                list(self._names),
                matches=self._matches[field],
                missing=BACKGROUND,
                custom_metrics=extra_metrics(self._shown.numbers[field], ()),
                backend=run,
            )
            save_results(run, view._dataset, key, results)
            run.add_fields_to_sidebar_group(view._dataset, key, omit_fields=(field, TRUTH))

    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any:
        numbers = range(1, len(self._names))
        targets = [{"intTarget": n, "color": ON_LAYERS[(n - 1) % len(ON_LAYERS)]} for n in numbers]
        return fo.ColorScheme(color_by="value", default_mask_targets_colors=targets)

    def fields_of(self, models: Iterable[str]) -> list[str]:
        return list(models)

    def confused(self, value: Any, view: Any, field: str, true: str, said: str) -> Any:
        raise NotImplementedError("pixels are confused on every image: the panel's matrix counts them")

    def _mark(self, field: str, painted: Mapping[str, NDArray], sample: Mapping[str, Document]) -> Document:
        """Note one image's pixels for the run, return the sample's numbers as FiftyOne has them."""
        from fiftyone.utils.eval.segmentation import _compute_accuracy_precision_recall

        counts = count_pixels(painted[TRUTH], painted[field], self._shown.schema.classes)
        self._counts[field] += counts
        ends = [str(sample[f]["_id"]) for f in (TRUTH, field)]
        for t, p in np.argwhere(counts):
            self._matches[field].append((self._names[t], self._names[p], int(counts[t, p]), *ends))
        scores = _compute_accuracy_precision_recall(counts, list(range(len(counts))), "micro")
        return {f"{run_key(field)}_{word}": value for word, value in zip(WORDS, scores, strict=True)}


def _write_png(path: Any, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    small = pixels.astype(np.uint8) if pixels.max() < 256 else pixels
    Image.fromarray(small).save(path)
