"""Live help from its beginning to its end: models, HTTP, and what the project's server knows of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from workflow.errors import ServiceError
from workflow.labels.blind import blindness
from workflow.labelstudio.client import Client
from workflow.labelstudio.live import connected
from workflow.labelstudio.live.app import Backend, create_app
from workflow.labelstudio.live.credentials import BackendAccess, credentials
from workflow.labelstudio.live.predictor import Predictor
from workflow.labelstudio.live.prompted import Prompted
from workflow.labelstudio.live.soon import Soon
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push.prediction import STAIRS, as_prediction
from workflow.labelstudio.pushed import version_of
from workflow.labelstudio.work import versions_of
from workflow.project.paths import Project
from workflow.records import ImageRecord, Json, Sample
from workflow.review import Guesser, Help
from workflow.services import state_folder
from workflow.services.network import LOOPBACK, listen

PORT = 9090


@contextmanager
def serving(
    project: Project, help: Help, port: int | None, client: Client | None = None, number: int = 0
) -> Iterator[str]:
    """The backend's address, while it answers there, on `port` (9090 or the next free one where it is None).

    With a `client`, project `number` of its server is told of it, and what came too late for who asked is
    pushed there. Models are loaded meanwhile. ServiceError where the port is taken.
    """
    access = credentials(state_folder(project.workspace))
    with ExitStack() as stack:
        deliver = (lambda late: _deliver(client, number, late)) if client else None
        predictor = Predictor(lambda: ShownGuesses(project, help.guesser()), help.say, deliver)
        stack.callback(predictor.close)
        prompted = None
        if help.segmenter:
            prompted = Prompted(help.segmenter, help.pixels, interface_of(project), help.say, STAIRS)
        soon = Soon(help.pull) if client else None
        if soon:
            stack.callback(soon.close)
        hint = soon.hint if soon else lambda: None
        backend = Backend(help.find, hint, help.say, predictor, prompted)
        url = stack.enter_context(_listening(backend, access, port))
        if client:
            stack.enter_context(_connected(client, number, url, access, prompted is not None))
            help.say(f"connected to project {number} of {client.url}")
            # What was submitted while nobody listened.
            hint()
        yield url


class ShownGuesses:
    """A guesser's guesses as push shows them; blind images are shown nothing."""

    def __init__(self, project: Project, guesser: Guesser) -> None:
        self._settings, self._interface = project.settings, interface_of(project)
        self._guesser = guesser
        self.version = version_of(guesser.name, guesser.revision)

    def known(self, record: ImageRecord) -> Json | None:
        if blindness(record, self._settings.push):
            return {}
        sample = self._guesser.known(record)
        return None if sample is None else self._shown(sample, record)

    def guess(self, records: Sequence[ImageRecord]) -> Mapping[str, Json]:
        by_id = {record.id: record for record in records}
        return {s.image: self._shown(s, by_id[s.image]) for s in self._guesser.guess(records)}

    def close(self) -> None:
        self._guesser.close()

    def _shown(self, sample: Sample, record: ImageRecord) -> Json:
        # What the label config cannot show, push counts; here somebody waits.
        row = as_prediction(sample, record, self._settings, self._interface, lambda why: None)
        if not row["version"]:
            return {}
        return {"result": row["result"], "score": row["score"], "model_version": self.version}


def _deliver(client: Client, number: int, late: Mapping[int, Json]) -> None:
    """Push predictions that came too late for who asked, where nobody else has brought them meanwhile."""
    tasks = client.tasks(number, "id,predictions_model_versions", numbers=list(late))
    missing = [
        {"task": task["id"], **prediction}
        for task in tasks
        if (prediction := late[task["id"]])["model_version"] not in versions_of(task)
    ]
    if missing:
        client.import_predictions(number, missing)


@contextmanager
def _listening(backend: Backend, access: BackendAccess, port: int | None) -> Iterator[str]:
    """The HTTP server in a thread of its own; the address at which it answers."""
    import uvicorn

    with listen(PORT if port is None else port, only=port is not None) as listener:
        config = uvicorn.Config(create_app(backend, access), log_level="critical", access_log=False)
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
    client: Client, number: int, url: str, access: BackendAccess, interactive: bool
) -> Iterator[None]:
    try:
        connected.connect(client, number, url, access, interactive)
        yield
    finally:
        connected.disconnect(client, number)
