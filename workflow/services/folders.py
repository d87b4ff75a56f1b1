"""Where the local servers keep their data, and what of it Label Studio may serve."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder(workspace: Path) -> Path:
    """Where the local servers keep their data: WORKFLOW_STATE, else .workflow in the workspace."""
    named = os.environ.get("WORKFLOW_STATE")
    return Path(named).expanduser().resolve() if named else workspace / ".workflow"


def served_root(state: Path) -> Path:
    """The only folder Label Studio serves files from: it holds a link to each project's images."""
    return state / "served"
