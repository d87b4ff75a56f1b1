"""Serve live help: guesses and masks for the person who is labeling, and a pull after what they submit.

It listens on this machine only. What stops it, Ctrl-C or SIGTERM, disconnects it too; after a kill the
next `--connect` finds what was left and takes it over.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

from workflow import models, wing
from workflow.errors import LostAnswer, ModelError, StageError, WorkflowError
from workflow.guesses.annotate import guess
from workflow.images import decode
from workflow.models import Options
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, sample_from_row
from workflow.records import ImageRecord, Sample
from workflow.review import Help, ReviewTool, Segmenter
from workflow.running.runner import Runner, alone
from workflow.services import state_folder
from workflow.stages import preannotate, pull

Say = Callable[[str], None]
# Where masks are labeled and nobody says by which model.
SEGMENTER = "sam2"


@dataclass(frozen=True)
class Wishes:
    """What is served: whole images by `model` (the project's pre-annotators where it is empty), masks for
    clicks by `interactive`, on `port` (a free one where it is None).
    """

    model: tuple[str, ...] = ()
    interactive: str = ""
    port: int | None = None
    device: str = "auto"


def run(project: Project, wishes: Wishes, tool: ReviewTool | None, say: Say = print) -> None:
    """Serve until Ctrl-C; with a `tool`, connected to the project on its server."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with serving(project, wishes, tool, say) as url:
            say(f"live help for {project.name} on {url}; Ctrl-C stops it")
            if tool is None:
                user, path = wing.password_path(state_folder(project.workspace))
                say(f"user {user}, password in {path}")
            stopped.wait()
    except KeyboardInterrupt:
        pass


@contextmanager
def serving(project: Project, wishes: Wishes, tool: ReviewTool | None, say: Say) -> Iterator[str]:
    """The backend's address, while it answers there. Models are loaded meanwhile.

    StageError where nothing was pushed that it could be connected to, ServiceError where the port is taken,
    ModelError where `interactive` is no model that draws masks for clicks.
    """
    if wishes.model:
        chain = project.settings.preannotate.model_copy(update={"model": wishes.model})
        project = replace(project, settings=project.settings.model_copy(update={"preannotate": chain}))
    spec = segmenter_spec(project, wishes.interactive)
    limits = (project.settings.images.max_megapixels, project.settings.images.memory)
    help = Help(
        guesser=lambda: PreAnnotators(project, wishes.device),
        segmenter=(lambda: _segmenter(project, spec, wishes.device)) if spec else None,
        find=_Catalog(project).find,
        pixels=lambda record: decode.from_file(project.shown_path(record), *limits),
        pull=lambda: _pull(project, tool, say) if tool else True,
        say=say,
    )
    helping = tool.helping if tool else wing.helping
    with helping(project, help, wishes.port) as url:
        yield url


def segmenter_spec(project: Project, asked: str) -> str:
    """Which model draws masks for clicks: what was asked for, the project's own, or SAM 2; "" for none."""
    settings = project.settings
    if "mask" not in settings.schema.task.geometry:
        if asked:
            what = f"masks for clicks: none are labeled in {settings.task}"
            raise StageError(what, "leave --interactive out")
        return ""
    ours = [s for s in preannotators(project) if models.resolve(s, project.folder)[0] == "sam"]
    spec = asked or (ours[-1] if ours else SEGMENTER)
    if models.resolve(spec, project.folder)[0] != "sam":
        raise ModelError(f"model {spec!r} draws no masks for clicks", "take one of sam: workflow models")
    return spec


class _Catalog:
    """The catalog's images by id, read again when the file has changed."""

    def __init__(self, project: Project) -> None:
        self._path = project.catalog
        self._records: dict[str, ImageRecord] = {}
        self._seen = 0
        self._read()

    def find(self, image: str) -> ImageRecord | None:
        if self._path.exists() and self._path.stat().st_mtime_ns != self._seen:
            self._read()
        return self._records.get(image)

    def _read(self) -> None:
        records = {record.id: record for record in read_catalog(self._path)}
        self._seen, self._records = self._path.stat().st_mtime_ns, records


class PreAnnotators:
    """The project's pre-annotators, as `workflow.review.Guesser`."""

    def __init__(self, project: Project, device: str) -> None:
        for spec in preannotators(project):
            models.fetch(spec, project.folder)
        self._project = project
        self._annotator = preannotate.load(project, device)
        self.name, self.revision = self._annotator.name, self._annotator.revision
        done = Runner(project.marks).state(preannotate.plan(project)) == "done"
        self._written = RowFile(preannotate.predictions_path(project)) if done else None

    def known(self, record: ImageRecord) -> Sample | None:
        row = self._written.row(record.id) if self._written else None
        return None if row is None else sample_from_row(row)

    def guess(self, records: Sequence[ImageRecord]) -> Iterable[Sample]:
        return guess(self._project, self._annotator, records)

    def close(self) -> None:
        self._annotator.close()


def _segmenter(project: Project, spec: str, device: str) -> Segmenter:
    models.fetch(spec, project.folder)
    options = Options(device=device, trust=project.settings.preannotate.trust)
    # What draws for clicks is an annotator too, and only that is known of what `load` gives.
    return cast(Segmenter, models.load(spec, project.folder, options))


def _pull(project: Project, tool: ReviewTool, say: Say) -> bool:
    """Pull unless another command works on the project, or the server falters: then again later."""
    try:
        lock = alone(project.marks, project.name)
    except StageError:
        return False
    with lock:
        try:
            outcome = pull.run(project, tool)
        except LostAnswer:
            return False
        except WorkflowError as error:
            say(f"pull: {error}")
            return True
    if not outcome.skipped:
        say(f"pull: {outcome.did}")
    return True
