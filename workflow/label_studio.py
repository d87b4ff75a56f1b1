"""The client: Label Studio's API as this product uses it, in bulk and without surprises.

Writes are never retried by themselves: the SDK re-sends POSTs whose answer was lost, and the server
then holds everything twice. After an error the caller looks up what arrived. Predictions embedded
in an import are dropped in silence when another write collides, so tasks go first and predictions
after them, by one writer, and both are counted back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from workflow.errors import LabelStudioError

Json = dict[str, Any]
PAGE = 500
CHUNK = 1000
WRITE_TIMEOUT = 600
READ_TIMEOUT = 60
READ_TRIES = 4


class Client:
    """A connection to one server, checked at birth.

    LabelStudioError where no server answers at `url`, where it is none, or where it refuses the token.
    """

    def __init__(self, url: str, api_key: str) -> None:
        from label_studio_sdk import LabelStudio

        self.url = url.rstrip("/")
        # The SDK asks for an access token at birth where the key is a personal one: it can fail here too.
        self._sdk = _guarded(
            self.url,
            lambda: LabelStudio(base_url=self.url, api_key=api_key, timeout=WRITE_TIMEOUT, max_retries=0),
        )
        self.user: Json = self.get("api/current-user/whoami")
        if not isinstance(self.user, dict) or "email" not in self.user:
            raise self._stranger()

    def get(self, path: str, **query: Any) -> Any:
        """Read JSON, trying again when the connection or the server falters; None for 404."""
        return self._read(path, query)[0]

    def post(self, path: str, body: Any) -> Any:
        """Write once. LabelStudioError if the server refuses or its answer is lost."""
        return self._once("POST", path, json=body)

    def patch(self, path: str, body: Json) -> Any:
        return self._once("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        self._once("DELETE", path)

    # Projects

    def find_project(self, key: str) -> Json | None:
        """The project whose description carries `key`, the name we gave it before it existed."""
        page = 1
        while found := self.get("api/projects/", page=page, page_size=100):
            for project in found["results"]:
                if key in (project.get("description") or ""):
                    return project
            if not found.get("next"):
                break
            page += 1
        return None

    def project(self, number: int) -> Json | None:
        return self.get(f"api/projects/{number}/")

    def create_project(self, title: str, description: str, config: str) -> Json:
        body = {"title": title, "description": description, "label_config": config}
        return self.post("api/projects/", body | {"show_collab_predictions": True})

    def serve_folder(self, project: int, path: str, title: str) -> None:
        """Let the server serve a local folder to this project; syncing it would make tasks, so it is not."""
        for storage in self.get("api/storages/localfiles/", project=project) or []:
            if storage["path"] == path:
                return
        storage = {"project": project, "path": path, "title": title, "use_blob_urls": True}
        self.post("api/storages/localfiles/", storage)

    # Tasks

    def tasks(self, project: int, include: str, since: datetime | None = None) -> Iterator[Json]:
        """Stream a project's tasks in pages; only those changed after `since`, the server's time, if given.

        `include` names fields, those of the annotations within tasks too.
        """
        query: Json = {"project": project, "include": include, "fields": "all", "page_size": PAGE}
        if since is not None:
            value = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            item = {
                "filter": "filter:tasks:updated_at",
                "operator": "greater",
                "type": "Datetime",
                "value": value,
            }
            query["query"] = json.dumps({"filters": {"conjunction": "and", "items": [item]}})
        page, seen = 1, 0
        while answer := self.get("api/tasks/", **query, page=page):
            yield from answer["tasks"]
            seen += len(answer["tasks"])
            if not answer["tasks"] or seen >= answer["total"]:
                return
            page += 1

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> list[int]:
        """Create tasks; their ids, in the order given."""
        answer = _guarded(
            self.url,
            lambda: self._sdk.projects.import_tasks(id=project, request=list(tasks), return_task_ids=True),
        )
        if answer.task_count != len(tasks) or len(answer.task_ids or []) != len(tasks):
            raise LabelStudioError(
                f"{self.url}: took {answer.task_count} of {len(tasks)} tasks", "workflow push again"
            )
        return list(answer.task_ids)

    def import_predictions(self, project: int, predictions: Sequence[Json]) -> None:
        """Create predictions on existing tasks, and count what the server took."""
        answer = _guarded(
            self.url,
            lambda: self._sdk.projects.import_predictions(id=project, request=list(predictions)),
        )
        if answer.created != len(predictions):
            raise LabelStudioError(
                f"{self.url}: took {answer.created} of {len(predictions)} predictions", "workflow push again"
            )

    def next_task(self, project: int) -> Json | None:
        """What an annotator gets to see next, with its predictions; None when nothing is left."""
        return self.get(f"api/projects/{project}/next")

    def annotate(self, task: int, annotation: Json) -> bool:
        """Submit an annotation; False where one of that `unique_id` is there already."""
        try:
            self.post(f"api/tasks/{task}/annotations/", annotation)
        except LabelStudioError as error:
            if "HTTP 409" not in error.problem:
                raise
            return False
        return True

    def server_time(self) -> datetime:
        """The server's clock, to the second: ours may differ."""
        _, headers = self._read("api/version/", {})
        return parsedate_to_datetime(headers["date"])

    # Requests

    def _read(self, path: str, query: Json) -> tuple[Any, Any]:
        for attempt in range(READ_TRIES):
            try:
                return self._request("GET", path, params=query, timeout=READ_TIMEOUT)
            except LabelStudioError as error:
                if attempt == READ_TRIES - 1 or "HTTP 4" in error.problem:
                    raise
                time.sleep(0.3 * 2**attempt)
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, **body: Any) -> Any:
        return self._request(method, path, **body)[0]

    def _request(self, method: str, path: str, timeout: int = WRITE_TIMEOUT, **rest: Any) -> tuple[Any, Any]:
        # The SDK's own transport, for its authentication: legacy tokens and personal ones alike.
        transport = self._sdk._client_wrapper.httpx_client
        options: Any = {"timeout_in_seconds": timeout}
        answer = _guarded(
            self.url, lambda: transport.request(path, method=method, request_options=options, **rest)
        )
        if answer.status_code == 404 and method == "GET":
            return None, answer.headers
        if answer.is_error:
            raise LabelStudioError(*_refusal(self.url, method, path, answer.status_code, answer.text))
        try:
            return (answer.json() if answer.content else None), answer.headers
        except ValueError:
            raise self._stranger() from None

    def _stranger(self) -> LabelStudioError:
        return LabelStudioError(f"{self.url} answers, but not as Label Studio does", "check LABEL_STUDIO_URL")


def chunks(items: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _guarded(url: str, call: Any) -> Any:
    """Turn the SDK's and httpx's exceptions into one line."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        return call()
    except ApiError as error:
        raise LabelStudioError(*_refusal(url, "request", "", error.status_code, str(error.body))) from None
    except httpx.TimeoutException:
        raise LabelStudioError(f"{url} did not answer in time", "workflow status") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        what = str(error) or type(error).__name__
        raise LabelStudioError(
            f"no Label Studio answers at {url} ({what})", "make up, or check LABEL_STUDIO_URL"
        ) from None


def _refusal(url: str, method: str, path: str, status: int | None, body: str) -> tuple[str, str]:
    if status in (401, 403):
        return f"{url} refuses the token (HTTP {status})", "check LABEL_STUDIO_API_KEY, or make down up"
    detail = body
    try:
        answer = json.loads(body)
        detail = str(answer.get("validation_errors") or answer.get("detail") or answer)
    except (ValueError, AttributeError):
        pass
    detail = " ".join(detail.split())[:300]
    return f"{url} refused {method} {path} (HTTP {status}): {detail}", "workflow status"
