"""What a project's server has, image by image, and what it lacks of what we would push."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from workflow.labelstudio.client import Client
from workflow.labelstudio.pushed import OURS
from workflow.records import ImageRecord, Json

# Label Studio cuts the list of a task's versions there.
LONGEST_LIST = 500
LIGHT = "id,data,annotations_ids,draft_exists,predictions_model_versions"
# What the task of an image says besides its image id; the rest is as of its creation, or somebody else's.
LASTING = ("file", "split")


@dataclass(frozen=True, slots=True)
class ServerTask:
    """A task as far as push cares: the versions that guessed, and whether anybody worked on it."""

    number: int
    versions: tuple[str, ...]
    worked_on: bool
    data: tuple[str, ...]

    @property
    def worth(self) -> tuple[bool, int]:
        """Sort key that puts the task somebody worked on first, then the oldest."""
        return not self.worked_on, self.number

    @property
    def only_ours(self) -> bool:
        """Whether every prediction on it was pushed from here."""
        return all(OURS.search(version) for version in self.versions)


def data_of(task: Json, image_key: str) -> tuple[str, ...]:
    """What a task's data says that must stay true: where its image is, above all."""
    return tuple(str(task.get(key)) for key in (image_key, *LASTING))


Tasks = Mapping[str, list[ServerTask]]


def list_tasks(client: Client, project: int, image_key: str) -> tuple[Tasks, bool]:
    """The tasks that carry an image id, by it; and whether some prediction is on its task twice.

    Tasks that are not ours carry none and are left alone. Versions are read from a column that is five
    times as fast as the predictions themselves; it names each once, so the project's own count tells doubles.
    """
    tasks: dict[str, list[ServerTask]] = defaultdict(list)
    listed, long = 0, False
    for task in client.tasks(project, LIGHT):
        names = task.get("predictions_model_versions") or ""
        long |= len(names) >= LONGEST_LIST
        versions = tuple(sorted(name.strip() for name in names.split(",") if name.strip()))
        listed += len(versions)
        if image := task["data"].get("image_id"):
            worked_on = bool(task.get("annotations_ids") or task.get("draft_exists"))
            tasks[image].append(ServerTask(task["id"], versions, worked_on, data_of(task["data"], image_key)))
    counted = (client.project(project) or {}).get("total_predictions_number", 0)
    return tasks, long or counted != listed


def doubled_predictions(client: Client, project: int) -> Iterator[int]:
    """Predictions of ours that came twice, but for the first: one page of them after the other."""
    for task in client.tasks(project, "id,predictions,model_version"):
        seen: Counter[str] = Counter()
        for prediction in sorted(task["predictions"], key=lambda p: p["id"]):
            name = prediction["model_version"] or ""
            seen[name] += 1
            if seen[name] > 1 and OURS.search(name):
                yield prediction["id"]


@dataclass
class Difference:
    """What the server lacks, and what it has that we no longer know, or more than once."""

    new: list[ImageRecord] = field(default_factory=list)
    unchanged: int = 0
    outdated: list[ImageRecord] = field(default_factory=list)
    gone: int = 0
    excluded: int = 0
    to_predict: list[str] = field(default_factory=list)
    repredicted: int = 0
    doubled_tasks: list[int] = field(default_factory=list)
    doubled_predictions: list[int] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        doubled = self.doubled_tasks or self.doubled_predictions
        return bool(self.new or self.outdated or self.to_predict or doubled)

    def __str__(self) -> str:
        parts = [f"{len(self.new)} new tasks", f"{self.unchanged} unchanged"]
        if self.outdated:
            parts.append(f"{len(self.outdated)} whose image moved")
        parts.append(f"{len(self.to_predict) - self.repredicted} new predictions")
        if self.repredicted:
            parts.append(f"{self.repredicted} re-predicted by another model")
        if self.excluded:
            parts.append(f"{self.excluded} excluded")
        if self.gone:
            parts.append(f"{self.gone} no longer in the catalog (kept)")
        doubled = len(self.doubled_tasks) + len(self.doubled_predictions)
        if doubled:
            parts.append(f"{doubled} left twice by a killed push (removed)")
        return ", ".join(parts)


def compare(
    records: Mapping[str, ImageRecord],
    tasks: Tasks,
    guess: Callable[[ImageRecord], str],
    data: Callable[[ImageRecord], tuple[str, ...]],
    excluded: Collection[str] = (),
) -> Difference:
    """Our images against the server's tasks; `guess` names the version to push of an image, or is empty.

    Of what is `excluded` nothing new is sent.
    """
    difference = Difference(gone=len(tasks.keys() - records.keys()))
    for image, record in records.items():
        ranked = sorted(tasks.get(image, []), key=lambda task: task.worth)
        wanted = "" if image in excluded else guess(record)
        if not ranked and image in excluded:
            difference.excluded += 1
        elif not ranked:
            difference.new.append(record)
        elif ranked[0].data != data(record):
            difference.outdated.append(record)
        else:
            difference.unchanged += 1
        difference.doubled_tasks += [task.number for task in ranked[1:] if not task.worked_on]
        versions = ranked[0].versions if ranked else ()
        if wanted and wanted not in versions:
            difference.to_predict.append(image)
            difference.repredicted += bool(versions)
    return difference
