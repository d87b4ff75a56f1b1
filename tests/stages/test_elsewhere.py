"""Images at an address: every stage says of them what it says of the same images in a folder here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import copy_project
from tests.s3 import BUCKET, ENVIRONMENT, put, put_folder, s3_server
from workflow.errors import ConfigError, StageError
from workflow.labelstudio.connection import connect
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_json, read_rows, write_rows
from workflow.stages import catalog, dataset, evaluate, preannotate

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def addressed(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)


def _elsewhere(project: Project, server: str, prefix: str, root: Path) -> Project:
    """The same project in another folder, its images in the bucket."""
    put_folder(server, project.images, prefix)
    folder = root / "projects" / "elsewhere"
    folder.mkdir(parents=True)
    (folder / "base").symlink_to(project.folder / "base")
    text = (project.folder / "project.toml").read_text()
    head, found, rest = text.partition("[images]\n")
    address = f'folder = "s3://{BUCKET}/{prefix}"\n'
    text = f"{head}{found}{address}{rest}" if found else f"{text}\n[images]\n{address}"
    (folder / "project.toml").write_text(text)
    return load_project(folder)


def _reviewed(project: Project) -> None:
    """Take the guesses for what people said."""
    rows = read_rows(preannotate.predictions_path(project))
    write_rows(project.labels, ({**row, "state": "reviewed"} for row in rows))


def test_the_road_from_a_bucket_is_the_road_from_a_folder(
    tmp_path: Path, envelopes: Path, server: str, addressed: None
) -> None:
    here = copy_project(tmp_path, envelopes, count=12)
    there = _elsewhere(here, server, "letters", tmp_path)
    for project in (here, there):
        catalog.run(project)
        preannotate.run(project, "cpu")
        _reviewed(project)
        dataset.run(project)
    assert there.catalog.read_bytes() == here.catalog.read_bytes()
    assert there.duplicates.read_bytes() == here.duplicates.read_bytes()
    bad = [[(row["path"], row["reason"]) for row in catalog.quarantined(p)] for p in (here, there)]
    assert bad[0] == bad[1] and len(bad[0]) == 1
    guesses = [preannotate.predictions_path(project) for project in (here, there)]
    assert guesses[0].read_bytes() == guesses[1].read_bytes()
    shards = [sorted(p.dataset.rglob("*.parquet")) for p in (here, there)]
    assert [p.read_bytes() for p in shards[0]] == [p.read_bytes() for p in shards[1]]
    assert len(shards[0]) >= 2


def test_what_is_new_in_the_bucket_is_new_in_the_catalog(
    tmp_path: Path, envelopes: Path, server: str, addressed: None
) -> None:
    there = _elsewhere(copy_project(tmp_path, envelopes, count=4), server, "growing", tmp_path)
    catalog.run(there)
    assert catalog.run(there).skipped
    images = sorted((envelopes / "images").glob("*.jpg"))
    put(server, "growing/later/new.jpg", images[-1].read_bytes())
    for name in (".hidden/x.jpg", "notes.txt"):
        put(server, f"growing/{name}", images[0].read_bytes())
    did = catalog.run(there).did
    assert did.startswith("5 images") and "passed over 1 .txt, 0" in did
    assert "later/new.jpg" in {row["path"] for row in read_rows(there.catalog)}


def test_what_needs_a_disk_says_so(
    tmp_path: Path, envelopes: Path, server: str, addressed: None, servers: Path
) -> None:
    there = _elsewhere(copy_project(tmp_path, envelopes, count=4), server, "refused", tmp_path)
    address = f"s3://{BUCKET}/refused"
    with pytest.raises(ConfigError) as raised:
        connect(there)
    assert raised.value.fix == f'set push.image_url, "{address}/{{path}}" say'
    assert address in evaluate.publish(there).did
    with pytest.raises(ConfigError, match=f"^images.folder is {address}: this needs the images"):
        _ = there.images


def test_an_empty_place_is_said(tmp_path: Path, envelopes: Path, server: str, addressed: None) -> None:
    there = _elsewhere(copy_project(tmp_path, envelopes, count=4), server, "x", tmp_path)
    toml = there.folder / "project.toml"
    toml.write_text(toml.read_text().replace(f"s3://{BUCKET}/x", f"s3://{BUCKET}/nothing"))
    with pytest.raises(StageError, match=f"^s3://{BUCKET}/nothing holds no images"):
        catalog.run(load_project(there.folder))
    assert read_json(there.marks / "catalog.json") is None
