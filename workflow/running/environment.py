"""On what a number was made: versions, and the kind of machine; nothing that tells whose it is."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from workflow import __version__

# Those that numbers may depend on; what is not installed is left out.
LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "timm",
    "ultralytics",
    "datasets",
    "numpy",
    "pillow",
    "faster-coco-eval",
    "scipy",
)


def environment() -> dict[str, str]:
    """Names and versions, by importing none of them: no name of the host, of a person or of a folder."""
    found = {
        "workflow": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
