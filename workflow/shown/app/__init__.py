"""The dataset the FiftyOne App browses: rebuilt from files whenever they changed, never the source.

FiftyOne's own `add_samples` and `evaluate_detections` take minutes for what takes seconds here: the
documents are written to its database as they would have been, matches are ours, average precision is
COCO's. (FiftyOne's own sorts true positives first among equal scores, which flatters.) The runs are
stock runs, so the Model Evaluation panel, patches and views work on them as on any other.
Average precision counts everything a model gave; shown, matched and counted is what its user would see,
as in the report: nobody can look at a hundred boxes of one percent each.
How labels of a kind are shown and evaluated is in objects.py, labels.py and pixels.py.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from workflow.errors import ServiceError
from workflow.features.store import Store
from workflow.metrics import Labels, Metrics, measure
from workflow.metrics.detection import evaluate_detections
from workflow.records import ImageRecord
from workflow.schema import Schema
from workflow.shown.app import brain
from workflow.shown.app.back import Returns, let_edit
from workflow.shown.app.facts import OF_IMAGES, Facts
from workflow.shown.app.kind import Document, Field, Kind, Shown, declare
from workflow.shown.app.labels import Labels as WholeImages
from workflow.shown.app.names import (
    EVALUATED,
    NEAR,
    OPENED,
    TRUTH,
    UNIQUENESS,
    WORKSPACE,
    errors_field,
    gained_field,
    precision_field,
)
from workflow.shown.app.objects import Objects
from workflow.shown.app.opened import BROWSER, arrange, browser_settings
from workflow.shown.app.pixels import Pixels
from workflow.shown.app.samples import insert, place_of, sample_of
from workflow.shown.app.views import save_views

__all__ = ["TRUTH", "dataset_url", "publish", "reading"]

# What the numbers' own matches are of; else a mask without pixels, or a box among rotated ones, differs.
BOXES = {"box", "keypoints"}
# What `publish` makes of the same labels; another number rebuilds what an older workflow built.
LAYOUT = 5
KINDS: dict[str, type[Kind]] = {"labels": WholeImages, "objects": Objects, "pixels": Pixels}


def publish(
    name: str,
    rows: Sequence[ImageRecord],
    fields: Mapping[str, Labels],
    schema: Schema,
    environment: Mapping[str, str],
    digest: str,
    *,
    root: Path | None = None,
    masks: Path | None = None,
    evaluated: Collection[str] | None = None,
    facts: Facts | None = None,
    stores: Sequence[Store] = (),
    returns: Returns | None = None,
) -> bool:
    """Make the persistent dataset `name` hold `rows`; False, and nothing done, if it has this `digest`.

    `fields` maps a field to {image id: labels}: "ground_truth", and one a model, each of which becomes
    an evaluation `eval_FIELD` and views of its own; the last is the one that is asked about. An image absent
    from a field has no labels there, and counts; `evaluated` names the images that count, all unless given,
    and they come first, the worst before all. A path in `rows` that is not absolute is below `root`. `masks`
    is a folder for painted classes, which the App reads from files. `environment` holds
    FIFTYONE_DATABASE_URI and its like. `facts` are what is known of images and labels besides, `stores` the
    vectors of images by which they are likened. `returns` keeps what people did in the App to the dataset
    that is replaced: their tags are set again, what they edited waits.
    The dataset is built under another name and takes its own in one step, so that a kill leaves the
    old or the new one. Raises ServiceError if the database does not answer, or has the name's slug
    for another dataset; StageError or FormatError for labels that cannot be evaluated.
    """
    digest = f"{LAYOUT}-{digest}"
    with _fiftyone(environment) as fo, _without_collector():
        _remove_leftovers(fo, name)
        if _is_there(fo, name, digest, masks):
            return False
        if returns and fo.dataset_exists(name):
            returns.keep(fo.load_dataset(name))
        counted = {row.id for row in rows} if evaluated is None else set(evaluated)
        scratch = f"{name}--building-{os.getpid()}-{uuid4().hex[:8]}"
        files = masks / scratch.rpartition("-")[2] if masks and schema.task.kind == "pixels" else None
        try:
            dataset = fo.Dataset(scratch, persistent=True)
            shown = replace(_shown(rows, fields, schema, counted, files), facts=facts or Facts())
            settings = _build(fo, dataset, rows, shown, (root or Path()).absolute(), returns, stores)
            info = {"digest": digest, "files": str(files) if files else "", BROWSER: settings}
            # For the buttons, which are pressed where nobody knows a project.
            dataset.info = info | ({"project": str(returns.project.folder)} if returns else {})
            dataset.save()
            _swap(fo, dataset, name, returns)
        except BaseException:
            if fo.dataset_exists(scratch):
                fo.delete_dataset(scratch)
            if files:
                shutil.rmtree(files, ignore_errors=True)
            raise
        for old in masks.iterdir() if masks and masks.is_dir() else ():
            if old != files:
                shutil.rmtree(old)
    return True


@contextlib.contextmanager
def reading(name: str, environment: Mapping[str, str]) -> Iterator[Any]:
    """The dataset as it is now. ServiceError where there is none, or its database does not answer."""
    with _fiftyone(environment) as fo:
        if not fo.dataset_exists(name):
            raise ServiceError(f"FiftyOne has no dataset {name!r}", f"workflow evaluate {name}")
        yield fo.load_dataset(name, reload=True)


def dataset_url(app_url: str, name: str, workspace: str | None = WORKSPACE, view: str | None = OPENED) -> str:
    """Where the App at `app_url` shows what was evaluated, the worst first, beside its evaluations."""
    query = urlencode({k: v for k, v in {"workspace": workspace, "view": view}.items() if v})
    return f"{app_url.rstrip('/')}/datasets/{quote(name, safe='')}" + (f"?{query}" if query else "")


@contextlib.contextmanager
def _fiftyone(environment: Mapping[str, str]) -> Iterator[Any]:
    """fiftyone, imported while `environment` is set, and without a word on standard output.

    Afterwards the variables are as before: who looks for a database of the user's own must not find ours.
    """
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as stack:
        stack.callback(_restore, before)
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


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """No search for cycles: among hundreds of thousands of new documents it finds none, and takes a third."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_there(fo: Any, name: str, digest: str, masks: Path | None) -> bool:
    """Whether the dataset is built of just that, and no one took away the files it shows."""
    if not fo.dataset_exists(name):
        return False
    info = fo.load_dataset(name, reload=True).info
    files = Path(info.get("files") or ".")
    return info.get("digest") == digest and (
        not info.get("files") or (files.parent == masks and files.is_dir())
    )


def _shown(
    rows: Sequence[ImageRecord],
    fields: Mapping[str, Labels],
    schema: Schema,
    counted: Collection[str],
    files: Path | None,
) -> Shown:
    sizes = {row.id: (row.width, row.height) for row in rows if row.id in counted}
    kept = {f: {i: labels for i, labels in some.items() if i in sizes} for f, some in fields.items()}
    truth = kept.pop(TRUTH, {})
    if set(schema.task.geometry) <= BOXES and schema.task.kind == "objects":
        compared = {f: evaluate_detections(schema, sizes, truth, labels) for f, labels in kept.items()}
        numbers: dict[str, Metrics] = {f: evaluation.numbers for f, evaluation in compared.items()}
        return Shown(schema, sizes, fields, numbers, files, compared)
    numbers = {f: measure(schema, sizes, truth, labels) for f, labels in kept.items()}
    return Shown(schema, sizes, fields, numbers, files)


def _build(
    fo: Any,
    dataset: Any,
    rows: Sequence[ImageRecord],
    shown: Shown,
    root: Path,
    returns: Returns | None,
    stores: Sequence[Store],
) -> Document:
    """Declare the schema, write every sample once with its marks, then save the evaluations.

    Returns what browsers are to be told.
    """
    kind = KINDS[shown.schema.task.kind](shown)
    dataset.media_type = "image"
    fields: dict[str, Field] = {name: (fo.StringField, {}) for name in ("image_id", "split")}
    errors = fo.FloatField if shown.in_pixels else fo.IntField
    fields |= {errors_field(field): (errors, {}) for field in shown.numbers}
    fields |= {gained_field(field): (errors, {}) for field in list(shown.numbers)[1:]}
    fields |= {precision_field(field): (fo.FloatField, {}) for field in kind.precision}
    kinds = {str: fo.StringField, float: fo.FloatField}
    fields |= {name: (kinds[kind], {}) for name, kind in OF_IMAGES.items()}
    fields |= {UNIQUENESS: (fo.FloatField, {}), NEAR: (fo.StringField, {})} if stores else {}
    declare(dataset, fields | kind.fields(fo))
    declare(dataset, kind.attributes(fo))
    view = dataset.match_tags(EVALUATED)
    kind.register(view)
    ordered = sorted(rows, key=lambda row: place_of(row, shown))
    samples: Iterator[Document] = (sample_of(dataset, row, root, shown, kind) for row in ordered)
    samples = returns.note(dataset, samples, shown.fields.get(TRUTH, {})) if returns else samples
    insert(dataset._sample_collection, samples)
    dataset.reload()
    kind.save(view)
    told = brain.look(dataset, stores)
    save_views(fo, dataset, shown, kind, bool(told))
    arrange(fo, dataset, shown, kind)
    if returns:
        let_edit(dataset, shown.schema)
    return browser_settings(dataset, shown, kind.fields_of(shown.fields) if kind.drawn else ())


def _swap(fo: Any, dataset: Any, name: str, returns: Returns | None) -> None:
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
        if returns:
            # What somebody did there while the new one was made.
            returns.keep(fo.load_dataset(retired))
        fo.delete_dataset(retired)
    if returns:
        returns.settle(dataset)


def _remove_leftovers(fo: Any, name: str) -> None:
    """Delete what builds of this dataset left behind when they were killed; running ones stay."""
    import psutil

    for kind in ("building", "retired"):
        for leftover in fo.list_datasets():
            prefix = f"{name}--{kind}-"
            if leftover.startswith(prefix):
                pid = leftover.removeprefix(prefix).partition("-")[0]
                if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                    fo.delete_dataset(leftover)
