"""One round of the loop: what people said becomes a model, and the model guesses for people."""

from __future__ import annotations

from collections.abc import Iterator

from workflow.commands import promote
from workflow.project.paths import Project
from workflow.review import ReviewTool
from workflow.running.runner import Outcome
from workflow.stages import catalog, dataset, evaluate, preannotate, pull, push, train


def run(project: Project, tool: ReviewTool, device: str = "auto") -> Iterator[Outcome]:
    """Each step's outcome as it is done; a run that is not promoted is told, and the round goes on.

    Every step does nothing twice, so that a round which was stopped goes on where it was.
    """
    yield catalog.run(project)
    yield pull.run(project, tool)
    yield dataset.run(project)
    yield train.run(project, device)
    yield evaluate.run(project, device)
    yield evaluate.publish(project)
    yield promote.run(project, device=device, refuse=False)
    yield preannotate.run(project, device)
    yield push.run(project, tool)
