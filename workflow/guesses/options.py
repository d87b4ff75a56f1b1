"""How a project's settings say that its models are asked."""

from __future__ import annotations

from workflow.models import Options
from workflow.project.settings import Preannotate


def options_of(
    asked: Preannotate, device: str, threshold: float | None, exact_decode: bool = True
) -> Options:
    """As [preannotate] has it, but that several labels of one place are kept, as numbers want them.

    `threshold` is that of all classes, None where the family decides.
    """
    return Options(
        threshold=threshold,
        image_size=asked.image_size,
        class_map=asked.class_map,
        prompts=asked.prompts,
        templates=asked.templates,
        max_det=asked.max_det,
        slices=asked.slices,
        exact_decode=exact_decode,
        device=device,
        trust=asked.trust,
    )
