"""Checkpoints in the hub's layout: what is in the cache, what is not, and what is refused."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import NAMES, build
from workflow import models
from workflow.errors import ModelError
from workflow.models import hub
from workflow.project.rows import file_digest

PICTURE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
WORDS = ("bus", "a person", "dog")
LOCAL = " -> name a folder with config.json and model.safetensors, as in detr:models/NAME"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def _fill(cache: Path, name: str, builder: str) -> Path:
    """What a finished download of `name` leaves behind."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    build(builder, repository / "snapshots" / commit)
    return repository / "snapshots" / commit


def _load(spec: str, folder: Path, **settings: Any) -> Any:
    return models.load(spec, folder, models.Options(**{"threshold": 0.1, "device": "cpu"} | settings))


def test_a_cached_checkpoint_needs_no_hub(cache: Path, tmp_path: Path) -> None:
    _fill(cache, "org/tiny", "detr")
    _fill(cache, "org/free", "owlv2")
    models.fetch("detr:org/tiny", tmp_path)
    assert _load("detr:org/tiny", tmp_path).annotate([PICTURE], [()], tuple(NAMES.values()))[0]
    here = {family: row.annotator.on_this_machine() for family, row in models.MODELS.items()}
    assert here["detr"] == ["org/tiny"]
    assert here["open-vocabulary"] == ["org/free"]


def test_half_a_download_is_none(cache: Path, tmp_path: Path) -> None:
    (_fill(cache, "org/tiny", "detr") / "model.safetensors").unlink()
    with pytest.raises(ModelError) as error:
        _load("detr:org/tiny", tmp_path)
    assert str(error.value) == "model 'detr:org/tiny': org/tiny is not on this machine" + LOCAL


def test_an_unreachable_hub_is_one_line_at_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(ModelError) as error:
        models.fetch("detr:org/tiny", tmp_path)
    assert time.monotonic() - start < 3.5
    why = "org/tiny is not on this machine, and the hub (http://127.0.0.1:9) is out of reach"
    assert str(error.value) == why + LOCAL


def test_a_hub_that_does_not_answer_is_given_up(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens at an address that is kept for documents.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://192.0.2.1")
    start = time.monotonic()
    with pytest.raises(ModelError):
        models.fetch("detr:org/tiny", tmp_path)
    assert time.monotonic() - start < 3.5


def test_a_hub_that_was_forbidden_is_not_asked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError) as error:
        models.fetch("detr:org/tiny", tmp_path)
    assert str(error.value) == "org/tiny is not on this machine, and HF_HUB_OFFLINE is set" + LOCAL


def test_a_name_that_is_no_hub_id_is_not_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        models.fetch("detr:tiny", tmp_path)
    assert str(error.value) == "tiny is not on this machine, and no hub id (ORG/NAME)" + LOCAL


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    build("owlv2", tmp_path / "owl")
    with pytest.raises(ModelError) as error:
        _load("detr:owl", tmp_path)
    what = "model 'detr:owl': a model of type owlv2 is not of this family"
    assert str(error.value) == what + " -> see docs/models.md"


def test_a_pickle_in_place_of_safetensors_is_refused(tmp_path: Path) -> None:
    build("detr", tmp_path / "tiny")
    (tmp_path / "tiny" / "model.safetensors").rename(tmp_path / "tiny" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="is no folder with config.json and safetensors weights"):
        _load("detr:tiny", tmp_path)


def test_weights_without_a_head_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build("detr", tmp_path / "tiny")
    file = tmp_path / "tiny" / "model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if "class_labels_classifier" not in k}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(ModelError) as error:
        _load("detr:tiny", tmp_path)
    assert "its weights lack class_labels_classifier.bias (and 1 more)" in str(error.value)


def test_the_revision_follows_the_weights(tmp_path: Path) -> None:
    build("detr", tmp_path / "tiny")
    shutil.copytree(tmp_path / "tiny", tmp_path / "same")
    first, same = (_load(f"detr:{name}", tmp_path).revision for name in ("tiny", "same"))
    config = json.loads((tmp_path / "same" / "config.json").read_text())
    (tmp_path / "same" / "config.json").write_text(json.dumps(config | {"dropout": 0.5}))
    assert first == same
    assert first != _load("detr:same", tmp_path).revision
    assert first != _load("detr:tiny", tmp_path, threshold=0.2).revision


@pytest.mark.parametrize("builder", ["grounding-dino", "owlv2"])
def test_prompts_score_as_the_library_says(tmp_path: Path, builder: str) -> None:
    """The library's own post-processing finds the same boxes with the same scores."""
    import torch

    build(builder, tmp_path / "tiny")
    model = _load("open-vocabulary:tiny", tmp_path, threshold=0.6)
    ((_, pixels),) = model._batches([PICTURE])
    # It is looking at one image.
    model._looked_at, model.full = [0], [()]
    rows = model._predict(pixels, [PICTURE.shape[:2]], list(WORDS))[0]
    inputs = model._processor(images=PICTURE, text=[list(WORDS)], return_tensors="pt")
    with torch.inference_mode():
        outputs = model._model(**inputs)
    (theirs,) = model._processor.post_process_grounded_object_detection(
        outputs, threshold=0.6, target_sizes=[PICTURE.shape[:2]]
    )
    # Grounding DINO's own scores also count the full stops between the prompts and the ends.
    assert 0 < len(rows) <= len(theirs["boxes"])
    for x1, y1, x2, y2, score, _ in rows:
        distance = np.abs(theirs["boxes"].numpy() - [x1, y1, x2, y2]).max(axis=1)
        near = int(distance.argmin())
        assert distance[near] < 1e-2
        assert score <= float(theirs["scores"][near]) + 1e-4


def test_more_prompts_than_fit_are_asked_in_parts(tmp_path: Path) -> None:
    build("grounding-dino", tmp_path / "tiny")
    model = _load("open-vocabulary:tiny", tmp_path)
    words = [f"thing{number}" for number in range(30)]
    parts = model._parts(words)
    assert len(parts) > 1
    assert [word for part in parts for word in part] == words
    (found,) = model.annotate([PICTURE], [()], words)
    assert {a.label for a in found} - {a for part in parts[:1] for a in part}


def test_a_prompt_of_nothing_is_one_line(tmp_path: Path) -> None:
    build("grounding-dino", tmp_path / "tiny")
    with pytest.raises(ModelError, match="cannot read '...' as a prompt"):
        _load("open-vocabulary:tiny", tmp_path).annotate([PICTURE], [()], ["..."])


def test_two_prompts_of_a_class_are_one(tmp_path: Path) -> None:
    build("owlv2", tmp_path / "tiny")
    model = _load("open-vocabulary:tiny", tmp_path, class_map={"a bus": "bus", "a minibus": "bus"})
    (found,) = model.annotate([PICTURE], [()], ["bus"])
    assert {a.label for a in found} == {"bus"}
    assert hub.find("open-vocabulary", "x", tmp_path / "tiny")[0] == tmp_path / "tiny"


def test_a_folder_digest_names_its_files_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_text("1")
    before = file_digest(tmp_path / "a")
    (tmp_path / "a" / "x.json").rename(tmp_path / "a" / "y.json")
    assert len({"absent", before, file_digest(tmp_path / "a")}) == 3
