"""Serve live help: guesses and masks for the person who is labeling, and a pull after what they submit.

It listens on this machine only. What stops it, Ctrl-C or SIGTERM, disconnects it too; after a kill the
next `--connect` finds what was left and takes it over.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from workflow import models
from workflow.errors import LostAnswer, ModelError, ServiceError, StageError, WorkflowError
from workflow.guesses.annotate import guess
from workflow.images import decode
from workflow.labels.blind import blindness
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import state_folder
from workflow.labelstudio.live import connected
from workflow.labelstudio.live.app import Help, create_app
from workflow.labelstudio.live.credentials import Credentials, credentials, credentials_path
from workflow.labelstudio.live.predictor import Predictor
from workflow.labelstudio.live.prompted import Prompted, Segmenter
from workflow.labelstudio.live.soon import Soon
from workflow.labelstudio.project import find_project
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push.prediction import STAIRS, as_prediction
from workflow.labelstudio.pushed import version_of
from workflow.models import Options
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, sample_from_row
from workflow.records import ImageRecord, Sample
from workflow.running.runner import Runner, alone
from workflow.services.network import LOOPBACK, listen
from workflow.stages import preannotate, pull

Json = dict[str, Any]
Say = Callable[[str], None]
PORT = 9090
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


def run(project: Project, wishes: Wishes, client: Client | None, say: Say = print) -> None:
    """Serve until Ctrl-C; with a `client`, connected to the project on its server."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        with serving(project, wishes, client, say) as url:
            say(f"live help for {project.name} on {url}; Ctrl-C stops it")
            if client is None:
                known = credentials(state_folder(project.workspace))
                say(f"user {known.user}, password in {credentials_path(state_folder(project.workspace))}")
            stopped.wait()
    except KeyboardInterrupt:
        pass


@contextmanager
def serving(project: Project, wishes: Wishes, client: Client | None, say: Say) -> Iterator[str]:
    """The backend's address, while it answers there. Models are loaded meanwhile.

    StageError where nothing was pushed that it could be connected to, ServiceError where the port is taken,
    ModelError where `interactive` is no model that draws masks for clicks.
    """
    if wishes.model:
        chain = project.settings.preannotate.model_copy(update={"model": wishes.model})
        project = replace(project, settings=project.settings.model_copy(update={"preannotate": chain}))
    spec = segmenter_spec(project, wishes.interactive)
    catalog = _Catalog(project)
    number = _pushed(project, client) if client else 0
    known = credentials(state_folder(project.workspace))
    with ExitStack() as stack:
        deliver = (lambda late: _deliver(client, number, late)) if client else None
        predictor = Predictor(lambda: _Guesses(project, wishes.device), say, deliver)
        stack.callback(predictor.close)
        prompted = _prompted(project, spec, wishes.device, say) if spec else None
        soon = Soon(lambda: _pull(project, client, say)) if client else None
        if soon:
            stack.callback(soon.close)
        hint = soon.hint if soon else lambda: None
        help = Help(catalog.find, hint, say, predictor, prompted)
        url = stack.enter_context(_listening(help, known, wishes.port))
        if client:
            stack.enter_context(_connected(client, number, url, known, prompted is not None))
            say(f"connected to project {number} of {client.url}")
            # What was submitted while nobody listened.
            hint()
        yield url


def segmenter_spec(project: Project, asked: str) -> str:
    """Which model draws masks for clicks: what was asked for, the project's own, or SAM 2; "" for none."""
    settings = project.settings
    if "mask" not in settings.schema.task.geometry:
        if asked:
            what = f"masks for clicks: none are labeled in {settings.task}"
            raise StageError(what, "leave --interactive out")
        return ""
    ours = [s for s in settings.preannotate.models if models.resolve(s, project.folder)[0] == "sam"]
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


class _Guesses:
    """The project's pre-annotators, shown as push shows them; blind images are shown nothing."""

    def __init__(self, project: Project, device: str) -> None:
        for spec in project.settings.preannotate.models:
            models.fetch(spec, project.folder)
        self._project = project
        self._annotator = preannotate.load(project, device)
        self.version = version_of(self._annotator.name, self._annotator.revision)
        done = Runner(project.marks).state(preannotate.plan(project)) == "done"
        self._written = RowFile(preannotate.predictions_path(project)) if done else None

    def known(self, record: ImageRecord) -> Json | None:
        if blindness(record, self._project.settings.push):
            return {}
        row = self._written.row(record.id) if self._written else None
        return None if row is None else self._shown(sample_from_row(row), record)

    def guess(self, records: Sequence[ImageRecord]) -> Mapping[str, Json]:
        by_id = {record.id: record for record in records}
        said = guess(self._project, self._annotator, records)
        return {sample.image: self._shown(sample, by_id[sample.image]) for sample in said}

    def close(self) -> None:
        self._annotator.close()

    def _shown(self, sample: Sample, record: ImageRecord) -> Json:
        # What the label config cannot show, push counts; here somebody waits.
        settings, interface = self._project.settings, interface_of(self._project)
        row = as_prediction(sample, record, settings, interface, lambda why: None)
        if not row["version"]:
            return {}
        return {"result": row["result"], "score": row["score"], "model_version": self.version}


def _prompted(project: Project, spec: str, device: str, say: Say) -> Prompted:
    settings = project.settings

    def load() -> Segmenter:
        models.fetch(spec, project.folder)
        options = Options(device=device, trust=settings.preannotate.trust)
        # What draws for clicks is an annotator too, and only that is known of what `load` gives.
        return cast(Segmenter, models.load(spec, project.folder, options))

    return Prompted(
        load,
        lambda record: decode.from_file(project.image_path(record.path), settings.images.max_megapixels),
        interface_of(project).controls,
        say,
        STAIRS,
    )


def _pushed(project: Project, client: Client) -> int:
    number = find_project(project, client)
    if number is None:
        raise StageError(f"{client.url} has no project of {project.name}", "workflow push")
    return number


def _deliver(client: Client, number: int, late: Mapping[int, Json]) -> None:
    """Push predictions that came too late for who asked, where nobody else has brought them meanwhile."""
    there = client.tasks(number, "id,predictions_model_versions", numbers=list(late))
    missing = [
        {"task": task["id"], **prediction}
        for task in there
        if (prediction := late[task["id"]])["model_version"] not in _versions(task)
    ]
    if missing:
        client.import_predictions(number, missing)


def _versions(task: Json) -> list[str]:
    names = (task.get("predictions_model_versions") or "").split(",")
    return [name.strip() for name in names]


def _pull(project: Project, client: Client, say: Say) -> bool:
    """Pull unless another command works on the project, or the server falters: then again later."""
    try:
        lock = alone(project.marks, project.name)
    except StageError:
        return False
    with lock:
        try:
            outcome = pull.run(project, client)
        except LostAnswer:
            return False
        except WorkflowError as error:
            say(f"pull: {error}")
            return True
    if not outcome.skipped:
        say(f"pull: {outcome.did}")
    return True


@contextmanager
def _listening(help: Help, known: Credentials, port: int | None) -> Iterator[str]:
    """The HTTP server in a thread of its own; the address at which it answers."""
    import uvicorn

    with listen(PORT if port is None else port, only=port is not None) as listener:
        config = uvicorn.Config(create_app(help, known), log_level="critical", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
            if not thread.is_alive():
                raise ServiceError("the HTTP server ended at once", fix="workflow serve --debug")
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _connected(
    client: Client, number: int, url: str, known: Credentials, interactive: bool
) -> Iterator[None]:
    try:
        connected.connect(client, number, url, known, interactive)
        yield
    finally:
        connected.disconnect(client, number)
