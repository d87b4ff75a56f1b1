"""Label Studio's JSON export: a list of tasks with annotations and predictions.

Format: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks. Of a task's several
annotations the latest counts, as in `workflow pull`; a skipped one is no label. Regions are in percent of
the upright image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from workflow.errors import FormatError
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.labelstudio import regions
from workflow.labelstudio.push.addresses import address
from workflow.project.rows import write_bytes
from workflow.records import SPLITS, Json


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each task that somebody annotated, or that has predictions where those are wanted."""
    try:
        tasks = orjson.loads(source.read_bytes())
    except orjson.JSONDecodeError as error:
        raise FormatError(f"{source}: not JSON ({error})") from None
    for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks]):
        where = f"{source}: task {task.get('id', number) if isinstance(task, dict) else number}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            reading.problems.append(f"{where}: has no data; export as JSON, not as JSON_MIN")
            continue
        names = list(_names(task["data"], reading))
        if not names:
            reading.problems.append(f"{where}: names no image")
            continue
        chosen = _chosen(task, reading, names[0])
        page = reading.page(*names) if chosen is not None else None
        if page is None or chosen is None:
            continue
        controls = dict.fromkeys(regions.EVERYTHING, "")
        result = chosen.get("result") or []
        found = regions.from_result(result, page.width, page.height, reading.provenance, controls=controls)
        for reason, count in found.lost.items():
            page.lose(reason, count)
        page.split = next((s for s in SPLITS if s == task["data"].get("split")), None)
        for annotation in found.annotations:
            page.add(annotation)
        page.relations = found.relations
        yield page


def _names(data: Json, reading: Reading) -> Iterator[str]:
    """What an image may be called by a task: our own key, then what stands in the addresses."""
    if isinstance(data.get("file"), str):
        yield data["file"]
    for value in data.values():
        if not isinstance(value, str):
            continue
        parts = urlsplit(value)
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
        if reading.is_image(path):
            yield path
            # The server puts eight digits before the name of an uploaded file.
            yield re.sub(r"(^|/)[0-9a-f]{8}-([^/]*)$", r"\1\2", path)


def _chosen(task: Json, reading: Reading, name: str) -> Json | None:
    """The annotation or prediction that counts; None, counted, where there is none."""
    if reading.predictions:
        full = [p for p in task.get("predictions") or [] if isinstance(p, dict)]
        reading.losses.add("predictions older than an image's latest", name, max(len(full) - 1, 0))
        reading.losses.add("images without predictions", name, not full)
        return max(full, key=lambda p: (p.get("created_at") or "", p.get("id") or 0), default=None)
    given = task.get("annotations") or []
    submitted = regions.submitted(given)
    reading.losses.add("images that nobody labeled", name, not given)
    reading.losses.add("images that were skipped", name, bool(given) and not submitted)
    reading.losses.add("annotations older than an image's latest", name, max(len(submitted) - 1, 0))
    return max(submitted, key=lambda a: (a.get("updated_at") or "", a.get("id") or 0), default=None)


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """Tasks to be imported into a project with this project's label config, images by local files."""
    controls = regions.controls(writing.schema.task, writing.masks)
    tasks = []
    for picture in pictures:
        width, height = picture.size

        def lose(reason: str, where: str = picture.record.path) -> None:
            writing.losses.add(reason, where)

        shown = regions.fit(picture.annotations, controls, width, height, lose)
        result = regions.to_result(shown, width, height, controls=controls, relations=picture.relations)
        record = picture.record
        url = address(writing.name, record, None)
        data = {"image": url, "image_id": record.id, "file": record.path, "split": record.split}
        key = "predictions" if writing.predictions else "annotations"
        tasks.append({"data": data, key: [{"result": result}]})
    write_bytes(target, orjson.dumps(tasks, option=orjson.OPT_INDENT_2))
