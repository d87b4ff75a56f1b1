"""Average precision by the COCO protocol, of boxes, masks, or whatever a similarity is known of.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; reference code cocodataset/cocoapi,
cocoeval.py; computed by faster-coco-eval: all areas, at most 100 predictions an image and class, IoU .50 to
.95 in steps of .05, precision read at 101 recall points. Equal scores keep the order in which the
predictions come, images sorted by id: a model that scores everything alike is not flattered for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Labels, Sizes
from workflow.records import Annotation
from workflow.shapes.geometry import xyxy_to_xywh
from workflow.shapes.matching import score_of
from workflow.shapes.overlap import as_box, coverage, iou

# linspace, as cocoeval.py: the last digit of .29 or .6 decides a tie, and i / 100 gives another mAP.
IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = tuple(np.linspace(0.0, 1.0, 101).tolist())
MAX_PREDICTIONS = 100

Floats = NDArray[np.float64]
# How like predictions (rows) and truths (columns) of one image and class are, in [0, 1].
Similarity = Callable[[Sequence[Annotation], Sequence[Annotation]], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """COCO's arrays: `precision` and `scores` (10 IoUs, classes, 101 recalls), `recall` (10, classes).

    A class without a truth has -1 everywhere.
    """

    precision: Floats
    scores: Floats
    recall: Floats

    @property
    def ap(self) -> list[float | None]:
        """Average precision a class, mean over the IoUs."""
        return [_mean_or_none(row) for row in self.precision.transpose(1, 0, 2)]

    @property
    def ap50(self) -> list[float | None]:
        """Average precision a class at IoU .5."""
        return [_mean_or_none(row) for row in self.precision[0]]


def coco_sweep(
    images: Sizes,
    truth: Labels,
    predicted: Labels,
    classes: Sequence[str],
    similarity: Similarity | None = None,
    ignored: Callable[[Annotation], bool] = lambda truth: truth.ignored,
) -> Sweep:
    """COCO's own arrays, classes in the order given.

    Boxes and masks are compared as COCO does, by IoU; rotated boxes by that of their outlines, exactly;
    anything by a `similarity`. A truth that is `ignored` is no miss, and what finds it no error: a
    prediction finds one by the share of itself that lies within.
    """
    numbers = {image: n for n, image in enumerate(sorted(images), 1)}
    sides = [dict(enumerate(_pairs(labels), 1)) for labels in (truth, predicted)]
    shapes = {a.geometry for side in sides for _, a in side.values()}
    kind = "segm" if shapes == {"mask"} else "bbox"
    if similarity is None and shapes - {"box", "mask"}:
        similarity = within_ignored(iou)
    category = {label: n for n, label in enumerate(classes, 1)}
    true, guesses = (
        [
            {"id": n, "image_id": numbers[image], "category_id": category[a.label], **_shape(a, kind)}
            for n, (image, a) in side.items()
        ]
        for side in sides
    )
    for record, (_, a) in zip(true, sides[0].values(), strict=True):
        record["iscrowd"] = int(ignored(a))
    sized = [{"id": n, "width": images[i][0], "height": images[i][1]} for i, n in numbers.items()]
    by_id = None if similarity is None else _by_id(similarity, *sides)
    return sweep_records(sized, true, guesses, len(classes), kind, by_id)


def sweep_records(
    images: Sequence[Mapping[str, Any]],
    truth: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    classes: int,
    kind: str = "bbox",
    similarity: Callable[[list[int], list[int]], Floats] | None = None,
) -> Sweep:
    """The arrays of COCO records: ids and `category_id` from 1, `score`, `bbox` xywh or `segmentation`."""
    if not images or not classes:
        nothing = -np.ones((len(IOUS), classes, len(RECALLS)))
        return Sweep(nothing, nothing, nothing[:, :, 0])
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    class Run(COCOeval_faster):
        def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803 - the library's names
            if similarity is None:
                return super().computeIoU(imgId, catId)
            guesses, true = (side.get(imgId, catId) for side in (self.dt_dataset, self.gt_dataset))
            if not guesses or not true:
                return []
            order = np.argsort([-d["score"] for d in guesses], kind="stable")[:MAX_PREDICTIONS]
            return similarity([guesses[n]["id"] for n in order], [t["id"] for t in true])

    def coco(records: list[dict[str, Any]]) -> COCO:
        categories = [{"id": n + 1, "name": str(n)} for n in range(classes)]
        return COCO({"images": list(images), "annotations": records, "categories": categories})

    run = Run(coco(truth), coco(predicted), iouType=kind)
    run.params.iouThrs, run.params.recThrs = np.array(IOUS), np.array(RECALLS)
    run.params.maxDets = [MAX_PREDICTIONS]
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    # COCO's axes: IoU, recall, class, area, most predictions.
    precision, scores = (run.eval[key][:, :, :, 0, -1].transpose(0, 2, 1) for key in ("precision", "scores"))
    return Sweep(precision, scores, run.eval["recall"][:, :, 0, -1])


def within_ignored(similarity: Similarity) -> Similarity:
    """The same, but with a truth that is ignored it is the share of a prediction that lies within."""

    def of(found: Sequence[Annotation], true: Sequence[Annotation]) -> Floats:
        shares = similarity(found, true)
        crowds = [n for n, truth in enumerate(true) if truth.ignored]
        if crowds:
            shares[:, crowds] = coverage(found, [true[n] for n in crowds])
        return shares

    return of


def _pairs(labels: Labels) -> Iterator[tuple[str, Annotation]]:
    return ((image, a) for image in sorted(labels) for a in labels[image])


def _shape(a: Annotation, kind: str) -> dict[str, Any]:
    x, y, w, h = xyxy_to_xywh(as_box(a) or (0, 0, 0, 0))[0].tolist()
    shape = {"bbox": [x, y, w, h], "area": w * h, "score": score_of(a), "iscrowd": 0}
    if kind == "segm" and a.mask is not None:
        shape["segmentation"] = {"size": [a.mask.height, a.mask.width], "counts": a.mask.counts}
    return shape


def _by_id(similarity: Similarity, truth: Mapping[int, Any], predicted: Mapping[int, Any]) -> Callable:
    def of(guesses: list[int], true: list[int]) -> Floats:
        return similarity([predicted[n][1] for n in guesses], [truth[n][1] for n in true])

    return of


def _mean_or_none(values: Floats) -> float | None:
    """The mean of COCO's numbers; -1 is COCO's word for a class without truths."""
    return None if values.min() < 0 else float(values.mean())
