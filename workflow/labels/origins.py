"""Where the labels of reviewed images come from: what the project's own files say, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from workflow.labels.ledger import had_guesses
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.records import Sample

# Names of source files that are told; of more, how many.
MOST = 5


def origins(project: Project, samples: Iterable[Sample]) -> list[str]:
    """A sentence a source, with how many of the reviewed images among `samples` have their labels from it.

    An import, the simulated reviewer, or people in Label Studio, and whose guesses these were shown. The
    samples are gone through once, and none is held.
    """
    simulated = {row["image"] for row in read_rows(project.simulated)}
    imports: dict[str, int] = Counter()
    files: dict[str, set[str]] = {}
    by_program, by_people = set(), set()
    persons: set[str] = set()
    unknown = 0
    for sample in samples:
        if sample.state != "reviewed":
            continue
        if "imported" in sample.meta:
            name = sample.meta["imported"]
            imports[name] += 1
            files.setdefault(name, set()).update(a.provenance.revision for a in sample.annotations)
        elif "task" not in sample.meta:
            unknown += 1
        elif sample.image in simulated:
            by_program.add(sample.image)
        else:
            by_people.add(sample.image)
            # Of several who agree, the names stand together.
            persons.update(str(sample.meta.get("person", "")).split(", "))
    lines = [_imported(name, count, files[name] - {""}) for name, count in sorted(imports.items())]
    if by_program:
        who = f"by the simulated reviewer, a program that knows the truth{_guesses(project, by_program)}"
        lines.append(f"{_images(len(by_program))} labeled in Label Studio {who}.")
    if by_people:
        count = len(persons - {""})
        who = f" by {count} {'person' if count == 1 else 'persons'}" if count else ""
        lines.append(f"{_images(len(by_people))} labeled in Label Studio{who}{_guesses(project, by_people)}.")
    return lines + ([f"{unknown} images whose labels name no source."] if unknown else [])


def _images(count: int) -> str:
    return f"{count} {'image' if count == 1 else 'images'}"


def _imported(name: str, count: int, files: Collection[str]) -> str:
    names = ", ".join(sorted(files)) if len(files) <= MOST else f"{len(files)} sources"
    return f"{_images(count)} imported as {name}{f' from {names}' if names else ''}."


def _guesses(project: Project, images: Collection[str]) -> str:
    """Which models' guesses were shown on how many of the images; where it guessed nothing, none."""
    shown = {
        (row["image"], row["model"])
        for row in read_rows(project.ledger)
        if row.get("model") and had_guesses(row)
    }
    models = Counter(model for image, model in shown if image in images)
    names = ", ".join(f"{model} on {count}" for model, count in sorted(models.items()))
    return f", who were shown guesses: {names}" if names else ""
