"""Detection transformers learn here, by every method, and what is kept says what was evaluated."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny
from tests.training_jobs import CLASSES, make_job, shapes, write_dataset
from workflow import metrics, models
from workflow.errors import ModelError
from workflow.models import Options, detr
from workflow.models.batches import same_size_batches
from workflow.models.boxes import clip_rows, to_guesses
from workflow.records import Provenance
from workflow.schema import Schema
from workflow.training import PRESETS, Job, Trained, data, detection, loop, lora, trainer
from workflow.training.relabel import telling

KINDS = ("rtdetr-v2", "d-fine", "deim-v2", "lw-detr", "rf-detr", "deformable-detr", "detr")
# One of them each time, all of them now and then: they differ in their heads, layers and losses.
MOSTLY_SLOW = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
WIDER = {"d_model": 64, "encoder_hidden_dim": 64, "decoder_in_channels": [64] * 3, "head_dim": 16}


def _job(folder: Path, kind: str, **settings: Any) -> Job:
    """A job on four images, one of them empty, from a tiny base that tells the ten digits."""
    base = folder / "base"
    if not base.exists():
        tiny.CASES[f"detr:tiny/{kind}"].build(base)
        write_dataset(folder / "dataset", "detection", {"train": shapes(4, "detection")})
    return make_job(folder, "detection", "detr", base, **settings)


def _train(job: Job) -> Trained:
    module = trainer("detr", "detection", job.recipe.method)
    return module.train(job, lambda epoch: None)


def _annotator(result: Trained) -> models.Annotator:
    options = Options(threshold=detection.THRESHOLD, device="cpu")
    return detr.Detr("run:tiny", result.files / result.checkpoint, options)


def _measured(result: Trained, job: Job) -> float | None:
    """The score of the annotator that loads what was kept, on the images that selected it."""
    annotator, samples = _annotator(result), data.Samples(job, result.selected_on)

    def ask(images: list, truths: list) -> list:
        return annotator.annotate(images, [()] * len(images), CLASSES)

    return data.score(samples, ask, 4).score


def _livelier(base: Path) -> None:
    """As deep features of a pretrained backbone are: those of a fresh one vanish, and nothing is learned."""
    from transformers import AutoConfig, AutoModelForObjectDetection

    config = AutoConfig.from_pretrained(base)
    for name, value in {**WIDER, "num_queries": 15}.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForObjectDetection.from_config(config)
    learned = ("embed", "sampling_offsets", "attention_weights")
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 4:
                torch.nn.init.kaiming_normal_(weights)
            elif weights.dim() == 2 and not any(part in name for part in learned):
                torch.nn.init.xavier_uniform_(weights)
    model.save_pretrained(base)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rtdetr-v2", "d-fine"])
def test_it_learns_eight_images_by_heart(tmp_path: Path, kind: str) -> None:
    tiny.CASES[f"detr:tiny/{kind}"].build(tmp_path / "base")
    _livelier(tmp_path / "base")
    drawn = shapes(8, "detection")
    # Four times a round, since looking at what was learned takes as long as learning.
    write_dataset(tmp_path / "dataset", "detection", {"train": drawn * 4, "validation": drawn})
    job = make_job(
        tmp_path, "detection", "detr", tmp_path / "base", epochs=30, learning_rate=2e-3, image_size=96
    )
    result = _train(job)
    best = max(row["score"] for row in result.curves)
    assert best > 0.9
    assert _measured(result, job) == pytest.approx(best, abs=1e-4)
    assert result.metric == "mAP50-95" and result.selected_on == "validation"
    assert result.images == {"train": 32, "validation": 8}


@pytest.mark.parametrize("method", ["head", "lora", "full"])
@pytest.mark.parametrize("kind", MOSTLY_SLOW)
def test_only_what_the_method_says_learns(tmp_path: Path, kind: str, method: str) -> None:
    job = _job(tmp_path, kind, method=method, epochs=1, image_size=96)
    loop.seed_everything(job.recipe.seed)
    start, _ = detection.open_model(job)
    head, places = detection.head_of(start), lora.targets(start, detection.head_of(start))
    before = {name: weights.clone() for name, weights in start.state_dict().items()}
    result = _train(job)
    after = _annotator(result)._model.state_dict()  # type: ignore[attr-defined]
    assert after.keys() == before.keys()
    moved = {name for name, weights in after.items() if not torch.equal(weights, before[name])}
    in_head = {name for name in before if any(name.startswith(f"{part}.") for part in head)}
    adapted = {f"{name}.weight" for name in places}
    assert moved & in_head
    if method == "head":
        assert moved <= in_head
    elif method == "lora":
        assert moved & adapted and moved <= in_head | adapted
    else:
        assert len(moved - in_head - adapted) > 10
    assert result.arguments["learning_rate"] == detection.LEARNING_RATES[method]
    assert result.arguments["clip"] == 0.1


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("kind", MOSTLY_SLOW)
def test_what_is_kept_says_what_was_evaluated(tmp_path: Path, kind: str, method: str) -> None:
    """The adapters are merged, written and loaded in between."""
    job = _job(tmp_path, kind, method=method, epochs=2, image_size=96, learning_rate=1e-3)
    learner = detection.Detection(job)
    fitted = loop.fit(learner, job, lambda epoch: None, learning_rate=1e-3, arguments={}, clip=0.1)
    with torch.no_grad():
        assert learner.validate()[1] == pytest.approx(max(row["score"] for row in fitted.curves), abs=1e-6)
    images = [pixels for pixels, _ in shapes(4, "detection")]

    (batch,) = same_size_batches(learner.processor, images)
    with torch.no_grad():
        outputs = learner.model(pixel_values=batch[1])
        rows = detr.to_rows(outputs, learner.processor, [(96, 128)] * 4, detection.THRESHOLD)
    evaluated = [
        to_guesses(clip_rows(some, 96, 128), dict(enumerate(CLASSES)), Provenance("model", "x"))
        for some in rows
    ]
    lora.save(learner.model, job.scratch / "files")
    learner.processor.save_pretrained(job.scratch / "files" / "model")
    kept = detr.Detr("run:x", job.scratch / "files" / "model", Options(threshold=0.01, device="cpu"))
    said = kept.annotate(images, [()] * 4, CLASSES)
    assert kept.names == CLASSES
    assert sum(map(len, evaluated)) > 0
    for one, other in zip(evaluated, said, strict=True):
        assert [a.score for a in one] == pytest.approx([a.score for a in other], abs=1e-4)
        assert np.allclose([a.box for a in one], [a.box for a in other], atol=0.02)


def test_an_unlike_size_is_saved_with_the_model(tmp_path: Path) -> None:
    result = _train(_job(tmp_path, "rtdetr-v2", epochs=1, image_size=64))
    assert result.arguments["image_size"] == {"height": 64, "width": 64}
    assert dict(_annotator(result)._processor.size) == {"height": 64, "width": 64}  # type: ignore[attr-defined]
    other = tmp_path / "other"
    other.mkdir()
    _, processor = detection.open_model(_job(other, "detr", image_size=80))
    assert dict(processor.size) == {"shortest_edge": 80, "longest_edge": 120}


def test_images_without_objects_are_learned_from(tmp_path: Path) -> None:
    job = _job(tmp_path, "rtdetr-v2", epochs=1, image_size=64)
    empty = [(pixels, []) for pixels, _ in shapes(3, "detection")]
    write_dataset(tmp_path / "dataset", "detection", {"train": empty})
    (row,) = _train(job).curves
    assert np.isfinite(row["loss"]) and np.isfinite(row["validation_loss"]) and row["score"] == 0


def test_images_of_other_shapes_share_a_batch(tmp_path: Path) -> None:
    """Each is filled up, and is masked so that it is seen as it will be alone."""
    job = _job(tmp_path, "detr", epochs=1)
    drawn = shapes(2, "detection", (60, 120)) + shapes(2, "detection", (120, 60))
    write_dataset(tmp_path / "dataset", "detection", {"train": drawn})
    learner = detection.Detection(job)
    (batch,) = learner.batches(1)
    assert batch.pixels.shape == (4, 3, 240, 240) and batch.mask is not None
    assert batch.mask.sum(dim=(1, 2)).tolist() == [120 * 240] * 4
    assert all((one["boxes"] <= 1).all() for one in batch.labels)
    learner.model.eval()
    with torch.no_grad():
        together = learner.model(pixel_values=batch.pixels, pixel_mask=batch.mask).pred_boxes
        h, w = batch.mask[0].amax(dim=1).sum(), batch.mask[0].amax(dim=0).sum()
        alone = learner.model(pixel_values=batch.pixels[:1, :, :h, :w]).pred_boxes
    assert (together[:1] - alone).abs().max() < 0.05


def test_a_model_without_a_mask_takes_the_frame_for_the_image() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    wide = detection.Target(torch.ones(3, 10, 20), {"class_labels": torch.tensor([0]), "boxes": boxes})
    high = detection.Target(torch.ones(3, 20, 10), {"class_labels": torch.tensor([1]), "boxes": boxes})
    batch = detection.collate([wide, high], masked=False)
    assert batch.labels[0]["boxes"][0].tolist() == pytest.approx([0.5, 0.25, 0.2, 0.2])
    assert batch.labels[1]["boxes"][0].tolist() == pytest.approx([0.25, 0.5, 0.1, 0.4])


def test_targets_are_shares_of_the_image() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    found = detection.to_labels(torch.tensor([1]), boxes, height=100, width=200)
    assert found["boxes"].tolist() == [pytest.approx([0.1, 0.4, 0.1, 0.4])]
    assert found["class_labels"].tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_the_base_knows_keep_what_it_knows_of_them(tmp_path: Path, kind: str) -> None:
    """Rows of the head follow the names, whatever order and number they come in."""
    job = _job(tmp_path, kind)
    names = ("red", "3", "blue", "0")
    model, _ = detection.open_model(
        dataclasses.replace(job, schema=Schema.of("detection", list(tiny.NAMES.values())))
    )
    told = telling(model, names)
    assert told.config.id2label == dict(enumerate(names))
    before, after = model.state_dict(), told.state_dict()
    changed = [name for name in before if before[name].shape != after[name].shape]
    assert changed
    for name in changed:
        for new, label in enumerate(names):
            if label in tiny.IDS:
                assert torch.equal(after[name][new], before[name][tiny.IDS[label]])
        assert torch.equal(after[name][4:], before[name][10:])
    assert all(torch.equal(before[name], after[name]) for name in before if name not in changed)


def test_other_names_of_the_same_number_get_a_fresh_head(tmp_path: Path) -> None:
    job = _job(tmp_path, "detr")
    model, _ = detection.open_model(dataclasses.replace(job, schema=Schema.of("detection", ("a", "b"))))
    told = telling(model, ("b", "c"))
    before, after = (m.class_labels_classifier.weight for m in (model, told))
    assert torch.equal(after[0], before[1]) and torch.equal(after[2], before[2])
    assert not torch.equal(after[1], before[0])


def test_a_mosaic_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    job = _job(tmp_path, "detr", asked=("mosaic",), augment=PRESETS["strong"])
    for refused in (lambda: _train(job), lambda: detection.preview(job, tmp_path / "p.png")):
        with pytest.raises(ModelError, match="detr cannot vary images by mosaic -> take mosaic out"):
            refused()


def test_a_preset_with_a_mosaic_does_without(tmp_path: Path) -> None:
    job = _job(tmp_path, "rtdetr-v2", epochs=1, image_size=64, augment=PRESETS["strong"])
    assert np.isfinite(_train(job).curves[0]["loss"])


LONGER: dict[str, Any] = {"epochs": 4, "image_size": 64, "augment": PRESETS["light"]}
CHILD = """
import sys
from pathlib import Path
from tests.training.test_detection import LONGER, _job, _train
_train(_job(Path(sys.argv[1]), "rtdetr-v2", **LONGER, scratch=sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    job = _job(tmp_path, "rtdetr-v2", **LONGER)
    whole = _train(job)
    job = dataclasses.replace(job, scratch=tmp_path / "killed")
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), "killed"])
    while not (job.scratch / "last.pt").exists():
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (job.scratch / "files").exists()
    resumed = _train(job)
    assert [row["loss"] for row in resumed.curves] == [row["loss"] for row in whole.curves]
    before, after = (_annotator(r)._model.state_dict() for r in (whole, resumed))  # type: ignore[attr-defined]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_metric_is_named_as_the_metrics_name_it(tmp_path: Path) -> None:
    found = metrics.measure(Schema.of("detection", CLASSES), {"a": (9, 9)}, {}, {})
    assert found.metric == detection.Detection.metric
