"""A project's ledger in figures: what its files and settings say of its latest model."""

from __future__ import annotations

from dataclasses import dataclass

from workflow.labels.ledger import CostModel
from workflow.labels.ledger.figures import UNKNOWN, Figures, figures, version
from workflow.labels.ledger.thresholds import Suggestion, suggest
from workflow.labels.people import called
from workflow.project.paths import Project
from workflow.project.rows import Row, read_rows
from workflow.project.settings import Review, Settings


@dataclass(frozen=True)
class Account:
    """A project's figures, and the thresholds suggested by the guesses of its latest `model`."""

    figures: Figures
    model: str
    suggestions: list[Suggestion]


def decisions(project: Project) -> list[Row]:
    """The rows of ledger.jsonl, people by what they are called; `simulated` marks those on tasks that the
    simulated reviewer did.
    """
    tasks = {(row["image"], row["task"]) for row in read_rows(project.simulated)}
    name = called(project)
    return [
        row | {"person": name(row["person"]), "simulated": (row["image"], row.get("task")) in tasks}
        for row in read_rows(project.ledger)
    ]


def look(project: Project) -> Account | None:
    """The figures, if there are any."""
    rows = decisions(project)
    if not rows:
        return None
    settings = project.settings
    by_round = figures(rows, settings.labels)
    known = [name for name in by_round.rounds if name != UNKNOWN] or [UNKNOWN]
    latest = [row for row in rows if version(row) == known[-1]]
    drawn = not settings.schema.task.points
    suggestions = suggest(latest, cost_model(settings.review), thresholds(settings)) if drawn else []
    return Account(by_round, known[-1], suggestions)


def thresholds(settings: Settings) -> dict[str, float | None]:
    """The thresholds in force, a class; None where the model's own is."""
    asked = settings.preannotate
    return {label: asked.thresholds.get(label, asked.threshold) for label in settings.classes}


def cost_model(settings: Review) -> CostModel:
    return CostModel(
        look=settings.look,
        move=settings.move,
        reshape=settings.reshape,
        relabel=settings.relabel,
        delete=settings.delete,
        add=settings.add,
    )
