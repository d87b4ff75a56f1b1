"""The dataset the FiftyOne App browses: rebuilt from files whenever they changed, never the source.

FiftyOne's own `add_samples` and `evaluate_detections` take minutes for what takes seconds here: the
documents are written to its database as they would have been, matches are ours, average precision is
COCO's. (FiftyOne's own sorts true positives first among equal scores, which flatters.) The runs are
stock COCO runs, so the Model Evaluation panel, patches and views work on them as on any other.
Average precision counts every box a model gave; shown, matched and counted are those at or above the
score of its best F1, as in the report: nobody can look at a hundred boxes of one percent each.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from workflow.errors import ServiceError
from workflow.formats import fiftyone as documents
from workflow.matching import above, count_errors, match_boxes, score_of
from workflow.metrics import DetectionMetrics, coco_sweep, detection_metrics
from workflow.records import Annotation, ImageRecord

TRUTH = "ground_truth"
EVALUATED = "evaluated"
WORKSPACE = "evaluation"
BATCH = 1000
# What `publish` makes of the same boxes; another number rebuilds what an older workflow built.
LAYOUT = 2
# Okabe and Ito's, in the order of the fields: by chance, the App draws two models in two blues.
COLOURS = ("#009e73", "#e69f00", "#0072b2", "#cc79a7", "#56b4e9", "#d55e00")
IOU = 0.5

Boxes = Mapping[str, Sequence[Annotation]]


def publish(
    name: str,
    rows: Sequence[ImageRecord],
    fields: Mapping[str, Boxes],
    classes: Sequence[str],
    environment: Mapping[str, str],
    digest: str,
    *,
    root: Path | None = None,
    evaluated: Collection[str] | None = None,
) -> bool:
    """Make the persistent dataset `name` hold `rows`; False, and nothing done, if it has this `digest`.

    `fields` maps a field to {image id: boxes}: "ground_truth", and one a model, each of which becomes
    an evaluation `eval_FIELD` and a view "worst FIELD". An image absent from a field has no boxes there,
    and counts; `evaluated` names the images that count, all unless given, and they come first. A path in
    `rows` that is not absolute is below `root`. `environment` holds FIFTYONE_DATABASE_URI and its like.
    The dataset is built under another name and takes its own in one step, so that a kill leaves the
    old or the new one. Raises ServiceError if the database does not answer, or has the name's slug
    for another dataset; StageError or FormatError for boxes that cannot be evaluated.
    """
    digest = f"{LAYOUT}-{digest}"
    with _fiftyone(environment) as fo:
        _remove_leftovers(fo, name)
        if fo.dataset_exists(name) and fo.load_dataset(name, reload=True).info.get("digest") == digest:
            return False
        counted = {row.id for row in rows} if evaluated is None else set(evaluated)
        scratch = f"{name}--building-{os.getpid()}-{uuid4().hex[:8]}"
        try:
            dataset = fo.Dataset(scratch, persistent=True)
            _build(fo, dataset, rows, fields, classes, counted, root or Path())
            dataset.info = {"digest": digest}
            dataset.save()
            _swap(fo, dataset, name)
        except BaseException:
            if fo.dataset_exists(scratch):
                fo.delete_dataset(scratch)
            raise
    return True


def dataset_url(app_url: str, name: str, workspace: str | None = WORKSPACE, view: str | None = None) -> str:
    """Where the App at `app_url` shows the dataset, beside its evaluations, or a saved view of it."""
    query = urlencode({k: v for k, v in {"workspace": workspace, "view": view}.items() if v})
    return f"{app_url.rstrip('/')}/datasets/{quote(name, safe='')}" + (f"?{query}" if query else "")


@contextlib.contextmanager
def _fiftyone(environment: Mapping[str, str]) -> Iterator[Any]:
    """fiftyone, imported after `environment` is set, and without a word on standard output."""
    os.environ.update(environment)
    with contextlib.redirect_stdout(io.StringIO()):
        import fiftyone as fo
        from pymongo.errors import PyMongoError

        logging.getLogger("fiftyone").setLevel(logging.ERROR)
        uri = environment.get("FIFTYONE_DATABASE_URI")
        if uri and fo.config.database_uri != uri:
            raise ServiceError(f"fiftyone already speaks with {fo.config.database_uri}, not with {uri}")
        try:
            yield fo
        except (PyMongoError, ConnectionError) as error:
            raise ServiceError(f"FiftyOne's database failed: {error}", "make up") from error


def _build(fo, dataset, rows, fields, classes, counted, root) -> None:
    """Declare the schema, write every sample once with its marks, then save the evaluations."""
    sizes = {row.id: (row.width, row.height) for row in rows if row.id in counted}
    truth = {image: boxes for image, boxes in fields.get(TRUTH, {}).items() if image in sizes}
    models = {
        field: {image: boxes for image, boxes in found.items() if image in sizes}
        for field, found in fields.items()
        if field != TRUTH
    }
    numbers = {field: detection_metrics(sizes, truth, found, classes) for field, found in models.items()}
    _declare(fo, dataset, fields, numbers)
    view = dataset.match_tags(EVALUATED)
    runs = {field: _register(dataset, view, field) for field in models}
    matches: dict[str, list[tuple]] = {field: [] for field in models}
    shown = {field: _shown(found, numbers.get(field)) for field, found in fields.items()}
    ordered = sorted(rows, key=lambda row: row.id not in counted)
    samples = (_sample(dataset, row, root, shown, numbers, matches, counted) for row in ordered)
    collection = dataset._sample_collection
    while batch := [sample for sample, _ in zip(samples, range(BATCH), strict=False)]:
        collection.insert_many(batch, ordered=False)
    dataset.reload()
    for field, run in runs.items():
        sweep = coco_sweep(sizes, truth, models[field], classes)
        _save_run(dataset, view, field, run, matches[field], sweep, classes, numbers[field])
        errors = dataset.match_tags(EVALUATED).match(fo.ViewField(f"{field}_errors") > 0)
        dataset.save_view(f"worst {field}", errors.sort_by(f"{field}_errors", reverse=True))
    _save_workspace(fo, dataset)
    _arrange_sidebar(fo, dataset)
    dataset.default_classes = list(classes)
    colours = [{"path": f, "fieldColor": c} for f, c in zip(fields, COLOURS, strict=False)]
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="field", fields=colours)


def _shown(found: Boxes, number: DetectionMetrics | None) -> Boxes:
    if number is None:
        return found
    return {image: above(boxes, number.threshold) for image, boxes in found.items()}


def _declare(fo, dataset, fields, numbers) -> None:
    dataset.media_type = "image"
    for name in ("image_id", "split"):
        dataset.add_sample_field(name, fo.StringField)
    for field in fields:
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        for attribute in (documents.REGION, *documents.ATTRIBUTES.values()):
            dataset.add_sample_field(f"{field}.detections.{attribute}", fo.StringField)
    for field in numbers:
        dataset.add_sample_field(f"{field}_errors", fo.IntField)


def _register(dataset, view, field):
    from fiftyone.utils.eval.coco import COCOEvaluationConfig

    run = COCOEvaluationConfig(field, TRUTH, iou=IOU, classwise=True, compute_mAP=True).build()
    run.register_run(view, f"eval_{field}")
    run.register_samples(view, f"eval_{field}", dynamic=True)
    return run


def _sample(dataset, row, root, fields, numbers, matches, counted) -> dict[str, Any]:
    """One sample's document, as FiftyOne itself would have written it."""
    now = datetime.now(UTC)
    labels = {field: _detections(found.get(row.id, ()), row) for field, found in fields.items()}
    sample = {
        "filepath": str((root / row.path).absolute()),
        "tags": [row.split] + [EVALUATED] * (row.id in counted),
        "metadata": {"_cls": "ImageMetadata", "width": row.width, "height": row.height},
        "_rand": random.random(),
        "_media_type": "image",
        "_dataset_id": dataset._doc.id,
        "created_at": now,
        "last_modified_at": now,
        "image_id": row.id,
        "split": row.split,
        **{field: {"_cls": "Detections", "detections": found} for field, found in labels.items()},
    }
    if row.id in counted:
        truth = fields.get(TRUTH, {}).get(row.id, ())
        for field in numbers:
            found = fields[field].get(row.id, ())
            sample[f"{field}_errors"] = count_errors(truth, found, IOU).total
            sample |= _mark(field, truth, found, labels.get(TRUTH, []), labels[field], matches[field])
    return sample


def _detections(boxes: Sequence[Annotation], row: ImageRecord) -> list[dict[str, Any]]:
    from bson import ObjectId

    plain = documents.to_fiftyone(boxes, row.width, row.height)
    return [{"_id": ObjectId(), "attributes": {}, "tags": [], **document} for document in plain]


def _mark(field, truth, found, truth_labels, found_labels, matches) -> dict[str, int]:
    """Write one image's matches on its detections, note them for the run, return the sample's counts."""
    key = f"eval_{field}"
    counts = {"tp": 0, "fp": 0, "fn": 0}
    for t, p, iou in match_boxes(truth, found, IOU):
        true = None if t is None else truth_labels[t]
        guess = None if p is None else found_labels[p]
        outcome = "fn" if guess is None else "fp" if true is None else "tp"
        counts[outcome] += 1
        for one, other in ((true, guess), (guess, true)):
            if one is not None:
                one |= {key: outcome, f"{key}_id": str(other["_id"]) if other else "", f"{key}_iou": iou}
        score = None if p is None else score_of(found[p])
        ends = [(one["label"], str(one["_id"])) if one else (None, None) for one in (true, guess)]
        matches.append((ends[0][0], ends[1][0], iou, score, ends[0][1], ends[1][1]))
    return {f"{key}_{outcome}": count for outcome, count in counts.items()}


def _save_run(dataset, view, field, run, matches, sweep, classes, number: DetectionMetrics) -> None:
    import numpy as np
    from fiftyone.utils.eval.coco import COCODetectionResults

    extra = {"map50": ("mAP50", number.map50), "threshold": ("Score of the best F1", number.threshold)}
    key = f"eval_{field}"
    results = COCODetectionResults(
        view,
        run.config,
        key,
        matches,
        sweep.precision,
        np.linspace(0, 1, sweep.precision.shape[2]),
        run.config.iou_threshs,
        list(classes),
        recall_sweep=sweep.recall,
        thresholds=sweep.scores,
        custom_metrics={
            f"@workflow/{word}": {"key": word, "value": value, "label": label, "lower_is_better": False}
            for word, (label, value) in extra.items()
            if value is not None
        },
        backend=run,
    )
    run.save_run_results(dataset, key, results)
    run.add_fields_to_sidebar_group(dataset, key, omit_fields=(field, TRUTH))


def _save_workspace(fo, dataset) -> None:
    """Images on the left, evaluations on the right; without `active_child` the panes stay blank."""
    panels = [fo.Panel(type="Samples", pinned=True), fo.Panel(type="model_evaluation_panel_builtin")]
    panes = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    dataset.save_workspace(WORKSPACE, fo.Space(children=panes, orientation="horizontal", sizes=[0.45, 0.55]))


def _arrange_sidebar(fo, dataset) -> None:
    """Labels on top and open, what only a program asks for closed."""
    config = dataset.app_config
    groups = config.sidebar_groups or fo.DatasetAppConfig.default_sidebar_groups(dataset)
    for group in groups:
        group.expanded = group.name == "labels"
    config.sidebar_groups = sorted(groups, key=lambda group: group.name != "labels")


def _swap(fo, dataset, name: str) -> None:
    """Give `dataset` its name, and the old one another, in one command; then delete the old one.

    The database runs a command to its end whatever becomes of us. The old dataset's id is the smaller
    one, and `hint` has it renamed first, since names and slugs are unique.
    """
    from fiftyone.core.odm import get_db_conn
    from fiftyone.core.utils import to_slug

    slug = to_slug(name)
    table = get_db_conn().datasets
    clash = table.find_one({"slug": slug, "name": {"$ne": name}}, {"name": True})
    if clash:
        raise ServiceError(
            f"FiftyOne has a dataset {clash['name']!r}, whose address is that of {name!r}",
            "rename the project, or delete that dataset",
        )
    retired = f"{name}--retired-{os.getpid()}-{uuid4().hex[:8]}"
    new = {"$eq": ["$_id", dataset._doc.id]}
    table.update_many(
        {"$or": [{"_id": dataset._doc.id}, {"name": name}]},
        [
            {
                "$set": {
                    "name": {"$cond": [new, name, retired]},
                    "slug": {"$cond": [new, slug, to_slug(retired)]},
                }
            }
        ],
        hint="_id_",
    )
    # fiftyone keeps the datasets it has met under the names they had.
    for known in (name, dataset.name):
        type(dataset)._instances.pop(known, None)
    if fo.dataset_exists(retired):
        fo.delete_dataset(retired)


def _remove_leftovers(fo, name: str) -> None:
    """Delete what builds of this dataset left behind when they were killed; running ones stay."""
    import psutil

    for kind in ("building", "retired"):
        for leftover in fo.list_datasets():
            prefix = f"{name}--{kind}-"
            if leftover.startswith(prefix):
                pid = leftover.removeprefix(prefix).partition("-")[0]
                if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                    fo.delete_dataset(leftover)
