"""Label Studio's result JSON and label configs.

Format: https://labelstud.io/guide/export and /guide/predictions. Reading, writing, brush masks and label
configs have files of their own; this is the door to them.
"""

from __future__ import annotations

from urllib.parse import quote

from workflow.labelstudio.config import PROMPTS, controls, label_config
from workflow.labelstudio.regions.read import EVERYTHING, Reading, from_result, submitted
from workflow.labelstudio.regions.write import CONTROLS, PART, acceptable, fit, to_result

__all__ = [
    "CONTROLS",
    "EVERYTHING",
    "PART",
    "PROMPTS",
    "Reading",
    "acceptable",
    "controls",
    "fit",
    "from_result",
    "label_config",
    "local_file_url",
    "submitted",
    "to_result",
]


def local_file_url(folder: str, path: str) -> str:
    """The address under which Label Studio serves a file of a local storage."""
    return f"/data/local-files/?d={quote(folder)}/{quote(path)}"
