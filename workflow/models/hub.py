"""Checkpoints in the layout of the Hugging Face hub: a folder here, or `org/name` (`org/name@revision`).

What was fetched lies in the hub's own cache, shared with other programs. Weights are safetensors only,
and no code of a checkpoint is run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.project.rows import file_digest, read_json

REACH_SECONDS = 2.5
NEEDED = ["*.json", "*.txt", "*.model", "*.safetensors"]
DETECTION_HEAD = ("*class*", "*b*box*")
WHOLE = ("*.weight", "*.bias")
LOCAL = "name a folder with config.json and model.safetensors, as in {}:models/NAME"


def fetch(family: str, checkpoint: str) -> None:
    """Have a hub checkpoint in the cache, or raise ModelError: unknown, guarded, or the hub out of reach."""
    if "/" not in checkpoint:
        raise ModelError(f"{checkpoint} is not on this machine, and no hub id (ORG/NAME)", _local(family))
    if _cached(checkpoint):
        return
    from huggingface_hub import constants

    why = "HF_HUB_OFFLINE is set" if _offline() else out_of_reach("the hub", constants.ENDPOINT)
    if why:
        raise ModelError(f"{checkpoint} is not on this machine, and {why}", _local(family))
    print(f"fetching {checkpoint} from the hub, once")
    name, revision = _split(checkpoint)
    _download(family, checkpoint, name, revision)
    if not _cached(checkpoint):
        raise ModelError(f"{checkpoint} has no safetensors weights; others are not loaded", _local(family))


def find(family: str, spec: str, checkpoint: Path | str) -> tuple[Path, str]:
    """The folder of a checkpoint here, and what names its content: a digest or the hub's commit."""
    if isinstance(checkpoint, str):
        folder = _cached(checkpoint)
        if folder is None:
            raise ModelError(f"model {spec!r}: {checkpoint} is not on this machine", _local(family))
        return folder, folder.name
    if not (checkpoint / "config.json").exists() or not _weights(checkpoint):
        what = f"model {spec!r}: {checkpoint} is no folder with config.json and safetensors weights"
        raise ModelError(what, _local(family))
    return checkpoint, file_digest(checkpoint)


def check_kind(spec: str, folder: Path, kinds: Sequence[str]) -> None:
    """ModelError where a folder's model is of none of the types that a family reads, if it names any."""
    kind = (read_json(folder / "config.json") or {}).get("model_type", "unknown")
    if kinds and kind not in kinds:
        what = f"model {spec!r}: a model of type {kind} is not of this family"
        raise ModelError(what, f"take {', '.join(kinds)}")


def cached_checkpoints(wanted: Callable[[dict[str, Any]], bool]) -> Iterator[str]:
    """The hub ids in the cache whose config is `wanted` and whose weights are there."""
    from huggingface_hub import constants

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        name = folder.name.removeprefix("models--").replace("--", "/")
        cache = _cached(name)
        if cache and wanted(read_json(cache / "config.json") or {}):
            yield name


def load_parts(
    auto: Any,
    processor: Any,
    spec: str,
    folder: Path,
    head: Sequence[str] = DETECTION_HEAD,
    may_lack: Callable[[Any], Collection[str]] = lambda model: (),
    config: Any = None,
) -> tuple[Any, Any]:
    """Model, in evaluation mode, and processor of a folder; ModelError in one line where they do not fit.

    A head, weights whose names match one of `head`, that is lacking would be random, and guess at random:
    refused, unless it is one that the model `may_lack`, as one about to be trained may.
    `config` stands in for the folder's own.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            # Some are published in half precision, which a CPU computes slowly or not at all.
            dtype="float32",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        parts = processor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(f"model {spec!r}: {_reason(error, folder)}", "see docs/models.md") from error
    lacking = set(report["missing_keys"]) - set(may_lack(model))
    lost = sorted(k for k in lacking if any(fnmatch(k, one) for one in head))
    if lost:
        what = f"model {spec!r}: its weights lack {lost[0]} (and {len(lost) - 1} more)"
        raise ModelError(what, "take a checkpoint that was trained for its task")
    return model.eval(), parts


def _local(family: str) -> str:
    return LOCAL.format(family)


def _reason(error: Exception, folder: Path) -> str:
    """The first line that says something, of errors that run to pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Unrecognized configuration class"):
        kind = (read_json(folder / "config.json") or {}).get("model_type", "unknown")
        return f"a model of type {kind} is not of this family"
    return lines[0][:200] if lines else type(error).__name__


def _split(checkpoint: str) -> tuple[str, str | None]:
    name, _, revision = checkpoint.partition("@")
    return name, revision or None


def _cached(checkpoint: str) -> Path | None:
    """The snapshot in the hub's cache, if its config and all its weights are there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name, revision = _split(checkpoint)
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _weights(folder) and _processor(folder) else None


def _weights(folder: Path) -> bool:
    index = read_json(folder / "model.safetensors.index.json")
    parts = set(index["weight_map"].values()) if index else {"model.safetensors"}
    return all((folder / part).exists() for part in parts)


def _processor(folder: Path) -> bool:
    if any((folder / name).exists() for name in ("preprocessor_config.json", "processor_config.json")):
        return True
    # timm keeps what its processor needs with the model.
    return "pretrained_cfg" in (read_json(folder / "config.json") or {})


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "True", "ON")


def out_of_reach(publisher: str, url: str) -> str:
    """Why a publisher cannot be asked, or nothing. Clients would try for half a minute or more."""
    import httpx

    answers: list[int] = []

    def ask() -> None:
        try:
            answers.append(httpx.head(url, timeout=REACH_SECONDS).status_code)
        except httpx.HTTPError:
            return

    # In a thread, since no timeout bounds the look-up of a name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return "" if answers and answers[0] < 500 else f"{publisher} ({url}) is out of reach"


def _download(family: str, checkpoint: str, name: str, revision: str | None) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        # Files in sub-folders are other formats of the same weights.
        snapshot_download(name, revision=revision, allow_patterns=NEEDED, ignore_patterns=["*/*"])
    except GatedRepoError:
        raise ModelError(f"{checkpoint}: its publisher asks for a login", "hf auth login") from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise ModelError(f"{checkpoint} is unknown to the hub, or private", _local(family)) from None
    except Exception as error:
        # The hub's client passes on whatever its HTTP library, the disk or the TLS layer raises.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{checkpoint} cannot be fetched: {first[:200]}", "run it again") from error
