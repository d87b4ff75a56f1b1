"""Where the labels of reviewed images come from: what the project's own files say, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from workflow.labels.ledger import had_guesses
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.records import Sample

# Names of source files that are told; of more, how many.
MOST = 5


def origins(project: Project, samples: Mapping[str, Sample]) -> list[str]:
    """A sentence a source, with how many of the reviewed images among `samples` have their labels from it.

    An import, the simulated reviewer, or people in Label Studio, and whose guesses these were shown.
    """
    imports: dict[str, list[Sample]] = {}
    reviewed: list[Sample] = []
    unknown = 0
    for sample in samples.values():
        if sample.state != "reviewed":
            continue
        if "imported" in sample.meta:
            imports.setdefault(sample.meta["imported"], []).append(sample)
        elif "task" in sample.meta:
            reviewed.append(sample)
        else:
            unknown += 1
    simulated = {row["image"] for row in read_rows(project.simulated)}
    by_people = [s for s in reviewed if s.image not in simulated]
    by_program = [s for s in reviewed if s.image in simulated]
    lines = [_imported(name, some) for name, some in sorted(imports.items())]
    if by_program:
        who = "by the simulated reviewer, a program that knows the truth"
        lines.append(f"{_images(by_program)} labeled in Label Studio {who}{_guesses(project, by_program)}.")
    if by_people:
        # Of several who agree, the names stand together.
        persons = {name for s in by_people for name in str(s.meta.get("person", "")).split(", ")} - {""}
        who = f" by {len(persons)} {'person' if len(persons) == 1 else 'persons'}" if persons else ""
        lines.append(f"{_images(by_people)} labeled in Label Studio{who}{_guesses(project, by_people)}.")
    return lines + ([f"{unknown} images whose labels name no source."] if unknown else [])


def _images(samples: Sequence[Sample]) -> str:
    return f"{len(samples)} {'image' if len(samples) == 1 else 'images'}"


def _imported(name: str, samples: Sequence[Sample]) -> str:
    files = {a.provenance.revision for s in samples for a in s.annotations} - {""}
    names = ", ".join(sorted(files)) if len(files) <= MOST else f"{len(files)} sources"
    return f"{_images(samples)} imported as {name}{f' from {names}' if names else ''}."


def _guesses(project: Project, samples: Sequence[Sample]) -> str:
    """Which models' guesses were shown on how many of the images; where it guessed nothing, none."""
    images = {s.image for s in samples}
    shown = {
        (row["image"], row["model"])
        for row in read_rows(project.ledger)
        if row.get("model") and had_guesses(row)
    }
    models = Counter(model for image, model in shown if image in images)
    names = ", ".join(f"{model} on {count}" for model, count in sorted(models.items()))
    return f", who were shown guesses: {names}" if names else ""
