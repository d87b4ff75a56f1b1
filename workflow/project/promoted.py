"""Which run guesses now: `workflow promote` writes it down, `preannotate.model = "promoted"` follows it.

data/promotions.jsonl has a line a decision: which run it made the pre-annotator, instead of what, when, why,
and by which figures; or, with `back`, that the one before is it again. Lines are only ever added.
"""

from __future__ import annotations

from workflow.errors import StageError
from workflow.project.paths import Project
from workflow.project.rows import Row, digest, file_digest, read_json, read_rows
from workflow.project.settings import PROMOTED

RUN = "run:"


def standing(project: Project) -> list[Row]:
    """The promotions that stand, the one in force last; those that were taken back are not among them."""
    stack: list[Row] = []
    for row in read_rows(project.promotions, repair=True):
        if row.get("back"):
            del stack[-1:]
        else:
            stack.append(row)
    return stack


def preannotators(project: Project) -> tuple[str, ...]:
    """The models that guess, one after the other: those of the settings, or the run that was promoted."""
    named = in_force(project)
    return (named,) if isinstance(named, str) else named


def in_force(project: Project) -> str | tuple[str, ...]:
    """The same as `preannotate.model` would name it."""
    asked = project.settings.preannotate
    row = promotion(project) if asked.model == PROMOTED else None
    return row["model"] if row else asked.named


def promotion(project: Project) -> Row | None:
    """The promotion in force. StageError where its run is another one than the promoted, or gone."""
    stack = standing(project)
    if not stack:
        return None
    row = stack[-1]
    if not stands(project, row):
        name = row["model"].removeprefix(RUN)
        what = "gone" if revision(project, name) is None else "not the model that it was"
        raise StageError(
            f"{row['model']}, promoted on {row['at'][:10]}, is {what}: {project.runs / name}",
            f"workflow promote {project.name} --back, or promote another run",
        )
    return row


def stands(project: Project, row: Row) -> bool:
    """Whether the run of a promotion is still the one that was promoted."""
    return revision(project, row["model"].removeprefix(RUN)) == row.get("revision")


def revision(project: Project, run: str) -> str | None:
    """A digest of a run's card and weights; None where there is no such run."""
    folder = project.runs / run
    card = read_json(folder / "run.json")
    checkpoint = card.get("checkpoint") if isinstance(card, dict) else None
    if not isinstance(checkpoint, str) or not (folder / checkpoint).exists():
        return None
    return digest([file_digest(folder / "run.json"), file_digest(folder / checkpoint)])


def in_words(row: Row) -> str:
    """A promotion in a line."""
    forced = ", forced" if row.get("forced") else ""
    return f"{row['model']}, promoted on {row['at'][:10]}{forced}: {row.get('why') or 'nobody wrote why'}"
