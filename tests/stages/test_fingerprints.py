"""Every setting that a stage's work reads changes its fingerprint: none is done under other settings."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.stages.test_evaluate import make_project
from workflow import training
from workflow.errors import WorkflowError
from workflow.project.paths import Project
from workflow.project.settings import Section, Settings, Slices
from workflow.running.runner import Plan, Runner
from workflow.stages import STAGES
from workflow.training import Epoch, Job, Trained

# Another valid value of each setting; a new one must be added here.
OTHER: dict[str, Any] = {
    "name": "other",
    "title": "Another title",
    "task": "multilabel-classification",
    "classes": ("disc", "square", "star", "moon"),
    "keypoints": ("left", "right", "top"),
    "keypoint_sigmas": (0.5, 0.5, 0.5),
    "ignore": ("void",),
    "renamed_from": {"disc": "disk"},
    "images.folder": "data/other",
    "images.max_megapixels": 100.0,
    "images.memory": 0.5,
    "images.depth": 8,
    "images.exact_decode": True,
    "split.validation": 0.2,
    "split.test": 0.5,
    "split.group": "(.)",
    "split.near_duplicates": True,
    "split.salt": "salt",
    "preannotate.model": "own:foreign.py",
    "preannotate.base": "own:foreign.py",
    "preannotate.threshold": 0.75,
    "preannotate.floor": 0.05,
    "preannotate.thresholds": {"disc": 0.75},
    "preannotate.image_size": 64,
    "preannotate.max_det": 9,
    "preannotate.slices": Slices(size=64),
    "preannotate.class_map": {"zebra": "disc"},
    "preannotate.prompts": {"disc": ("a disc",)},
    "preannotate.templates": ("a photo of {}",),
    "preannotate.one_label_a_place": True,
    "preannotate.trust": False,
    "push.blind": (),
    "push.control": 0.5,
    "push.probes": 0.5,
    "push.predictions": "import",
    "push.versions": "replace",
    "push.order": "uncertain",
    "push.image_url": "https://images.example/{path}",
    "push.masks": "polygon",
    "push.label_config": "other.xml",
    "push.smart": True,
    "push.look_again": ("other",),
    "push.annotations_per_task": 2,
    "pull.annotators": "all",
    "pull.agreement_iou": 0.75,
    "pull.minimum": 3,
    "pull.people": "numbers",
    "review.truth": "other.jsonl",
    "review.accept_iou": 0.5,
    "review.look": 9.0,
    "review.move": 9.0,
    "review.reshape": 9.0,
    "review.relabel": 9.0,
    "review.delete": 9.0,
    "review.add": 9.0,
    "train.base": "own:foreign.py",
    "train.method": "head",
    "train.epochs": 9,
    "train.batch": 9,
    "train.image_size": 64,
    "train.learning_rate": 0.5,
    "train.lora_rank": 9,
    "train.patience": 9,
    "train.augment": "strong",
    "train.flip": True,
    "train.mosaic": True,
    "train.rotate": 9.0,
    "train.scale": 0.25,
    "train.colour": 0.25,
    "train.contrast": 0.25,
    "train.noise": 0.25,
    "train.cutout": 0.25,
    "train.seed": 9,
    "evaluate.split": "validation",
    "evaluate.voc_iou": (0.5,),
    "evaluate.max_guesses": 300,
    "promote.margin": 0.5,
    "demo.images": "draw.py",
    "demo.trust": True,
}
# Settings that may change although a stage that reads them has done its work, and why.
APART = {
    # It names the project in messages, in a card's text and the folder of a run, which are of that name.
    "name": set(STAGES),
    # Where the images lie is not what they are: the catalog is made from their names, sizes and times.
    "images.folder": set(STAGES),
    # Down to which score guesses are kept decides none of those that are chosen.
    "preannotate.floor": {"preannotate"},
    # It heads the model's card and nothing else: who renames a project need not train again.
    "title": {"train"},
}
SECTIONS = {
    type(value): name
    for name, value in Settings(name="ab", title="abc", classes=("a",))
    if isinstance(value, Section)
}


def settings_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from settings_of(inner, f"{name}.")
        else:
            yield prefix + name


def test_each_setting_has_another_value() -> None:
    assert set(OTHER) == set(settings_of(Settings))


class Reads:
    """Which settings are read, by whom: the stage whose work runs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, set[str]] = {}
        self._stage = ""
        self._paused = threading.local()
        plain, dump = Section.__getattribute__, Section.model_dump

        def get(section: Section, name: str) -> Any:
            if self._stage and not getattr(self._paused, "now", False):
                self._note(type(section), {name})
            return plain(section, name)

        def dump_noted(section: Section, **how: Any) -> Any:
            kept = set(how.get("include") or type(section).model_fields) - set(how.get("exclude") or ())
            if self._stage:
                self._note(type(section), kept)
            return dump(section, **how)

        def run(runner: Runner, plan: Plan, work: Callable[[Path], str], force: bool = False) -> Any:
            def noted(scratch: Path) -> str:
                self._stage = plan.stage
                try:
                    return work(scratch)
                finally:
                    self._stage = ""

            return plain_run(runner, plan, noted, force)

        plain_run = Runner.run
        patch.setattr(Section, "__getattribute__", get)
        patch.setattr(Section, "model_dump", dump_noted)
        patch.setattr(Runner, "run", run)

    def _note(self, section: type[Section], names: set[str]) -> None:
        prefix = "" if section is Settings else f"{SECTIONS[section]}."
        found = {prefix + name for name in names & section.model_fields.keys()} & OTHER.keys()
        self.of.setdefault(self._stage, set()).update(found)


class Learner:
    """A trainer that learns nothing, by a job's numbers."""

    def train(self, asked: Job, report: Callable[[Epoch], None]) -> Trained:
        files = asked.scratch / "files"
        files.mkdir()
        shutil.copy(asked.base, files / "model.py")
        curve = {"epoch": 1, "loss": 1.0, "score": 0.5, "seconds": 1.0}
        return Trained("own", files, "model.py", "score", [curve], "cpu", {"train": 1}, "train", 1.0)


def varied(project: Project, setting: str) -> Project:
    section, _, name = setting.rpartition(".")
    change = {name: OTHER[setting]}
    if section:
        change = {section: getattr(project.settings, section).model_copy(update=change)}
    return replace(project, settings=project.settings.model_copy(update=change))


def fingerprint(project: Project, stage: str) -> str:
    """A stage's fingerprint; what it says where its inputs are not those of the settings any more."""
    try:
        return str(STAGES[stage].module.plan(project).fingerprint())
    except WorkflowError as error:
        return f"to be done before: {error}"


@pytest.mark.parametrize("task", ["classification", "detection", "keypoints", "semantic-segmentation"])
def test_what_a_stage_reads_is_in_its_fingerprint(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path, task)
    monkeypatch.setattr(training, "trainer", lambda *_: Learner())
    reads = Reads(monkeypatch)
    planned = [name for name, stage in STAGES.items() if stage.planned]
    for name in planned:
        STAGES[name].module.run(project, force=True)
    monkeypatch.undo()
    assert sorted(reads.of) == sorted(planned)
    missing = {
        f"{stage} reads {setting}"
        for stage in planned
        for setting in reads.of[stage]
        if stage not in APART.get(setting, ())
        and fingerprint(project, stage) == fingerprint(varied(project, setting), stage)
    }
    assert missing == set()
