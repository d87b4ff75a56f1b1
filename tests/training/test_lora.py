"""What a method leaves free to learn, and that merging and saving lose nothing."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.tiny import classifier as classifiers
from tests.tiny import detr, semantic
from workflow.errors import ModelError
from workflow.models.classifier import head_weights, open_model
from workflow.training import lora
from workflow.training.detection import head_of
from workflow.training.loop import _learning_mode

RANK = 4


class Net(NamedTuple):
    """One tiny model: how it is saved, the class that loads it, the side of its images, its LoRA targets."""

    save: Callable[[Path], Any]
    auto: str
    side: int
    head: Callable[[Any], list[str]]
    targets: dict[str, int]


def save_convnext(folder: Path) -> None:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    torch.manual_seed(0)
    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4)
    ConvNextForImageClassification(config).save_pretrained(folder)


def save_resnet(folder: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetForImageClassification(config).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    from transformers import SiglipConfig, SiglipForImageClassification

    torch.manual_seed(0)
    vision = classifiers.SMALL | {"intermediate_size": 64}
    SiglipForImageClassification(SiglipConfig(vision_config=vision, text_config={})).save_pretrained(folder)


def classifier_head(model: Any) -> list[str]:
    return sorted({name.rpartition(".")[0] for name in head_weights(model)})


CLASSIFIER, DETECTOR = "AutoModelForImageClassification", "AutoModelForObjectDetection"
SEGMENTER, TIMM = "AutoModelForSemanticSegmentation", "timm"
ATTENTION = {"q_proj": 2, "v_proj": 2}
DEFORMABLE = {"value_proj": 2, "output_proj": 2, "q_proj": 3, "v_proj": 3, "fc1": 3, "fc2": 3}
NETS = {
    "ViT": Net(classifiers.save_vit, CLASSIFIER, 64, classifier_head, ATTENTION),
    "DINOv2": Net(classifiers.save_dinov2, CLASSIFIER, 64, classifier_head, ATTENTION),
    "SigLIP": Net(save_siglip, CLASSIFIER, 64, classifier_head, ATTENTION),
    "timm's ViT": Net(classifiers.save_timm, TIMM, 160, classifier_head, {"qkv": 6}),
    "ConvNeXt": Net(save_convnext, CLASSIFIER, 64, classifier_head, {"pwconv1": 4, "pwconv2": 4}),
    "ResNet": Net(save_resnet, CLASSIFIER, 64, classifier_head, {"convolution": 5}),
    "SegFormer": Net(
        semantic.save_segformer, SEGMENTER, 64, lambda model: ["decode_head"], {"q_proj": 4, "v_proj": 4}
    ),
    "RT-DETRv2": Net(detr.save_rtdetr_v2, DETECTOR, 96, head_of, DEFORMABLE),
    "D-FINE": Net(detr.save_d_fine, DETECTOR, 96, head_of, {"q_proj": 3, "v_proj": 3}),
    "DETR": Net(detr.save_detr, DETECTOR, 96, head_of, {"q_proj": 3, "v_proj": 3, "fc1": 2, "fc2": 2}),
}


# Of so many small layers that saving and loading takes seconds.
SLOW = {"RT-DETRv2", "D-FINE"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(net, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, net in NETS.items()
    ],
)
def net(request: pytest.FixtureRequest) -> Net:
    return request.param


@pytest.fixture(scope="module")
def model(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tiny")
    net.save(folder)
    return load(net, folder)


def load(net: Net, folder: Path) -> Any:
    import transformers

    if net.auto == TIMM:
        return open_model("classifier:tiny", folder)[0]
    return getattr(transformers, net.auto).from_pretrained(folder).eval()


def changed(model: Any, net: Net, method: str) -> tuple[Any, dict[str, Any]]:
    """As a training would leave it: what may learn has moved a little."""
    torch.manual_seed(1)
    adapted, shown = lora.apply(copy.deepcopy(model), method, RANK, net.head(model))
    with torch.no_grad():
        for weights in adapted.parameters():
            if weights.requires_grad:
                weights.add_(torch.randn_like(weights) * 0.05)
    return adapted.eval(), shown


def logits(model: Any, net: Net) -> torch.Tensor:
    pixels = torch.randn(2, 3, net.side, net.side, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return model(pixel_values=pixels).logits


@pytest.mark.parametrize("method", ["head", "lora"])
def test_the_head_always_learns_and_the_rest_stays(net: Net, model: Any, method: str) -> None:
    merged = lora.merge(changed(model, net, method)[0])
    moved = {
        name.removesuffix(".weight").removesuffix(".bias")
        for name, weights in merged.named_parameters()
        if not torch.equal(weights, model.get_parameter(name))
    }
    head = net.head(model)
    inside = {name for name in moved if any(f"{name}.".startswith(f"{one}.") for one in head)}
    assert inside
    assert moved - inside == (set(lora.targets(model, head)) if method == "lora" else set())


def test_what_is_merged_and_saved_is_what_was_trained(net: Net, model: Any, tmp_path: Path) -> None:
    saved_as_trained(net, model, "lora", tmp_path)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("method", ["head", "full"])
def test_without_adapters_the_model_alone_is_saved(method: str, tmp_path: Path) -> None:
    vit = NETS["ViT"]
    vit.save(tmp_path / "base")
    saved_as_trained(vit, load(vit, tmp_path / "base"), method, tmp_path / "files")
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["model"]


def saved_as_trained(net: Net, model: Any, method: str, folder: Path) -> None:
    adapted, _ = changed(model, net, method)
    before = logits(adapted, net)
    assert (before - logits(model, net)).abs().max() > 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged = lora.save(adapted, folder, "family:base")
    torch.testing.assert_close(logits(merged, net), before, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits(load(net, folder / "model"), net), before, atol=1e-4, rtol=0)


def test_the_adapter_makes_the_base_what_was_trained(net: Net, model: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    adapted, _ = changed(model, net, "lora")
    before = logits(adapted, net)
    lora.save(adapted, tmp_path, "family:base")
    base = copy.deepcopy(model)
    lora._answer_for_embeddings(base)
    again = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    assert again.peft_config["default"].base_model_name_or_path == "family:base"
    head = tmp_path / "adapter" / "head.safetensors"
    lists = any(isinstance(model.get_submodule(name), nn.ModuleList) for name in net.head(model))
    assert head.exists() == lists
    if lists:
        plain = again.merge_and_unload()
        assert not plain.load_state_dict(load_file(head), strict=False).unexpected_keys
        again = plain
    torch.testing.assert_close(logits(again, net), before, atol=1e-4, rtol=0)


def test_it_shows_where_adapters_went(net: Net, model: Any) -> None:
    adapted, shown = lora.apply(copy.deepcopy(model), "lora", RANK, net.head(model))
    assert shown["targets"] == net.targets
    assert shown["head"] == net.head(model)
    assert shown["trainable"] == sum(w.numel() for w in adapted.parameters() if w.requires_grad)
    assert shown["share"] == round(shown["trainable"] / shown["parameters"], 5)


def test_all_that_may_learn_gets_a_gradient(net: Net, model: Any) -> None:
    adapted, _ = lora.apply(copy.deepcopy(model), "lora", RANK, net.head(model))
    _learning_mode(adapted)
    outputs = adapted(pixel_values=torch.randn(2, 3, net.side, net.side))
    total = outputs.logits.sum() + (outputs.pred_boxes.sum() if net.auto == DETECTOR else 0)
    total.backward()
    without = [n for n, w in adapted.named_parameters() if w.requires_grad and w.grad is None]
    # What chooses the queries learns from losses of its own.
    assert [name for name in without if "lora_" in name] == []
    assert without == [] or net.auto == DETECTOR


def test_numbers_of_a_vit(tmp_path: Path) -> None:
    """Two layers of width 32: of each, two adapters of (32 + 32) x rank; a head of 10 x 33."""
    classifiers.save_vit(tmp_path)
    model = load(NETS["ViT"], tmp_path)
    total = sum(w.numel() for w in model.parameters())
    shown = {m: lora.apply(copy.deepcopy(model), m, RANK, ["classifier"])[1] for m in ("head", "full")}
    assert shown["head"] == {
        "head": ["classifier"],
        "parameters": total,
        "trainable": 330,
        "share": round(330 / total, 5),
    }
    assert shown["full"] == {"parameters": total, "trainable": total, "share": 1.0}
    _, by_lora = lora.apply(model, "lora", RANK, ["classifier"])
    assert by_lora["lora_alpha"] == 2 * RANK
    assert by_lora["trainable"] == 330 + 2 * 2 * 64 * RANK


def test_a_model_without_a_place_for_adapters_is_one_line() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 2))
    with pytest.raises(ModelError) as error:
        lora.apply(model, "lora", RANK, ["2"])
    assert str(error.value) == (
        "Sequential has no layer for LoRA: no q_proj, v_proj, query, value, qkv, value_proj, output_proj,"
        ' pwconv1, pwconv2, no ungrouped convolution -> set train.method to "head" or "full"'
    )


def test_the_pretrained_network_takes_adapters_in_its_pointwise_convolutions() -> None:
    model, _, _ = open_model("classifier:efficientnet-lite0", "efficientnet-lite0", ("a", "b"))
    _, shown = lora.apply(model, "lora", 16, classifier_head(model))
    assert shown["targets"] == {"conv_pw": 16, "conv_pwl": 15, "conv_head": 1}
    assert shown["head"] == ["timm_model.classifier"]
