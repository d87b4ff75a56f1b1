"""torchvision's models: by name from torch's cache, from a file, and what is refused."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import DIGITS
from tests.tiny.torchvision import save_faster_rcnn, save_mask_rcnn, save_resnet18
from workflow import models
from workflow.errors import ModelError
from workflow.models import Options
from workflow.models import torchvision_weights as weights
from workflow.shapes import masks, overlap

NOISE = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
PICTURE = np.ascontiguousarray(NOISE.repeat(10, axis=0).repeat(10, axis=1))
LOCAL = " -> name a file of weights, as in torchvision:models/resnet18-mine.pth"


def _load(spec: str, folder: Path, **settings: Any) -> Any:
    return models.load(spec, folder, Options(**{"device": "cpu", "log": folder / "log"} | settings))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's own cache of weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "torch" / "hub" / "checkpoints"


def _random_resnet18(file: Path) -> Any:
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18()
    torch.save(model.state_dict(), file)
    return model.eval()


def test_a_name_is_loaded_from_torchs_cache(cache: Path, tmp_path: Path) -> None:
    import torch
    from torchvision.models import ResNet18_Weights

    family = models.MODELS["torchvision"].annotator
    assert family.on_this_machine() == []
    theirs = _random_resnet18(cache / "resnet18-f37072fd.pth")
    assert family.on_this_machine() == ["resnet18"]
    models.fetch("resnet18", tmp_path)
    model = _load("resnet18", tmp_path)
    assert model.names[:2] == ("tench", "goldfish")
    assert len(model.names) == 1000
    (guesses,) = model.annotate([PICTURE], [()], model.names)
    prepare = ResNet18_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        scores = theirs(prepare(torch.from_numpy(PICTURE).permute(2, 0, 1))[None]).softmax(dim=1)[0]
    best = scores.topk(5)
    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert [a.label for a in guesses[:5]] == [names[index] for index in best.indices]
    assert [a.score for a in guesses[:5]] == pytest.approx(best.values.tolist(), abs=1e-6)


def test_the_cache_runs_no_code(cache: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "owned",)

    for file in (cache / "resnet18-f37072fd.pth", tmp_path / "resnet18.pth"):
        file.write_bytes(pickle.dumps(Attack(), protocol=2))
    for spec in ("torchvision:resnet18", "torchvision:resnet18.pth"):
        with pytest.raises(ModelError, match=rf"model '{spec}': resnet18.*\.pth: "):
            _load(spec, tmp_path)
    assert not (tmp_path / "owned").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_file_without_names_has_torchvisions(tmp_path: Path) -> None:
    _random_resnet18(tmp_path / "resnet18-f37072fd.pth")
    assert _load("torchvision:resnet18-f37072fd.pth", tmp_path).names[0] == "tench"


def test_the_revision_follows_weights_and_names(tmp_path: Path) -> None:
    save_resnet18(tmp_path / "resnet18.pth")
    before = _load("torchvision:resnet18.pth", tmp_path).revision
    (tmp_path / "resnet18.txt").write_text("\n".join(DIGITS))
    assert _load("torchvision:resnet18.pth", tmp_path).revision != before


def test_names_in_a_file_are_of_utf8_and_blank_lines_are_none(tmp_path: Path) -> None:
    save_resnet18(tmp_path / "resnet18-mine.pth")
    lines = ["\N{LATIN SMALL LETTER O WITH DIAERESIS}l ", "", *DIGITS[1:]]
    (tmp_path / "resnet18-mine.txt").write_text("\r\n".join(lines), encoding="utf-8")
    names = _load("torchvision:resnet18-mine.pth", tmp_path).names
    assert names == ("\N{LATIN SMALL LETTER O WITH DIAERESIS}l", *DIGITS[1:])


def test_another_number_of_names_is_one_line(tmp_path: Path) -> None:
    save_resnet18(tmp_path / "resnet18.pth")
    (tmp_path / "resnet18.txt").write_text("cat\ndog\n")
    with pytest.raises(ModelError) as error:
        _load("torchvision:resnet18.pth", tmp_path)
    assert str(error.value) == (
        "model 'torchvision:resnet18.pth': resnet18.pth: size mismatch for fc.weight: copying a param with"
        " shape torch.Size([10, 512]) from checkpoint, the shape in current model is torch.Size([2, 512])."
        + LOCAL
    )


def test_the_longest_name_is_the_architectures(tmp_path: Path) -> None:
    for stem in ("fasterrcnn_resnet50_fpn_v2_coco-dd69338a", "fasterrcnn_resnet50_fpn_coco-258fb6c6"):
        (tmp_path / f"{stem}.pth").touch()
        found = weights._architecture_of("spec", tmp_path / f"{stem}.pth")
        assert found == stem.partition("_coco")[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mine.pth",
            "model 'torchvision:mine.pth': mine.pth is no file named as a model of torchvision's" + LOCAL,
        ),
        (
            "keypointrcnn_resnet50_fpn.pth",
            "model 'torchvision:keypointrcnn_resnet50_fpn.pth': keypointrcnn_resnet50_fpn.pth is no file"
            " named as a model of torchvision's" + LOCAL,
        ),
        (
            "inception_v3.pth",
            "model 'torchvision:inception_v3.pth': a file of inception_v3 does not say how it scales pictures"
            " -> name it torchvision:inception_v3, or take another model",
        ),
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError) as error:
        _load(f"torchvision:{name}", tmp_path)
    assert str(error.value) == message


def test_what_is_not_here_is_one_line(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        _load("resnet18", tmp_path)
    assert str(error.value) == "model 'resnet18': resnet18 is not on this machine" + LOCAL
    with pytest.raises(ModelError) as error:
        models.fetch("torchvision:resnet19", tmp_path)
    assert str(error.value) == "resnet19 is not on this machine, and no name of torchvision's either" + LOCAL


def test_offline_is_one_line_at_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        # Nothing listens there, so that the server is out of reach on any machine.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    start = time.monotonic()
    with pytest.raises(ModelError) as error:
        models.fetch("resnet18", tmp_path)
    assert time.monotonic() - start < 3.5
    why = "resnet18 is not on this machine, and torchvision's server (https://download.pytorch.org)"
    assert str(error.value) == why + " is out of reach" + LOCAL
    assert list(cache.iterdir()) == []


def test_a_download_of_other_content_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a server of files on this machine: content is checked against the name before it is kept."""
    import threading
    from dataclasses import replace
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from torchvision.models import ResNet18_Weights

    (tmp_path / "served").mkdir()
    _random_resnet18(tmp_path / "served" / "resnet18-f37072fd.pth")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/resnet18-f37072fd.pth"
        there = ResNet18_Weights.IMAGENET1K_V1
        monkeypatch.setattr(there, "_value_", replace(there.value, url=url))
        with pytest.raises(ModelError, match="resnet18 cannot be fetched: invalid hash value"):
            models.fetch("resnet18", tmp_path)
        server.shutdown()
    assert list(cache.iterdir()) == []


def test_boxes_are_the_librarys(tmp_path: Path) -> None:
    import torch

    save_faster_rcnn(tmp_path / "fasterrcnn_mobilenet_v3_large_320_fpn.pth")
    model = _load("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn.pth", tmp_path, threshold=0.15)
    (guesses,) = model.annotate([PICTURE], [()], DIGITS)
    with torch.inference_mode():
        (theirs,) = model._model([torch.from_numpy(PICTURE).permute(2, 0, 1) / 255])
    assert len(guesses) == len(theirs["boxes"]) > 3
    # The file's names are 9, 8, ..., and the background before them.
    assert [a.label for a in guesses] == [str(10 - label) for label in theirs["labels"].tolist()]
    for a, box in zip(guesses, theirs["boxes"].tolist(), strict=True):
        assert a.box == pytest.approx(box, abs=1e-3)


@pytest.mark.slow
def test_masks_are_the_librarys(tmp_path: Path) -> None:
    """Pasted a few at a time, they are those that the model itself pastes at once."""
    import torch

    save_mask_rcnn(tmp_path / "maskrcnn_resnet50_fpn.pth")
    model = _load("torchvision:maskrcnn_resnet50_fpn.pth", tmp_path, threshold=0.5, image_size=64)
    (guesses,) = model.annotate([PICTURE], [()], DIGITS)
    with torch.inference_mode():
        (theirs,) = model._model([torch.from_numpy(PICTURE).permute(2, 0, 1) / 255])
    expected = [mask for mask in (theirs["masks"][:, 0] > 0.5).numpy() if mask.any()]
    assert len(guesses) == len(expected) > 8
    for a, bits in zip(guesses, expected, strict=True):
        assert a.mask is not None
        assert (masks.decode(a.mask) == bits).all()


@pytest.mark.slow
def test_one_label_a_place_keeps_the_best_masks(tmp_path: Path) -> None:
    save_mask_rcnn(tmp_path / "maskrcnn_resnet50_fpn.pth")
    spec, settings = "torchvision:maskrcnn_resnet50_fpn.pth", {"threshold": 0.5, "image_size": 64}
    many, few = (_load(spec, tmp_path, one_label_a_place=v, **settings) for v in (False, True))
    (all_of_them,), (kept,) = (m.annotate([PICTURE], [()], DIGITS) for m in (many, few))
    assert kept[0].mask == all_of_them[0].mask
    assert 0 < len(kept) < len(all_of_them)
    assert overlap.iou(kept[:1], all_of_them[:1])[0, 0] == 1


def test_every_architecture_has_a_task_and_best_weights() -> None:
    tasks = {name: weights.task(name) for name in weights.architectures()}
    assert tasks["resnet18"] == "classification"
    assert tasks["ssd300_vgg16"] == "detection"
    assert tasks["maskrcnn_resnet50_fpn_v2"] == "instance-segmentation"
    assert len(tasks) >= 91
    assert all(weights.cached_file(name).name.endswith(".pth") for name in tasks)
