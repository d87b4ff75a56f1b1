"""Vectors of a project's images: asked of a backbone by the engine, kept as they come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

from workflow import models
from workflow.features.backbone import Backbone
from workflow.features.store import Store, store_of
from workflow.guesses.engine import BATCH, Limits, Source, ask_all
from workflow.guesses.tally import Tally
from workflow.models import Annotator, Options
from workflow.project.paths import Project
from workflow.project.rows import read_catalog
from workflow.records import ImageRecord
from workflow.running.progress import progress
from workflow.running.runner import Outcome

DEFAULT = "efficientnet-lite0"


def embed(
    project: Project,
    spec: str = DEFAULT,
    device: str = "auto",
    batch: int = BATCH,
    workers: int | None = None,
) -> Outcome:
    """Have a vector of each image of the catalog in data/embeddings/; those that are there stay.

    StageError where the images are not catalogued, ModelError where the model has no such vectors.
    """
    start = time.perf_counter()
    records = read_catalog(project.catalog)
    models.fetch(spec, project.folder)
    options = Options(exact_decode=project.settings.images.exact_decode, device=device)
    tally = Tally()
    with closing(Backbone(spec, project.folder, options)) as backbone:
        store = store_of(project, spec)
        store.begin(backbone.name, backbone.revision)
        there = set(store.images)
        todo = [record for record in records if record.id not in there]
        _ask(project, backbone, store, todo, batch, workers, tally)
    ids = {record.id for record in records}
    count = sum(image in ids for image in store.images)
    did = f"{spec}: {count} vectors of {store.width} numbers, {len(store.images) - len(there)} new"
    did += f", {len(records) - count} unreadable" if count < len(records) else ""
    return Outcome("embed", time.perf_counter() - start, did, skipped=not todo, lines=tuple(tally.lines()))


def _ask(
    project: Project,
    backbone: Backbone,
    store: Store,
    records: Sequence[ImageRecord],
    batch: int,
    workers: int | None,
    tally: Tally,
) -> None:
    settings = project.settings.images
    sources = [Source(r, project.shown_path(r), 3 * r.width * r.height) for r in records]
    limits = Limits(settings.max_megapixels, settings.memory)
    # The engine hands on what it is answered, whatever that is.
    asked = cast(Annotator, backbone)
    answers = ask_all(asked, sources, (), limits, batch, workers, tally)
    with closing(answers), progress("embedding", len(records)) as advance:
        for part in answers:
            store.append([record.id for record, _ in part], cast(Any, [vector for _, vector in part]))
            advance(len(part), tally.shares())
