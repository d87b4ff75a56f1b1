"""Which of several models is best: any of them asked of the same images, whose labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workflow import models
from workflow.alike.leakage import in_words, leakage
from workflow.dataset import parquet
from workflow.errors import ConfigError, StageError
from workflow.guesses.ask import Labels, answer_file, ask, read_labels
from workflow.metrics import Metrics, compare, weigh
from workflow.metrics.compare import Change, Comparison
from workflow.metrics.resampling import Interval
from workflow.project.paths import Project
from workflow.project.rows import Row, digest, file_digest, read_catalog, read_json, write_json
from workflow.records import SPLITS, ImageRecord
from workflow.stages import dataset
from workflow.stages.evaluate import rules_of, slices


@dataclass(frozen=True)
class Candidate:
    """One model's numbers, its score with its interval, and how it differs from the best; None: it is it."""

    model: str
    numbers: Metrics
    score: Interval
    change: Change | None


def run(project: Project, names: Sequence[str], split: str = "test", device: str = "auto") -> list[Candidate]:
    """The models by falling score on the images of a split of the dataset, written to data/evaluations/.

    A name is a model as `preannotate.model` has it, several in a row with ">" between them, a run as
    `run:NAME`, or a file of data/predictions/ without its ending. What a model said is kept, and it is not
    asked again of the same images. ConfigError for a name twice, StageError where the split is empty.
    """
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise ConfigError([f"{name} is named twice" for name in twice], "name each model once")
    schema = project.settings.schema
    truth, records = labeled(project, split)
    sizes = {r.id: (r.width, r.height) for r in records}
    groups = [r.group or r.id for r in records]
    guesses = {name: guesses_of(project, name, records, device) for name in names}
    rules = rules_of(project.settings)
    weighed = {name: weigh(schema, sizes, truth, labels, rules) for name, labels in guesses.items()}
    ranked = sorted(names, key=lambda name: -(weighed[name][0].score or 0.0))
    best = weighed[ranked[0]][1]
    candidates = [Candidate(ranked[0], weighed[ranked[0]][0], compare.confidence(best, groups), None)]
    sliced = slices(project, records)
    comparisons = {}
    for name in ranked[1:]:
        comparisons[name] = compare.compare(best, weighed[name][1], groups, schema.classes, sliced)
    verdicts = compare.corrected({name: one.score for name, one in comparisons.items()})
    candidates += [Candidate(n, weighed[n][0], verdicts[n].after, verdicts[n]) for n in comparisons]
    _write_down(project, split, candidates, comparisons, {n: file_of(project, n, records) for n in names})
    return candidates


def labeled(project: Project, split: str) -> tuple[Labels, list[ImageRecord]]:
    """The labels of a split of the dataset, and the catalog's records of its images in the order of ids."""
    if split not in SPLITS:
        raise ConfigError([f"no split {split!r}"], f"one of: {', '.join(SPLITS)}")
    dataset.version(project)
    rows = parquet.read(project.dataset, split, project.settings.schema)
    truth = {parquet.image_of(row): labels for row, labels in rows}
    records = sorted((r for r in read_catalog(project.catalog) if r.id in truth), key=lambda r: r.id)
    if not records:
        fix = "label some of it, workflow pull, workflow dataset"
        raise StageError(f"the dataset's {split} split holds no image", fix)
    return truth, records


def _write_down(
    project: Project,
    split: str,
    candidates: Sequence[Candidate],
    comparisons: Mapping[str, Comparison],
    files: Mapping[str, Path],
) -> None:
    card: dict[str, Any] = {"split": split, "dataset": dataset.version(project)}
    card["leakage"] = leak_of(project, split)
    card["models"] = [
        {
            "model": c.model,
            "score": asdict(c.score),
            "numbers": c.numbers.to_json(),
            "guesses": str(files[c.model].relative_to(project.data)),
        }
        for c in candidates
    ]
    card["against_the_best"] = {name: one.to_json() for name, one in comparisons.items()}
    write_json(project.data / "evaluations" / f"{split}.json", card)


def leak_of(project: Project, split: str) -> Row:
    """What of a split of the dataset has a copy among its training images."""
    sides = (parquet.images(project.dataset, name) for name in (split, "train"))
    return leakage(project, split, *sides)


def describe(project: Project, candidates: Sequence[Candidate], split: str) -> str:
    """A table for the terminal, the best first."""
    best = candidates[0]
    width = max(len(c.model) for c in candidates)
    lines = [f"{best.numbers.metric} on {best.numbers.images} {split} images, with the interval of 95 %"]
    if split == "train":
        lines.append("these are training images: a model that learned them is not measured by them")
    for c in candidates:
        verdict = "the best score" if c.change is None else compare.in_words(c.change)
        lines.append(f"  {c.model:<{width}}  {_spanned(c.score)}  {verdict}")
    names = [c.change for c in candidates[1:] if c.change]
    if names and all(change.verdict != "worse" for change in names):
        lines.append("  which is best cannot be told from these images")
    card = read_json(project.data / "evaluations" / f"{split}.json", {})
    lines += [in_words(card["leakage"])] if split != "train" else []
    lines.append(f"written to {project.data / 'evaluations' / f'{split}.json'}")
    return "\n".join(lines)


def _spanned(score: Interval) -> str:
    if score.value is None or score.low is None or score.high is None:
        return "none"
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def guesses_of(project: Project, name: str, records: list[ImageRecord], device: str) -> Labels:
    """What a model says of the images, or said as a file has it. An image it does not name has nothing."""
    ids = {r.id for r in records}
    if file := _predictions(project, name):
        return {image: labels for image, labels in read_labels(file, records).items() if image in ids}
    return answers_of(project, _specs(name), records, device)


def file_of(project: Project, name: str, records: Sequence[ImageRecord]) -> Path:
    """The file in which `guesses_of` finds or keeps what a model says of the images."""
    specs = _specs(name)
    answers = project.data / "evaluations" / "answers"
    return _predictions(project, name) or answers / key_of(project, specs, records) / answer_file(specs)


def _predictions(project: Project, name: str) -> Path | None:
    """A file of data/predictions/ of that name."""
    file = project.data / "predictions" / f"{name}.jsonl"
    return file if Path(name).name == name and file.is_file() else None


def _specs(name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in name.split(">"))


def answers_of(project: Project, specs: tuple[str, ...], records: list[ImageRecord], device: str) -> Labels:
    """What models in a row say of the images, all that they guess; kept, and not asked again."""
    key = key_of(project, specs, records)
    scratch = project.data / "evaluations" / "answers" / key
    scratch.mkdir(parents=True, exist_ok=True)
    answer = ask(project, specs, records, scratch, device)
    return answer.labels or {}


def key_of(project: Project, specs: Sequence[str], records: Sequence[ImageRecord]) -> str:
    """A digest of all that decides what the models say of the images."""
    checkpoints = [_digest(spec, project) for spec in specs]
    # Which model guesses for people is another question.
    settings = project.settings.preannotate.model_dump(exclude={"model", "base"})
    asked = settings | project.settings.schema.to_json()
    # At which a run is asked.
    asked |= {"trained_at": project.settings.train.image_size}
    seen = project.settings.images.model_dump(include={"max_megapixels", "memory", "exact_decode"})
    return digest([specs, checkpoints, asked, seen, sorted(r.id for r in records)])


def _digest(spec: str, project: Project) -> str:
    _, checkpoint = models.resolve(spec, project.folder)
    return file_digest(checkpoint) if isinstance(checkpoint, Path) else checkpoint
