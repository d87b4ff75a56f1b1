"""Which models a project shows in the App, and where what they said is kept."""

from __future__ import annotations

from pathlib import Path

from workflow.project.paths import Project
from workflow.project.rows import read_json
from workflow.shown.app.names import model_fields

BEFORE, AFTER = "base", "tuned"


def models_shown(project: Project, split: str, made_of: str, run: str) -> dict[str, Path]:
    """The field of each model, and the file with what it said of the images of a split.

    The model before comes first and the run last, and between them those that `evaluate --models` ranked on
    the dataset of version `made_of`, from the worst to the best. Without a `run` there are only these.
    """
    folder = project.runs / run / "predictions"
    pair = {name: folder / f"{name}.jsonl" for name in (BEFORE, AFTER) if run}
    files = {name: path for name, path in pair.items() if path.exists()}
    after = {AFTER: files.pop(AFTER)} if AFTER in files else {}
    card = read_json(project.data / "evaluations" / f"{split}.json", {})
    if card.get("dataset") == made_of:
        told = {m["model"]: project.data / m["guesses"] for m in card["models"] if m.get("guesses")}
        others = [name for name in reversed(told) if told[name].exists() and name != f"run:{run}"]
        fields = model_fields([BEFORE, AFTER, *others])
        files |= {fields[name]: told[name] for name in others}
    return files | after
