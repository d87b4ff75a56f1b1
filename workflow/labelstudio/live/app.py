"""The ML backend's HTTP: what Label Studio asks, with its field names; errors are one line of JSON.

Protocol: https://labelstud.io/guide/ml_create. Images are found by `data.image_id`, in the catalog; no
address that a task names is ever fetched, and the access token that comes with /setup is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request

from workflow.errors import WorkflowError
from workflow.labelstudio.live.credentials import BackendAccess
from workflow.labelstudio.live.guard import LARGEST_BODY, Guard
from workflow.labelstudio.live.predictor import Predictor
from workflow.labelstudio.live.prompted import Prompted
from workflow.records import ImageRecord, Json


@dataclass(frozen=True)
class Backend:
    """What the backend can do for a person: `find` an image of the catalog, guess, draw, and pull soon."""

    find: Callable[[str], ImageRecord | None]
    hint: Callable[[], None]
    say: Callable[[str], None]
    predictor: Predictor | None = None
    prompted: Prompted | None = None

    @property
    def version(self) -> str:
        return self.predictor.version if self.predictor else ""


class AskedTask(BaseModel):
    id: int
    data: dict[str, Any] = {}
    predictions: list[dict[str, Any]] = []


class Params(BaseModel):
    """`context` holds the smart regions of a click; it is empty where whole images are asked for."""

    context: dict[str, Any] | None = None


class Question(BaseModel):
    tasks: list[AskedTask]
    params: Params = Params()


class Event(BaseModel):
    action: str = ""


def create_app(backend: Backend, access: BackendAccess, largest_body: int = LARGEST_BODY) -> Guard:
    """The ASGI application. Nothing but /predict waits for anything, so the others answer at once."""
    app = FastAPI(openapi_url=None)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(Exception, lambda request, error: _broken(backend, request, error))

    @app.get("/health")
    async def health() -> Json:
        return {"status": "UP"}

    @app.post("/setup")
    async def setup() -> Json:
        return {"model_version": backend.version}

    @app.get("/versions")
    async def versions() -> Json:
        return {"versions": [backend.version] if backend.version else []}

    @app.post("/webhook")
    async def webhook(event: Event) -> Json:
        if event.action == "START_TRAINING":
            backend.say("Label Studio asks for a training: workflow pull, dataset and train do that")
        backend.hint()
        return {"status": "noted"}

    @app.post("/predict")
    def predict(question: Question) -> Json:
        clicks = (question.params.context or {}).get("result")
        results = [_draw(backend, question, clicks)] if clicks else _guess(backend, question)
        return {"results": results, "model_version": backend.version}

    return Guard(app, access, largest_body)


def _draw(backend: Backend, question: Question, clicks: Any) -> Json:
    if backend.prompted is None:
        raise HTTPException(501, "no masks for clicks here: workflow serve --interactive MODEL")
    record = backend.find(_image(question.tasks[0])) if len(question.tasks) == 1 else None
    if record is None:
        raise HTTPException(404, "the image is not in the catalog -> workflow catalog, then workflow push")
    try:
        if not isinstance(clicks, list) or not all(isinstance(click, dict) for click in clicks):
            raise ValueError("context.result is no list of regions")
        return backend.prompted.answer(record, clicks)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    except WorkflowError as error:
        raise HTTPException(503, str(error)) from None


def _guess(backend: Backend, question: Question) -> list[Json | list[Json]]:
    """A prediction a task, or none: it has ours already, nothing was found, or it comes later."""
    if backend.predictor is None:
        return [[] for _ in question.tasks]
    if backend.predictor.problem:
        raise HTTPException(503, f"no guesses: {backend.predictor.problem}")
    # Loaded meanwhile or not: what a task has of any version of ours is not asked for again.
    asked = {}
    for task in question.tasks:
        record = backend.find(_image(task))
        if record is not None and not (backend.version and _has(task, backend.version)):
            asked[task.id] = record
    ready = backend.predictor.ask(asked)
    return [
        shown if (shown := ready.get(task.id)) and not _has(task, shown["model_version"]) else []
        for task in question.tasks
    ]


def _has(task: AskedTask, version: str) -> bool:
    return any(prediction.get("model_version") == version for prediction in task.predictions)


def _image(task: AskedTask) -> str:
    return str(task.data.get("image_id", ""))


def _malformed(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"error": f"{where or 'body'}: {first['msg']}"}, 422)


def _refused(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": str(error.detail)}, error.status_code)


def _broken(backend: Backend, request: Request, error: Exception) -> JSONResponse:
    backend.say(f"{request.url.path} failed: {type(error).__name__}: {error}")
    return JSONResponse({"error": f"{type(error).__name__}, see where workflow serve runs"}, 500)
