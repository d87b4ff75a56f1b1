"""Label Studio's JSON export: a list of tasks with annotations and predictions.

Format: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks. Of several people's
annotations those count that `pull.annotators` says, as in `workflow pull`; where nothing is said there, one
that was marked as ground truth comes before the latest. A skipped one is no label. Regions are in percent of
the upright image. A task may show several images: see `json_images`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.labels import agreement
from workflow.labels.agreement import Opinion, Verdict
from workflow.labelstudio import regions
from workflow.labelstudio.json_images import ADVICE, ImageKeys, Place, images_of, part
from workflow.labelstudio.push.addresses import address
from workflow.labelstudio.regions.read import RELATION, whole_id
from workflow.labelstudio.work import each_persons_last, person_of
from workflow.project.rows import write_bytes
from workflow.records import SPLITS, Json

EVERYTHING = dict.fromkeys(regions.EVERYTHING, "")


class _Task(doors.Record):
    id: doors.Id | None = None
    data: dict[str, Any]
    annotations: tuple[Any, ...] | None = None
    predictions: tuple[Any, ...] | None = None


class _Region(doors.Record):
    """What says of which kind a region is, and ties it to others; what it cannot carry, its reader counts."""

    type: doors.Text
    from_name: str | None = None
    to_name: str | None = None
    value: dict[str, Any] | None = None
    id: doors.Id | None = None
    parentID: doors.Id | None = None
    from_id: doors.Id | None = None
    to_id: doors.Id | None = None


class _Annotation(doors.Record):
    """An annotation or a prediction; what an export may leave out has the value that means nothing."""

    id: int = 0
    was_cancelled: bool = False
    ground_truth: bool = False
    updated_at: str = ""
    created_at: str = ""
    completed_by: Any = None
    result: tuple[dict[str, Any], ...] | None = None


@dataclass
class Shown:
    """One task: its images, and what people (or a model) said of it."""

    where: str
    number: Any
    split: Any
    images: Mapping[Place, list[str]]
    annotations: list[Json] = field(default_factory=list)
    predictions: list[Json] = field(default_factory=list)


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each image that somebody labeled, or that has predictions where those are wanted."""
    keys = ImageKeys.of(reading.options.image_keys)
    tasks = list(_tasks(source, reading))
    doors.refuse_twice([task.number for task in tasks if task.number is not None], "task", str(source))
    if reading.predictions and tasks and not any(task.predictions for task in tasks):
        what = f"{source} has no predictions"
        raise FormatError(what, "leave --as predictions out, or export with predictions in full")
    labeled = _labeled_keys(tasks, keys, reading)
    for task in tasks:
        for place, names in task.images.items():
            if place.key in labeled or len({p.key for p in task.images}) == 1:
                yield from _page(task, place, names, keys, reading)
            else:
                reading.losses.add("images of which no region of the source is, left out", names[0])


def _tasks(source: Path, reading: Reading) -> Iterator[Shown]:
    content = doors.load_json(source)
    for number, value in enumerate(content if isinstance(content, list) else [content]):
        name = value.get("id", number) if isinstance(value, dict) else number
        where = f"{source}: task {name}"
        if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
            reading.problems.append(f"{where}: has no data; export as JSON, not as JSON_MIN")
            continue
        try:
            task = doors.take(_Task, value, where)
            images = images_of(task.data, reading)
            if not images:
                raise FormatError(f"{where}: names no image")
            shown = Shown(where, task.id, task.data.get("split"), images)
            shown.annotations = [_row(one, where) for one in task.annotations or ()]
            # Exports name predictions by their numbers alone where they are not asked for in full.
            full = [one for one in task.predictions or () if isinstance(one, dict)]
            shown.predictions = [_row(one, where) for one in full]
            yield shown
        except FormatError as error:
            reading.problems.append(error.problem)


def _row(value: Any, where: str) -> Json:
    row = doors.take(_Annotation, value, where).model_dump()
    for place, region in enumerate(row["result"] or ()):
        doors.take(_Region, region, f"{where}: result[{place}]")
    return row


def _labeled_keys(tasks: Sequence[Shown], keys: ImageKeys, reading: Reading) -> set[str]:
    """Under which keys of tasks that show several images labels are given at all.

    A picture shown for reference has none, and must not be taken for one on which there is nothing.
    """
    if keys.only:
        return {keys.only}
    labeled: set[str] = set(keys.by_name.values())
    unclear = []
    for task in tasks:
        if len({place.key for place in task.images}) == 1:
            continue
        unclear.append(task)
        keys_there = list(dict.fromkeys(place.key for place in task.images))
        for row in task.annotations + task.predictions:
            names = (str(region.get("to_name") or "") for region in row["result"] or ())
            labeled |= {keys.key_of(name, keys_there) for name in names} - {""}
    if unclear and not labeled:
        several = ", ".join(dict.fromkeys(place.key for place in unclear[0].images))
        reading.problems.append(f"{unclear[0].where}: shows several images ({several}) -> {ADVICE}")
    return labeled


def _page(task: Shown, place: Place, names: list[str], keys: ImageKeys, reading: Reading) -> Iterator[Page]:
    """The page of one image of a task, if what was said of it counts."""
    choose = _latest_prediction if reading.predictions else _last_annotations
    rows = choose(task, names[0], reading)
    page = reading.page(*names) if rows else None
    if page is None:
        return
    try:
        opinions = [_opinion(row, task, place, page, keys) for row in rows]
    except FormatError as error:
        reading.problems.append(f"{task.where}: {error}")
        return
    page.split = next((split for split in SPLITS if split == task.split), None)
    verdict = _verdict([opinion for opinion, *_ in opinions], names[0], reading)
    _count_others(task, verdict, names[0], reading)
    page.disagreement = _disagreement(task, page, [opinion for opinion, *_ in opinions])
    if verdict.state != "reviewed":
        reason = "images that were skipped" if verdict.state else "images people have not agreed on"
        reading.losses.add(reason, names[0])
        if page.disagreement and verdict.state is None:
            reading.disputes.append(page)
        return
    for opinion, lost, gone in opinions:
        if any(opinion is counted for counted in verdict.of):
            reading.dropped += gone
            for reason, count in lost.items():
                page.lose(reason, count)
    for annotation in verdict.annotations:
        page.add(annotation)
    page.relations = list(verdict.relations)
    reading.losses.add("relations whose regions do not count", names[0], verdict.severed)
    yield page


def _latest_prediction(task: Shown, name: str, reading: Reading) -> list[Json]:
    rows = task.predictions
    reading.losses.add("predictions older than an image's latest", name, max(len(rows) - 1, 0))
    reading.losses.add("images without predictions", name, not rows)
    return sorted(rows, key=lambda row: (row["created_at"], row["id"]))[-1:]


def _last_annotations(task: Shown, name: str, reading: Reading) -> list[Json]:
    """Each person's last annotation, if one of them was submitted."""
    rows = task.annotations
    reading.losses.add("images that nobody labeled", name, not rows)
    submitted = regions.submitted(rows)
    reading.losses.add("images that were skipped", name, bool(rows) and not submitted)
    return each_persons_last(rows) if submitted else []


def _opinion(
    row: Json, task: Shown, place: Place, page: Page, keys: ImageKeys
) -> tuple[Opinion, Mapping[str, int], int]:
    """What one annotation says of the image at `place`, what of that is not carried, and how many regions."""
    own, strange = part(row["result"] or (), place, task.images, keys)
    reading = regions.from_result(own, page.width, page.height, page.reading.provenance, controls=EVERYTHING)
    lost = reading.lost | ({"regions of what is no image": strange} if strange else {})
    opinion = Opinion(
        person_of(row),
        row["id"],
        row["updated_at"],
        row["was_cancelled"],
        row["ground_truth"],
        tuple(reading.annotations),
        relations=tuple(reading.relations),
    )
    carried = {annotation.id for annotation in reading.annotations}
    gone = [r for r in own if r.get("type") != RELATION and whole_id(str(r.get("id") or "")) not in carried]
    return opinion, lost, len(gone)


def _verdict(opinions: Sequence[Opinion], name: str, reading: Reading) -> Verdict:
    """Whose labels count, by pull.annotators."""
    policy, exclusive = reading.policy, reading.schema.task.exclusive
    marked = any(opinion.ground_truth for opinion in opinions)
    if "annotators" not in policy.model_fields_set and marked:
        policy = policy.model_copy(update={"annotators": "ground-truth"})
    return agreement.decide(opinions, policy, exclusive)


def _count_others(task: Shown, verdict: Verdict, name: str, reading: Reading) -> None:
    """Count the annotations that do not count: older ones, and those of other people."""
    if not reading.predictions:
        others = len(regions.submitted(task.annotations)) - sum(not o.skipped for o in verdict.of)
        latest = verdict.of and not verdict.of[0].ground_truth and reading.policy.annotators == "latest"
        why = "older than an image's latest" if latest else "that do not count, by pull.annotators"
        reading.losses.add(f"annotations {why}", name, others)


def _disagreement(task: Shown, page: Page, opinions: Sequence[Opinion]) -> Json | None:
    """Where people differ, as a line of disagreements.jsonl has it but for the image."""
    reading = page.reading
    places = agreement.disagreements(opinions, reading.policy, reading.schema.task.exclusive)
    people = [opinion.person for opinion in opinions]
    return {"task": task.number, "people": people, "on": places} if places else None


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """Tasks to be imported into a project with this project's label config, images by local files."""
    controls = regions.controls(writing.schema.task, writing.masks)
    tasks = []
    for picture in pictures:
        width, height = picture.size

        def lose(reason: str, where: str = picture.record.path) -> None:
            writing.losses.add(reason, where)

        named = [a for a in picture.annotations if a.label in writing.schema.labels]
        for _ in range(len(picture.annotations) - len(named)):
            lose("ignored masks, for which Label Studio has no label")
        shown = regions.fit(named, controls, width, height, lose)
        result = regions.to_result(shown, width, height, controls=controls, relations=picture.relations)
        record = picture.record
        url = address(writing.name, record, None)
        data = {"image": url, "image_id": record.id, "file": record.path, "split": record.split}
        key = "predictions" if writing.predictions else "annotations"
        tasks.append({"data": data, key: [{"result": result}]})
    write_bytes(target, orjson.dumps(tasks, option=orjson.OPT_INDENT_2))
