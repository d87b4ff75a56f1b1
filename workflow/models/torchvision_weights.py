"""Where torchvision's models lie, how they are opened, and how they are fetched.

A checkpoint is torchvision's name of a model, `resnet18`, whose best weights are fetched once into torch's
own cache; or a file here of weights alone (`torch.save(model.state_dict(), ...)`), whose name begins with
that of the model, `models/resnet18-mine.pth`. Its classes are in a file beside it, `resnet18-mine.txt`, one a
line, a detector's without the background; without that file they are those of torchvision's weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from workflow.errors import ModelError
from workflow.models import hub
from workflow.project.rows import digest, file_digest
from workflow.tasks import TaskName

LOCAL = "name a file of weights, as in torchvision:models/resnet18-mine.pth"
# Nothing in a file of weights tells whether these were trained on pictures that they rescale themselves.
UNCLEAR = {"googlenet", "inception_v3"}


@dataclass(frozen=True)
class Parts:
    """An opened model, what its outputs are called, and a digest of its files."""

    architecture: str
    model: Any
    names: Sequence[str]
    content: str


def architectures() -> list[str]:
    from torchvision import models

    classifiers, detectors = (models.list_models(module=m) for m in (models, models.detection))
    return [name for name in [*classifiers, *detectors] if not name.startswith("keypointrcnn")]


def task(architecture: str) -> TaskName:
    from torchvision import models

    if architecture.startswith("maskrcnn"):
        return "instance-segmentation"
    return "detection" if architecture in models.list_models(module=models.detection) else "classification"


def best(architecture: str) -> Any:
    """The weights that torchvision holds to be its best."""
    from torchvision import models

    return models.get_model_weights(architecture).DEFAULT


def cached_file(architecture: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(best(architecture).url).path).name


def open_cached(spec: str, architecture: str) -> Parts:
    """A model with torchvision's best weights, which must lie in torch's cache."""
    from torchvision import models

    if architecture not in architectures() or not (file := cached_file(architecture)).exists():
        raise ModelError(f"model {spec!r}: {architecture} is not on this machine", LOCAL)
    weights = best(architecture)
    with _weights_only(), _one_line(spec, file):
        # By its own function, which knows what of each set of weights differs from the architecture's rule.
        model = models.get_model(architecture, weights=weights, progress=False)
    return Parts(architecture, model, weights.meta["categories"], file_digest(file))


def open_file(spec: str, file: Path) -> Parts:
    """A file of weights, in the model as torchvision builds it without weights of its own."""
    import torch
    from torchvision import models

    architecture = _architecture_of(spec, file)
    listed = file.with_suffix(".txt")
    names = best(architecture).meta["categories"]
    detector = task(architecture) != "classification"
    if listed.exists():
        lines = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()]
        names = ["__background__"] * detector + [line for line in lines if line]
    bare = {"weights_backbone": None} if detector else {}
    model = models.get_model(architecture, weights=None, num_classes=len(names), **bare)
    with _one_line(spec, file):
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return Parts(architecture, model, names, digest([file_digest(file), file_digest(listed)]))


def _architecture_of(spec: str, file: Path) -> str:
    fitting = [name for name in architectures() if file.stem.startswith(name)]
    if not fitting or not file.is_file():
        what = f"model {spec!r}: {file.name} is no file named as a model of torchvision's"
        raise ModelError(what, LOCAL)
    architecture = max(fitting, key=len)
    if architecture in UNCLEAR:
        what = f"model {spec!r}: a file of {architecture} does not say how it scales pictures"
        raise ModelError(what, f"name it torchvision:{architecture}, or take another model")
    return architecture


@contextmanager
def _weights_only() -> Iterator[None]:
    """torchvision's functions would else let a cached file run code."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _one_line(spec: str, file: Path) -> Iterator[None]:
    """ModelError for whatever torch raises of a file that is broken, holds code, or fits another model."""
    from pickle import UnpicklingError

    try:
        yield
    except (RuntimeError, UnpicklingError, EOFError, AttributeError, TypeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # The first line of a misfit says only that there is one.
        reason = lines[1] if len(lines) > 1 and lines[0].endswith(":") else (lines or ["it is empty"])[0]
        raise ModelError(f"model {spec!r}: {file.name}: {reason[:200]}", LOCAL) from error


def fetch(checkpoint: str) -> None:
    """Have torchvision's best weights of a model in torch's cache, or raise ModelError."""
    import torch

    if checkpoint not in architectures():
        raise ModelError(f"{checkpoint} is not on this machine, and no name of torchvision's either", LOCAL)
    if cached_file(checkpoint).exists():
        return
    url = best(checkpoint).url
    host = urlsplit(url)
    if why := hub.out_of_reach("torchvision's server", f"{host.scheme}://{host.netloc}"):
        raise ModelError(f"{checkpoint} is not on this machine, and {why}", LOCAL)
    print(f"fetching {checkpoint} from torchvision, once")
    try:
        torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, ConnectionError, TimeoutError, RuntimeError) as error:
        raise ModelError(f"{checkpoint} cannot be fetched: {str(error)[:200]}", "run it again") from error
