"""Raw images to a fine-tuned, evaluated vision model: pre-annotate, correct, train, repeat."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`workflow.masks`, by which a person's own model packs its masks (docs/own-model.md)."""
    if name == "masks":
        from workflow.shapes import masks

        return masks
    raise AttributeError(f"module 'workflow' has no attribute {name!r}")
