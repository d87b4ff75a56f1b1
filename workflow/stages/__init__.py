"""The stages, in the order in which they run: one row and one file each.

The command line, `status`, the demo and the documents' tests read the table. A new stage is a file, a row, a
section of settings and a page. A stage whose work follows from files has `plan(project)`, from which the
runner tells whether it must run; one that speaks with a server has `state(project)` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Stage:
    """One row: `what` is its help; `reads` and `writes` are files of data/, or who it speaks with.

    It is stale where a stage it comes `after` is not done. With `planned` it has a plan.
    """

    name: str
    what: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    after: tuple[str, ...] = ()
    planned: bool = True

    @property
    def module(self) -> Any:
        return import_module(f"workflow.stages.{self.name}")


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "catalog",
            "Catalog the raw images: hash, upright size, duplicates, quarantine, split.",
            ("images/",),
            (
                *("catalog.jsonl", "duplicates.jsonl", "quarantine.jsonl"),
                *("measures.jsonl", "groups.jsonl", "copies/", "copies.jsonl"),
            ),
        ),
        Stage(
            "preannotate",
            "Let a model guess labels for every image.",
            ("images/", "catalog.jsonl"),
            ("raw/", "predictions/"),
            ("catalog",),
        ),
        Stage(
            "push",
            "Push images and predictions to Label Studio; what is there already is left alone.",
            ("catalog.jsonl", "predictions/"),
            ("Label Studio", "pushed.jsonl", "pushed/"),
            ("catalog", "preannotate"),
            planned=False,
        ),
        Stage(
            "pull",
            "Pull the corrected labels back, and keep the ledger of what people did.",
            ("Label Studio", "catalog.jsonl", "pushed/"),
            ("labels.jsonl", "ledger.jsonl", "disagreements.jsonl", "people.json", "history/"),
            planned=False,
        ),
        Stage(
            "dataset",
            "Build the Hugging Face dataset from the labels.",
            ("images/", "catalog.jsonl", "labels.jsonl", "ledger.jsonl", "simulated.jsonl"),
            ("dataset/",),
            ("catalog", "pull"),
        ),
        Stage(
            "train",
            "Fine-tune the base model on the dataset; a stopped training goes on where it was.",
            ("dataset/",),
            ("runs/",),
            ("dataset",),
        ),
        Stage(
            "evaluate",
            "Compare base and tuned model on the test split: numbers, report.html, FiftyOne.",
            ("dataset/", "runs/", "ledger.jsonl", "simulated.jsonl", "measures.jsonl", "tags.jsonl"),
            ("runs/", "FiftyOne"),
            ("train",),
        ),
    )
}
