"""What annotators said of a project's images, kept: which answers are whose, and whether they serve again.

data/raw/ANNOTATOR-DIGEST/ holds the answers to one way of asking: asked.json says which, NUMBER.jsonl what
was said, quarantine.jsonl which images were broken. What does not decide what a model says may change, and
nobody is asked anew: for which families that is more than where it runs, `models.Later` says.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from workflow import models
from workflow.errors import ImageError, StageError
from workflow.guesses.answers import SHAPE, from_row
from workflow.guesses.options import options_of
from workflow.guesses.shards import Shards
from workflow.guesses.tally import Tally
from workflow.images import decode
from workflow.models import Options
from workflow.models.boxes import usual_threshold
from workflow.models.choice import Answer, Asked, Choice, asked_down_to
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.project.rows import Row, digest, file_digest, read_json, read_rows, write_json, write_rows
from workflow.records import ImageRecord

# Changed where the same models asked in the same way would give other answers.
VERSION = 1
# What decides nothing that a model says where its threshold, or its names, are decided later.
LEFT_OPEN: Mapping[str, tuple[str, ...]] = {
    "threshold": ("threshold", "one_label_a_place", "max_det"),
    "names": ("class_map", "classes", "prompts", "templates"),
}


def options_now(project: Project, device: str = "auto", compiled: bool = False) -> Options:
    """As the project's settings have its pre-annotators asked, down to the floor."""
    settings = project.settings
    asked = settings.preannotate
    options = options_of(asked, device, asked.threshold, settings.images.exact_decode)
    place = asked.one_label_a_place
    return replace(options, one_label_a_place=place, undecided=True, floor=asked.floor, compiled=compiled)


def choice_now(project: Project, asked: Asked) -> Choice:
    """What the project's settings choose of such answers."""
    settings, options = project.settings, options_now(project)
    thresholds = settings.preannotate.thresholds
    options = asked_down_to(options, settings.task, thresholds)
    return Choice(asked, options, settings.task, thresholds, settings.preannotate.threshold)


def deciders(project: Project) -> dict[str, Any]:
    """All of the settings that may decide what the pre-annotators say, as JSON has it."""
    settings, asked = project.settings, project.settings.preannotate
    options = asked_down_to(options_now(project), settings.task, asked.thresholds)
    specs = preannotators(project)
    checkpoints = [models.resolve(spec, project.folder)[1] for spec in specs]
    values = {
        "version": VERSION,
        "models": specs,
        "checkpoints": [file_digest(one) if isinstance(one, Path) else one for one in checkpoints],
        "image_size": options.image_size,
        "slices": options.slices and options.slices.model_dump(),
        "exact_decode": options.exact_decode,
        "threshold": options.threshold,
        "one_label_a_place": options.one_label_a_place,
        "max_det": options.max_det,
        "class_map": options.class_map,
        "classes": settings.labels,
        "prompts": options.prompts,
        "templates": options.templates,
    }
    return orjson.loads(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True)
class Header:
    """How the answers of a folder were asked for: whom, and by which of the settings."""

    asked: Asked
    decided_by: Mapping[str, Any]

    @classmethod
    def of(cls, project: Project, asked: Asked) -> Header:
        left = {name for later in asked.later for name in LEFT_OPEN[later]}
        return cls(asked, {name: value for name, value in deciders(project).items() if name not in left})

    def same(self, other: Header) -> bool:
        """Whether the two were asked alike, of the same weights."""
        return _plain(self) == _plain(other)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Header:
        return cls(Asked.from_json(row["asked"]), row["decided_by"])

    def to_json(self) -> dict[str, Any]:
        return {"asked": self.asked.to_json(), "decided_by": dict(self.decided_by)}

    def changed(self, now: Mapping[str, Any], options: Options) -> list[str]:
        """Which settings are others now, so that the answers do not serve."""
        changed = [name for name, value in self.decided_by.items() if now.get(name) != value]
        if "threshold" in self.asked.later:
            threshold = options.threshold
            threshold = usual_threshold(self.asked.last) if threshold is None else threshold
            changed += ["threshold"] * (threshold < self.asked.least)
            changed += ["max_det"] * (options.max_det > self.asked.most)
        return changed


def _plain(header: Header) -> Any:
    return orjson.loads(orjson.dumps(header.to_json()))


class Kept:
    """The answers in one folder."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder = folder
        self.header = header
        self.shards = Shards(folder, SHAPE)

    @classmethod
    def of(cls, project: Project, asked: Asked) -> Kept:
        """The answers of those who were asked so, in a folder that is made where there is none."""
        header = Header.of(project, asked)
        row = _plain(header)
        name = f"{models.slug(' '.join(preannotators(project)))[:80]}-{digest(row)[:8]}"
        folder = folder_of(project) / name
        if not (folder / "asked.json").exists():
            write_json(folder / "asked.json", row)
        return cls(folder, header)

    def __contains__(self, image: str) -> bool:
        return image in self.shards

    def answer(self, image: str, least: float | None) -> Answer:
        """What was said of an image. StageError where the line says what no answer can."""
        try:
            return from_row(self.shards.row(image), least)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{self.folder}: what is kept of image {image} does not read ({error})"
            raise StageError(what, "workflow preannotate --force") from None

    def broken(self) -> dict[str, Row]:
        """The images that were no images when they were asked about: {image, path, reason}."""
        return {row["image"]: row for row in read_rows(self.folder / "quarantine.jsonl")}

    def keep_broken(self, rows: Iterable[Row]) -> None:
        write_rows(self.folder / "quarantine.jsonl", rows)

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What those who were asked told of it; where something was left open, a `Choice` tells it."""
        return tuple(read_json(self.folder / "told.json", [])) if not self.header.asked.later else ()

    def tell(self, lines: Iterable[str]) -> None:
        write_json(self.folder / "told.json", list(lines))

    def lacking(self, project: Project, records: Iterable[ImageRecord], tally: Tally) -> list[ImageRecord]:
        """The images that nobody was asked about, or that can be read by now; the `tally` names the rest."""
        broken = self.broken()
        return [
            r for r in records if r.id not in self and not (r.id in broken and _is_broken(project, r, tally))
        ]

    def close(self) -> None:
        self.shards.close()


def folder_of(project: Project) -> Path:
    return project.data / "raw"


def find(project: Project) -> tuple[Kept | None, list[str]]:
    """The answers that serve as the settings are now; where there are none, which settings are to blame.

    Of several, those of most images. None is to blame where these models were never asked.
    """
    now = deciders(project)
    settings = project.settings
    options = asked_down_to(options_now(project), settings.task, settings.preannotate.thresholds)
    blamed: list[list[str]] = []
    fitting: list[tuple[Path, Header]] = []
    for path in sorted(folder_of(project).glob("*/asked.json")):
        try:
            header = Header.from_json(read_json(path))
        except (StageError, KeyError, TypeError):
            # Not whole: then its answers are nobody's.
            continue
        changed = header.changed(now, options)
        if not changed:
            fitting.append((path.parent, header))
        elif "models" not in changed:
            blamed.append(changed)
    if fitting:
        return Kept(*max(fitting, key=lambda one: size_of(one[0]))), []
    return None, min(blamed, key=len, default=[])


def forget(project: Project) -> None:
    """Remove the answers that serve now: all is to be asked anew."""
    kept, _ = find(project)
    if kept:
        kept.close()
        shutil.rmtree(kept.folder)


def size_of(folder: Path) -> int:
    """The bytes that kept answers take on the disk."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_broken(project: Project, record: ImageRecord, tally: Tally) -> bool:
    limits, path = project.settings.images, project.shown_path(record)
    try:
        decode.from_file(path, limits.max_megapixels, limits.memory)
    except ImageError as error:
        tally.broken(str(path), error)
        return True
    return False
