"""Average precision by the COCO protocol, of boxes, masks, or whatever a similarity is known of.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; reference code cocodataset/cocoapi,
cocoeval.py; computed by faster-coco-eval: objects of all sizes and of three, at most 100 predictions an
image and class, IoU .50 to .95 in steps of .05, precision read at 101 recall points. Equal scores keep the
order in which the predictions come, images sorted by id: a model that scores everything alike is not
flattered for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.box_sweep import are_plain, box_sweep
from workflow.metrics.common import Labels, Sizes
from workflow.metrics.rules import MAX_GUESSES
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.matching import score_of
from workflow.shapes.overlap import as_box, coverage, iou

# linspace, as cocoeval.py: the last digit of .29 or .6 decides a tie, and i / 100 gives another mAP.
IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = tuple(np.linspace(0.0, 1.0, 101).tolist())
# Average recall is also told where an image has but one guess of a class, or ten.
FEW = (1, 10)
# COCO's sizes of objects, by their area in pixels.
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}

_NO_PREDICTIONS = np.zeros((len(IOUS), 0), dtype=bool)
Floats = NDArray[np.float64]
# How like predictions (rows) and truths (columns) of one image and class are, in [0, 1].
Similarity = Callable[[Sequence[Annotation], Sequence[Annotation]], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The predictions of one class by falling score, as they were matched: what average precision is made of.

    `images` (n,) numbers the image of each, in the order of the ids; `hits` and `counted` (10, n) say for
    each IoU whether it found a truth, and whether it counts at all, which one in a crowd does not.
    `truths` (images,) counts the truths of each image.
    """

    images: NDArray[np.int64]
    scores: Floats
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def within(self, chosen: NDArray[np.bool_]) -> Ranks:
        """The same of some images alone, which are numbered anew."""
        kept, numbers = chosen[self.images], np.cumsum(chosen) - 1
        hits, counted = self.hits[:, kept], self.counted[:, kept]
        return Ranks(numbers[self.images[kept]], self.scores[kept], hits, counted, self.truths[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """COCO's arrays: `precision` and `scores` (10 IoUs, classes, 101 recalls), `recall` (10, classes).

    A class without a truth has -1 everywhere. `sizes` holds the precision and the recall of small, medium
    and large objects alone, `few` the recall at one and at ten guesses an image and class; `matches` is
    what the library matched, of which `ranks` are made where they are not `known`; `most` guesses of an image
    and class count.
    """

    precision: Floats
    scores: Floats
    recall: Floats
    sizes: Mapping[str, tuple[Floats, Floats]]
    few: Mapping[int, Floats]
    images: int
    matches: Sequence[Any]
    most: int = MAX_GUESSES
    known: Sequence[Ranks] = ()

    def ranks(self, size: str = "all") -> list[Ranks]:
        """The predictions of each class, as matched among the objects of a size of AREAS."""
        if self.known and size == "all":
            return list(self.known)
        classes, area = self.precision.shape[1], list(AREAS).index(size)
        starts = [(label * len(AREAS) + area) * self.images for label in range(classes)]
        return [_ranks(self.matches[start : start + self.images], self.images) for start in starts]

    @property
    def ap(self) -> list[float | None]:
        """Average precision a class, mean over the IoUs."""
        return [_mean_or_none(row) for row in self.precision.transpose(1, 0, 2)]

    @property
    def ap50(self) -> list[float | None]:
        """Average precision a class at IoU .5."""
        return [_mean_or_none(row) for row in self.precision[0]]

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures COCO's leaderboard shows, by their names there; None where there is no truth."""
        three_quarters = int(np.argmin(np.abs(np.array(IOUS) - 0.75)))
        figures = {
            "AP": _known_mean(self.precision),
            "AP50": _known_mean(self.precision[0]),
            "AP75": _known_mean(self.precision[three_quarters]),
        }
        figures |= {f"AP {size}": _known_mean(precision) for size, (precision, _) in self.sizes.items()}
        figures |= {f"AR{count}": _known_mean(recall) for count, recall in self.few.items()}
        figures |= {f"AR{self.most}": _known_mean(self.recall)}
        return figures | {f"AR {size}": _known_mean(recall) for size, (_, recall) in self.sizes.items()}


def coco_sweep(
    images: Sizes,
    truth: Labels,
    predicted: Labels,
    classes: Sequence[str],
    similarity: Similarity | None = None,
    ignored: Callable[[Annotation], bool] = lambda truth: truth.ignored,
    most: int = MAX_GUESSES,
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
    return sweep_records(sized, true, guesses, len(classes), kind, by_id, most)


def quick_sweep(
    images: Sizes, truth: Labels, predicted: Labels, classes: Sequence[str], most: int = MAX_GUESSES
) -> Sweep:
    """The arrays of all objects alone: of plain boxes without `sizes` and `few`, but much sooner."""
    if not (images and classes and are_plain(truth, predicted)):
        return coco_sweep(images, truth, predicted, classes, most=most)
    precision, scores, recall, found = box_sweep(images, truth, predicted, classes, IOUS, RECALLS, most)
    known = [Ranks(image, score, hits, np.ones_like(hits), truths) for image, score, hits, truths in found]
    return Sweep(precision, scores, recall, {}, {}, len(images), (), most, known)


def sweep_records(
    images: Sequence[Mapping[str, Any]],
    truth: list[dict[str, Any]],
    predicted: list[dict[str, Any]],
    classes: int,
    kind: str = "bbox",
    similarity: Callable[[list[int], list[int]], Floats] | None = None,
    most: int = MAX_GUESSES,
) -> Sweep:
    """The arrays of COCO records: ids and `category_id` from 1, `score`, `bbox` xywh or `segmentation`."""
    if not images or not classes:
        return _nothing(classes, most)
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    class Run(COCOeval_faster):
        def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803 - the library's names
            if similarity is None:
                return super().computeIoU(imgId, catId)
            guesses, true = (side.get(imgId, catId) for side in (self.dt_dataset, self.gt_dataset))
            if not guesses or not true:
                return []
            order = np.argsort([-d["score"] for d in guesses], kind="stable")[:most]
            return similarity([guesses[n]["id"] for n in order], [t["id"] for t in true])

    def coco(records: list[dict[str, Any]]) -> COCO:
        categories = [{"id": n + 1, "name": str(n)} for n in range(classes)]
        return COCO({"images": list(images), "annotations": records, "categories": categories})

    run = Run(coco(truth), coco(predicted), iouType=kind, separate_eval=True)
    run.params.iouThrs, run.params.recThrs = np.array(IOUS), np.array(RECALLS)
    run.params.maxDets = [*FEW, most]
    run.params.areaRng, run.params.areaRngLbl = [list(area) for area in AREAS.values()], list(AREAS)
    run.evaluate()
    run.accumulate()
    # COCO's axes: IoU, recall, class, area, most predictions.
    precision, scores = (run.eval[key][..., -1].transpose(3, 0, 2, 1) for key in ("precision", "scores"))
    recall = run.eval["recall"]
    return Sweep(
        precision[0],
        scores[0],
        recall[:, :, 0, -1],
        {name: (precision[n], recall[:, :, n, -1]) for n, name in enumerate(AREAS) if n},
        {count: recall[:, :, 0, n] for n, count in enumerate(FEW)},
        len(images),
        run._evalImgs_cpp,
        most,
    )


def _ranks(matches: Sequence[Any], images: int) -> Ranks:
    """One class's predictions; the library shows what it matched only as the state it would be pickled by.

    There is one state an image: the numbers of the truths by IoU and prediction, 0 for none; those of the
    predictions by IoU and truth; the scores, by falling ones; which truths are ignored; and which
    predictions, by IoU and prediction.
    """
    states = [one.__getstate__() for one in matches]
    counts = [len(state[2]) for state in states]
    image = np.repeat(np.arange(images), counts)
    scores = np.fromiter((score for state in states for score in state[2]), dtype=float)
    order = np.argsort(-scores, kind="stable")
    hits, ignored = (
        np.concatenate(
            [_NO_PREDICTIONS, *(np.array(s[n], dtype=bool).reshape(len(IOUS), -1) for s in states if s[2])],
            axis=1,
        )[:, order]
        for n in (0, 4)
    )
    truths = np.array([len(state[3]) - sum(state[3]) for state in states], dtype=np.int64)
    return Ranks(image[order], scores[order], hits & ~ignored, ~ignored, truths)


def _nothing(classes: int, most: int) -> Sweep:
    """The arrays of no images."""
    none = -np.ones((len(IOUS), classes, len(RECALLS)))
    recall = none[:, :, 0]
    sizes = {name: (none, recall) for name in AREAS if name != "all"}
    return Sweep(none, none, recall, sizes, dict.fromkeys(FEW, recall), 0, (), most)


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
    x1, y1, x2, y2 = as_box(a) or (0.0, 0.0, 0.0, 0.0)
    w, h = x2 - x1, y2 - y1
    shape = {"bbox": [x1, y1, w, h], "area": w * h, "score": score_of(a), "iscrowd": 0}
    if a.mask is not None:
        shape["area"] = masks.area(a.mask)
    elif a.rotated_box is not None:
        shape["area"] = a.rotated_box.width * a.rotated_box.height
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


def _known_mean(values: Floats) -> float | None:
    """The mean over the classes that have truths."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
