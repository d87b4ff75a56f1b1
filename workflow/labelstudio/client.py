"""The client: Label Studio's API as this product uses it, in bulk and without surprises.

Writes are never retried by themselves: the SDK re-sends POSTs whose answer was lost, and the server
then holds everything twice. After an error the caller looks up what arrived. Predictions embedded
in an import are dropped in silence when another write collides, so tasks go first and predictions
after them, by one writer, and both are counted back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from workflow.errors import LabelStudioError, LostAnswer
from workflow.records import Json
from workflow.running.ahead import ahead

PAGE = 500
# A page of large masks would fill the memory: where one is heavier, the next has fewer tasks.
PAGE_BYTES = 16_000_000
# The server looks at every task of the project once a request, so few large requests are fast.
CHUNK, CHUNK_BYTES = 10_000, 48_000_000
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
        return self._weigh(path, query)[0]

    def post(self, path: str, body: Any) -> Any:
        """Write once. LabelStudioError if the server refuses or its answer is lost."""
        return self._once("POST", path, body)

    def patch(self, path: str, body: Json) -> Any:
        return self._once("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._once("DELETE", path)

    # Projects

    def find_project(self, key: str) -> Json | None:
        """The project whose description carries `key`, the name we gave it before it existed."""
        page = 1
        while answer := self.get("api/projects/", page=page, page_size=100):
            for project in answer["results"]:
                if key in (project.get("description") or ""):
                    return project
            if not answer.get("next"):
                break
            page += 1
        return None

    def project(self, number: int) -> Json | None:
        return self.get(f"api/projects/{number}/")

    def create_project(self, title: str, description: str, settings: Json) -> Json:
        body = {"title": title, "description": description, "show_collab_predictions": True}
        return self.post("api/projects/", body | settings)

    def serve_folder(self, project: int, path: str, title: str) -> None:
        """Let the server serve a local folder to this project; syncing it would make tasks, so it is not."""
        for storage in self.get("api/storages/localfiles/", project=project) or []:
            if storage["path"] == path:
                return
        storage = {"project": project, "path": path, "title": title, "use_blob_urls": True}
        self.post("api/storages/localfiles/", storage)

    # Tasks

    def tasks(
        self, project: int, include: str, since: datetime | None = None, numbers: Sequence[int] | None = None
    ) -> Iterator[Json]:
        """Stream a project's tasks by number, the next page being fetched while one is worked on.

        `include` names fields, those of the annotations and predictions within tasks too. Only tasks changed
        after `since`, the server's time, or only those of `numbers`, where given. Pages begin after the last
        task of the one before, so that one deleted meanwhile makes none be passed over.
        """
        for page in ahead(self._pages(project, include, since, numbers)):
            yield from page

    def _pages(
        self, project: int, include: str, since: datetime | None, numbers: Sequence[int] | None
    ) -> Iterator[list[Json]]:
        where = []
        if since is not None:
            value = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            where.append(_filter("updated_at", "greater", "Datetime", value))
        if numbers is not None:
            where.append(_filter("id", "in_list", "List", list(numbers)))
        last, size = 0, PAGE
        while True:
            items = [*where, _filter("id", "greater", "Number", last)] if last else where
            view = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            query: Json = {"project": project, "include": include, "fields": "all", "page_size": size}
            # A task's own address of its image, not today's signed one.
            query |= {"resolve_uri": "false", "query": json.dumps(view)}
            answer, weight = self._weigh("api/tasks/", query)
            if not answer or not answer["tasks"]:
                return
            yield answer["tasks"]
            count = len(answer["tasks"])
            if count >= answer["total"]:
                return
            last = answer["tasks"][-1]["id"]
            size = max(1, min(PAGE, int(PAGE_BYTES * count / weight)))

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> list[int]:
        """Create tasks; their ids, in the order given."""
        answer = self.post(f"api/projects/{project}/import?return_task_ids=true", list(tasks))
        numbers = answer.get("task_ids") or []
        if answer.get("task_count") != len(tasks) or len(numbers) != len(tasks):
            raise LostAnswer(
                f"{self.url}: took {answer.get('task_count')} of {len(tasks)} tasks", "workflow push again"
            )
        return numbers

    def import_predictions(self, project: int, predictions: Sequence[Json]) -> None:
        """Create predictions on existing tasks, and count what the server took."""
        answer = self.post(f"api/projects/{project}/import/predictions", list(predictions))
        if answer.get("created") != len(predictions):
            what = f"took {answer.get('created')} of {len(predictions)} predictions"
            raise LostAnswer(f"{self.url}: {what}", "workflow push again")

    def delete_predictions_of(self, project: int, tasks: Sequence[int]) -> None:
        """Delete all predictions of these tasks. Who has one on the screen cannot submit it any more."""
        path = f"api/dm/actions?id=delete_tasks_predictions&project={project}"
        self.post(path, {"selectedItems": {"all": False, "included": list(tasks)}})

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

    def people(self) -> dict[str, tuple[str, str]]:
        """By number, everybody's name, or e-mail address where they gave none, and initials."""
        people = {}
        for user in self.get("api/users/") or []:
            name = f"{user.get('first_name', '')} {user.get('last_name', '')}".strip()
            people[str(user["id"])] = (name or user.get("email", ""), user.get("initials", ""))
        return people

    def server_time(self) -> datetime:
        """The server's clock, to the second: ours may differ."""
        answer = self._read("api/version/", {})
        return parsedate_to_datetime(answer.headers["date"])

    # Requests

    def _weigh(self, path: str, query: Json) -> tuple[Any, int]:
        """What a GET answers, None for 404, and how many bytes it came in."""
        answer = self._read(path, query)
        return self._content(answer) if answer.status_code != 404 else None, len(answer.content)

    def _read(self, path: str, query: Json) -> Any:
        for attempt in range(READ_TRIES):
            try:
                return self._request("GET", path, params=query, timeout=READ_TIMEOUT)
            except LabelStudioError as error:
                if attempt == READ_TRIES - 1 or not isinstance(error, LostAnswer):
                    raise
                time.sleep(0.3 * 2**attempt)
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: Any = None) -> Any:
        content: Any = {} if body is None else {"content": orjson.dumps(body), "headers": JSON}
        return self._content(self._request(method, path, **content))

    def _request(self, method: str, path: str, timeout: int = WRITE_TIMEOUT, **rest: Any) -> Any:
        # The SDK's own transport, for its authentication: legacy tokens and personal ones alike.
        transport = self._sdk._client_wrapper.httpx_client
        options: Any = {"timeout_in_seconds": timeout}
        answer = _guarded(
            self.url, lambda: transport.request(path, method=method, request_options=options, **rest)
        )
        if answer.is_error and not (answer.status_code == 404 and method == "GET"):
            raise _refusal(self.url, method, path, answer.status_code, answer.text)
        return answer

    def _content(self, answer: Any) -> Any:
        try:
            return orjson.loads(answer.content) if answer.content else None
        except orjson.JSONDecodeError:
            raise self._stranger() from None

    def _stranger(self) -> LabelStudioError:
        return LabelStudioError(f"{self.url} answers, but not as Label Studio does", "check LABEL_STUDIO_URL")


JSON = {"Content-Type": "application/json"}


def _filter(column: str, operator: str, kind: str, value: Any) -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def chunks(items: Iterable[Any], most: int = CHUNK, weight: Any = None) -> Iterator[list[Any]]:
    """Lists of items that one request can carry: `most`, and by `weight`, their bytes, if given."""
    part: list[Any] = []
    heavy = 0
    for item in items:
        part.append(item)
        heavy += weight(item) if weight else 0
        if len(part) >= most or heavy >= CHUNK_BYTES:
            yield part
            part, heavy = [], 0
    if part:
        yield part


def _guarded(url: str, call: Any) -> Any:
    """Turn the SDK's and httpx's exceptions into one line."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        return call()
    except ApiError as error:
        raise _refusal(url, "request", "", error.status_code, str(error.body)) from None
    except httpx.TimeoutException:
        raise LostAnswer(f"{url} did not answer in time", "workflow status") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        what = str(error) or type(error).__name__
        raise LostAnswer(
            f"no Label Studio answers at {url} ({what})", "make up, or check LABEL_STUDIO_URL"
        ) from None


def _refusal(url: str, method: str, path: str, status: int | None, body: str) -> LabelStudioError:
    if status == 401:
        fix = "check LABEL_STUDIO_API_KEY, or make down up"
        return LabelStudioError(f"{url} refuses the token (HTTP {status})", fix)
    detail = body
    try:
        answer = json.loads(body)
        detail = str(answer.get("validation_errors") or answer.get("detail") or answer)
    except (ValueError, AttributeError):
        pass
    detail = " ".join(detail.split())[:300]
    # A server that stumbled may have done it all the same; one that refused has not.
    kind = LostAnswer if status is None or status >= 500 else LabelStudioError
    return kind(f"{url} refused {method} {path} (HTTP {status}): {detail}", "workflow status")
