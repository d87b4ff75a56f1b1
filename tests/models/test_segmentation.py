"""Segmenters against the library's own post-processing, and what each refuses."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.tiny import DIGITS, NAMES, build
from tests.tiny.unet import NORMAL
from workflow import models
from workflow.errors import ModelError
from workflow.models import Guesses, Options, segments
from workflow.models.mask2former import task_of
from workflow.models.sam import Sam
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks, overlap

PICTURE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
MODEL = Provenance("model", "m")


def _load(spec: str, folder: Path, **settings: Any) -> Any:
    return models.load(spec, folder, Options(**{"device": "cpu", "log": folder / "log"} | settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with one checkpoint of each."""
    place = tmp_path_factory.mktemp("segmenters")
    for name in ("segformer", "upernet", "sam", "sam-hq", "sam2", "unet"):
        build(name, place / name)
    build("mask2former-digits-instance", place / "instance")
    shutil.copytree(place / "instance", place / "semantic")
    return place


def _painted(guesses: Guesses, names: Sequence[str], size: tuple[int, ...]) -> np.ndarray:
    """The guesses as a map: k where names[k] is, -1 where nothing is."""
    painted = np.full(size, -1)
    for a in guesses:
        assert a.mask is not None
        painted[masks.decode(a.mask)] = names.index(a.label)
    return painted


@pytest.mark.parametrize("at_once", [1, 1000, 2**26])
@pytest.mark.parametrize("size", [(7, 11), (40, 30), (5, 90), (3, 2)])
def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], at_once: int) -> None:
    import torch

    monkeypatch.setattr(segments, "AT_ONCE", at_once)
    raster = torch.randn(3, 7, 11, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(raster[None], size, mode="bilinear", align_corners=False)[0]
    parts = list(segments.strips(raster, *size))
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)
    assert len(parts) == (1 if at_once == 2**26 else -(-size[0] // max(1, at_once // (3 * size[1]))))


def test_each_pixel_goes_to_the_likeliest_class() -> None:
    import torch

    shares = torch.tensor([[[0.4, 0.1, 0.2]], [[0.3, 0.8, 0.2]], [[0.3, 0.1, 0.6]]])
    one, two = (
        segments.class_masks([shares], [(1, 3)], labels, lambda raster: raster.clone(), 0.0, MODEL)[0]
        for labels in ({1: "car", 2: "truck"}, {1: "vehicle", 2: "vehicle"})
    )
    # The first channel is no class, yet has the first pixel.
    found = [(a.label, masks.decode(a.mask).tolist(), round(a.score, 4)) for a in one if a.mask and a.score]
    assert found == [("car", [[False, True, False]], 0.8), ("truck", [[False, False, True]], 0.6)]
    # Together they have it.
    found = [(a.label, masks.decode(a.mask).tolist(), round(a.score, 4)) for a in two if a.mask and a.score]
    assert found == [("vehicle", [[True, True, True]], round((0.6 + 0.9 + 0.8) / 3, 4))]


def test_a_class_below_the_threshold_is_none() -> None:
    import torch

    shares = torch.tensor([[[0.9, 0.4]], [[0.1, 0.6]]])
    arguments = ([shares], [(1, 2)], {0: "a", 1: "b"}, lambda raster: raster)
    assert [a.label for a in segments.class_masks(*arguments, 0.0, MODEL)[0]] == ["a", "b"]
    assert [a.label for a in segments.class_masks(*arguments, 0.7, MODEL)[0]] == ["a"]


@pytest.mark.parametrize("name", ["segformer", "upernet"])
def test_classes_lie_where_the_library_says(folder: Path, name: str) -> None:
    import torch

    model = _load(f"semantic:{name}", folder)
    (found,) = model.annotate([PICTURE], [()], DIGITS)
    with torch.inference_mode():
        outputs = model._model(**model._processor(images=PICTURE, return_tensors="pt"))
    (theirs,) = model._processor.post_process_semantic_segmentation(outputs, [PICTURE.shape[:2]])
    own = [n for _, n in sorted(model._model.config.id2label.items())]
    ours = _painted(found, own, PICTURE.shape[:2])
    nothing = own.index("background") if "background" in own else -1
    assert len(found) > 2
    assert (np.where(ours < 0, nothing, ours) == theirs.numpy()).mean() > 0.9999


def test_what_no_one_painted_is_no_class(folder: Path) -> None:
    assert _load("semantic:segformer", folder).names == tuple(NAMES.values())
    mapped = _load("semantic:segformer", folder, class_map={"background": "paper"})
    assert mapped.names[0] == "paper"
    (found,) = mapped.annotate([PICTURE], [()], (*DIGITS, "paper"))
    assert _painted(found, [*DIGITS, "paper"], PICTURE.shape[:2]).min() >= 0


def test_no_part_of_an_image_is_cut_off(folder: Path, tmp_path: Path) -> None:
    for cut in (False, True):
        shutil.copytree(folder / "upernet", tmp_path / str(cut))
        file = tmp_path / str(cut) / "preprocessor_config.json"
        kind = {"image_processor_type": "BeitImageProcessor", "do_reduce_labels": False}
        crop = {"do_center_crop": cut, "crop_size": {"height": 64, "width": 64}}
        file.write_text(json.dumps(json.loads(file.read_text()) | kind | crop))
    whole, cut_off = (
        _load(f"semantic:{name}", tmp_path).annotate([PICTURE], [()], DIGITS) for name in (False, True)
    )
    assert [(a.label, a.mask) for a in whole[0]] == [(a.label, a.mask) for a in cut_off[0]]


def test_a_network_without_its_head_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder / "segformer", tmp_path / "headless")
    file = tmp_path / "headless" / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "decode_head" not in k}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="its weights lack decode_head.batch_norm.bias"):
        _load("semantic:headless", tmp_path)


@pytest.fixture(scope="module")
def queries() -> SimpleNamespace:
    """What a Mask2Former might give, at the size to which the library brings all masks."""
    import torch

    dice = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 12, 6, 6, generator=dice) * 4
    drawn = torch.nn.functional.interpolate(coarse, (384, 384), mode="bilinear")
    return SimpleNamespace(
        class_queries_logits=torch.randn(1, 12, 11, generator=dice) * 2, masks_queries_logits=drawn
    )


def _said(model: Any, queries: SimpleNamespace, size: tuple[int, int]) -> Guesses:
    likely = queries.class_queries_logits.softmax(dim=-1)[..., :-1]
    # It is looking at one image.
    model._looked_at, model.full = [0], [()]
    tell = model._instances if model.task == "instance-segmentation" else model._semantic
    return tell(likely, queries.masks_queries_logits, [size], NAMES)[0]


def test_objects_are_those_of_the_library(folder: Path, queries: SimpleNamespace) -> None:
    model = _load("mask2former:instance", folder, threshold=0.3)
    (theirs,) = model._processor.post_process_instance_segmentation(
        queries, threshold=0.3, target_sizes=[(384, 384)], return_binary_maps=True
    )
    expected = sorted(
        (
            (-s["score"], NAMES[s["label_id"]], bits.numpy() > 0)
            for s, bits in zip(theirs["segments_info"], theirs["segmentation"], strict=True)
        ),
        key=lambda row: row[:2],
    )
    found = _said(model, queries, (384, 384))
    assert len(found) == len(expected) > 3
    for a, (score, label, bits) in zip(found, expected, strict=True):
        assert (a.label, a.score) == (label, pytest.approx(-score, abs=1e-5))
        assert (masks.decode(a.mask) == bits).all()


def test_classes_of_queries_are_those_of_the_library(folder: Path, queries: SimpleNamespace) -> None:
    model = _load("mask2former:semantic", folder)
    (theirs,) = model._processor.post_process_semantic_segmentation(queries, [(150, 200)])
    found = _said(model, queries, (150, 200))
    assert len(found) > 3
    own = [name for _, name in sorted(NAMES.items())]
    assert (_painted(found, own, (150, 200)) == theirs.numpy()).mean() > 0.9999


def test_one_label_a_place_keeps_the_best_mask(folder: Path, queries: SimpleNamespace) -> None:
    many, few = (
        _said(_load("mask2former:instance", folder, threshold=0.05, one_label_a_place=one), queries, (64, 64))
        for one in (False, True)
    )
    assert few[0].mask == many[0].mask
    assert len(few) < len(many)
    assert (overlap.iou(few, few) - np.eye(len(few))).max() <= 0.7


@pytest.mark.parametrize(
    ("spec", "task"),
    [
        ("mask2former:facebook/mask2former-swin-tiny-coco-instance", "instance-segmentation"),
        ("mask2former:facebook/mask2former-swin-small-ade-semantic", "semantic-segmentation"),
        ("mask2former:facebook/mask2former-swin-tiny-coco-instance@main", "instance-segmentation"),
        ("mask2former:facebook/maskformer-swin-base-ade#semantic", "semantic-segmentation"),
        ("mask2former:models/cells-instance#semantic", "semantic-segmentation"),
    ],
)
def test_a_name_tells_what_a_checkpoint_is_of(spec: str, task: str) -> None:
    assert task_of(spec) == task


@pytest.mark.parametrize(
    "spec",
    [
        "mask2former:facebook/maskformer-swin-base-coco",
        "mask2former:semantic/instances",
        "mask2former:x#both",
    ],
)
def test_a_name_that_does_not_tell_is_refused(spec: str) -> None:
    with pytest.raises(ModelError) as error:
        task_of(spec)
    plain = spec.partition("#")[0]
    what = f"model {spec!r}: does not say whether it is of instances or of classes"
    assert str(error.value) == f"{what} -> write {plain}#instance or {plain}#semantic"


def test_what_the_spec_says_goes_before_the_name(folder: Path) -> None:
    model = _load("mask2former:instance#semantic", folder)
    assert model.task == "semantic-segmentation"
    assert len({a.label for a in model.annotate([PICTURE], [()], DIGITS)[0]}) == len(
        model.annotate([PICTURE], [()], DIGITS)[0]
    )


def _boxes(count: int) -> Guesses:
    """Boxes all over the picture, of different sizes."""
    dice = np.random.default_rng(1)
    corners = dice.uniform([0, 0], [100, 70], (count, 2))
    ends = corners + dice.uniform(15, 50, (count, 2))
    rows = np.hstack([corners, ends]).tolist()
    return tuple(
        Annotation(DIGITS[number % 10], MODEL, box=tuple(row), score=1 - number / 1000)
        for number, row in enumerate(rows)
    )


@pytest.mark.parametrize("name", ["sam", "sam-hq", "sam2"])
def test_masks_are_those_of_the_library(folder: Path, name: str) -> None:
    import torch
    from transformers import AutoProcessor

    model = _load(f"sam:{name}", folder)
    prior = _boxes(5)
    (found,) = model.annotate([PICTURE], [prior], DIGITS)
    processor = AutoProcessor.from_pretrained(folder / name)
    inputs = processor(images=PICTURE, input_boxes=[[list(a.box) for a in prior]], return_tensors="pt")
    sizes = [inputs.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in inputs]
    with torch.inference_mode():
        outputs = model._model(**inputs, multimask_output=False)
    theirs = processor.post_process_masks(outputs.pred_masks, *sizes)[0][:, 0].numpy()
    # The boxes' places differ by what rounding to float32 before or after scaling does.
    kept = [(a, bits) for a, bits in zip(prior, theirs, strict=True) if bits.any()]
    assert [(a.label, a.score) for a in found] == [(a.label, a.score) for a, _ in kept]
    assert all(
        (masks.decode(a.mask) == bits).mean() > 0.999 for a, (_, bits) in zip(found, kept, strict=True)
    )
    assert len({a.mask for a in found}) > 1


def test_each_image_is_looked_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _load("sam:sam2", folder)
    seen: list[int] = []
    model._model.vision_encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    prior = _boxes(20)
    (whole,) = model.annotate([PICTURE], [prior], DIGITS)
    monkeypatch.setattr("workflow.models.sam.PROMPTS", 3)
    found = model.annotate([PICTURE, PICTURE, PICTURE], [prior, (), prior[:7]], DIGITS)
    assert model.annotate([PICTURE], [()], DIGITS) == [()]
    assert seen == [1, 2]
    assert len(whole) > 10
    for one, other in zip((whole, found[0]), (found[0], whole[: len(found[2])]), strict=True):
        assert [a.label for a in one][: len(other)] == [a.label for a in other]
    assert overlap.iou(whole, found[0]).diagonal().min() > 0.99
    assert found[1] == ()


@pytest.mark.parametrize("name", ["sam", "sam-hq", "sam2"])
@pytest.mark.parametrize(
    ("points", "positive", "box"),
    [
        ([(60.0, 40.0)], [True], None),
        ([(60.0, 40.0), (20.0, 70.0)], [True, False], None),
        ([], [], (10.0, 12.0, 90.0, 80.0)),
        ([(60.0, 40.0)], [False], (10.0, 12.0, 90.0, 80.0)),
    ],
)
def test_a_click_means_what_the_library_says(
    folder: Path, name: str, points: list, positive: list, box: Any
) -> None:
    import torch
    from transformers import AutoProcessor

    model = _load(f"sam:{name}", folder)
    assert isinstance(model, Sam)
    found = model.mask(model.embed(PICTURE), points, positive, box)
    processor = AutoProcessor.from_pretrained(folder / name)
    prompts: dict[str, Any] = {"input_boxes": [[list(box)]]} if box else {}
    if points:
        prompts |= {"input_points": [[[list(p) for p in points]]]}
        prompts |= {"input_labels": [[[int(p) for p in positive]]]}
    inputs = processor(images=PICTURE, return_tensors="pt", **prompts)
    sizes = [inputs.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in inputs]
    alone = len(points) == 1 and box is None
    with torch.inference_mode():
        outputs = model._model(**inputs, multimask_output=alone)
    drawn = processor.post_process_masks(outputs.pred_masks, *sizes)[0][0]
    assert len(drawn) == (3 if alone else 1)
    theirs = drawn[outputs.iou_scores[0, 0].argmax()].numpy()
    assert found.shape == PICTURE.shape[:2] and found.dtype == bool
    assert found.any() and (found == theirs).mean() > 0.999


def test_whatever_encloses_something_is_a_box_to_sam(folder: Path) -> None:
    model = _load("sam:sam2", folder)
    square = np.zeros(PICTURE.shape[:2], dtype=bool)
    square[20:60, 30:90] = True
    corners = ((30.0, 20.0), (90.0, 20.0), (90.0, 60.0), (30.0, 60.0))
    prior = (
        Annotation("1", MODEL, box=(30.0, 20.0, 90.0, 60.0), score=0.9),
        Annotation("1", MODEL, rotated_box=RotatedBox(60.0, 40.0, 60.0, 40.0, 0.0), score=0.8),
        Annotation("1", MODEL, mask=masks.encode(square), score=0.7),
        Annotation("1", MODEL, polygons=(corners,), score=0.6),
        Annotation("1", MODEL, keypoints=((40.0, 40.0),), score=0.5),
        Annotation("1", MODEL, score=0.4),
        Annotation("zebra", MODEL, box=(30.0, 20.0, 90.0, 60.0), score=0.3),
    )
    (found,) = model.annotate([PICTURE], [prior], DIGITS)
    assert [a.score for a in found] == [0.9, 0.8, 0.7, 0.6]
    assert len({a.mask for a in found}) == 1


def test_where_sam_sees_nothing_is_no_guess(folder: Path) -> None:
    import torch

    model = _load("sam:sam2", folder)
    with torch.no_grad():
        for weights in model._model.mask_decoder.output_hypernetworks_mlps.parameters():
            weights.zero_()
    assert model.annotate([PICTURE], [_boxes(3)], DIGITS) == [()]


def _unet(folder: Path, **names: Any) -> None:
    """The tiny U-Net with another names.json."""
    shutil.copytree(folder.parent / "unet", folder, dirs_exist_ok=True)
    (folder / "names.json").write_text(json.dumps(names))


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"names": ["a", "b"], **NORMAL},
        {"names": ["background", *DIGITS]},
        {"names": ["background", *DIGITS], "mean": [0.5], "std": [0.5]},
    ],
)
def test_names_that_do_not_fit_are_refused(folder: Path, names: dict[str, Any]) -> None:
    _unet(folder / "other", **names)
    with pytest.raises(ModelError) as error:
        _load("unet:other", folder)
    file = (folder / "other" / "names.json").resolve()
    what = f"model 'unet:other': {file} needs 11 names, a mean and a std of three numbers"
    assert str(error.value) == f"{what} -> see docs/models.md"


def test_a_unet_says_what_the_library_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import segmentation_models_pytorch
    import torch

    model = _load("unet:unet", folder)
    picture = PICTURE[:96, :160]
    (found,) = model.annotate([picture], [()], DIGITS)
    assert capsys.readouterr().out == ""
    theirs = segmentation_models_pytorch.from_pretrained(folder / "unet")
    scaled = (picture / 255 - NORMAL["mean"]) / NORMAL["std"]
    with torch.inference_mode():
        shares = theirs.predict(torch.tensor(scaled.transpose(2, 0, 1)[None], dtype=torch.float32))[0].numpy()
    ours = _painted(found, ["background", *NAMES.values()], (96, 160))
    assert (np.where(ours < 0, 0, ours) == shares.argmax(axis=0)).mean() > 0.9999
    best = shares.max(axis=0)
    for a in found:
        assert a.score == pytest.approx(best[masks.decode(a.mask)].mean(), abs=1e-4)


def test_one_channel_is_a_class_or_nothing(folder: Path) -> None:
    import segmentation_models_pytorch
    import torch

    torch.manual_seed(0)
    model = segmentation_models_pytorch.Unet("tu-test_resnet", encoder_weights=None)
    torch.nn.init.normal_(model.segmentation_head[0].weight, std=1.0)
    model.save_pretrained(folder / "cells")
    (folder / "cells" / "names.json").write_text(json.dumps({"names": ["cell"], **NORMAL}))
    loaded = _load("unet:cells", folder, image_size=96)
    assert loaded.names == ("cell",)
    ((cell,),) = loaded.annotate([PICTURE], [()], ("cell",))
    assert 0 < masks.area(cell.mask) < PICTURE.shape[0] * PICTURE.shape[1]
    assert cell.score > 0.5


def test_what_is_no_unet_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder / "unet", tmp_path / "unet")
    config = json.loads((tmp_path / "unet" / "config.json").read_text())
    for change, match in (
        ({"_model_class": "from_pretrained"}, "names no network of segmentation-models-pytorch"),
        ({"classes": 4}, "Error.s. in loading state_dict for Unet"),
        ({"in_channels": 1}, "Error.s. in loading state_dict for Unet"),
        ({"encoder_name": "no-such"}, "Wrong encoder name `no-such`"),
    ):
        (tmp_path / "unet" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=match):
            _load("unet:unet", tmp_path)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ModelError, match="is not installed .* -> pip install segmentation-models-pytorch"):
        _load("unet:unet", tmp_path)
    (tmp_path / "unet" / "names.json").unlink()
    with pytest.raises(ModelError, match="names.json is missing"):
        _load("unet:unet", tmp_path)


@pytest.mark.parametrize(
    ("family", "name"),
    [("sam", "sam2"), ("semantic", "upernet"), ("mask2former", "mask2former-digits-instance")],
)
def test_a_cached_checkpoint_is_listed(
    family: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / f"models--org--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    build(name, repository / "snapshots" / commit)
    listed = {
        f for f in ("sam", "semantic", "mask2former", "detr") if models.MODELS[f].annotator.on_this_machine()
    }
    assert listed == {family}
    models.fetch(f"{family}:org/{name}", tmp_path)
    _load(f"{family}:org/{name}", tmp_path).close()


@pytest.mark.parametrize(
    ("family", "fix"),
    [
        ("sam", "take sam, sam2, sam2_video, sam3_tracker, sam3_video, sam_hq"),
        ("semantic", "see docs/models.md"),
        ("mask2former", "take mask2former, maskformer"),
    ],
)
def test_another_familys_checkpoint_is_one_line(family: str, fix: str, tmp_path: Path) -> None:
    build("detr", tmp_path / "detr-instance")
    with pytest.raises(ModelError) as error:
        _load(f"{family}:detr-instance", tmp_path)
    assert str(error.value) == (
        f"model '{family}:detr-instance': a model of type detr is not of this family -> {fix}"
    )
