"""Files behind an address: read, written and listed at a real server, and told apart when that is gone."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import BUCKET, ENVIRONMENT, put, s3_server
from workflow.errors import ConfigError, StageError
from workflow.project.remote import Remote, is_address

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def folder(server: str, monkeypatch: pytest.MonkeyPatch) -> Remote:
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": server}).items():
        monkeypatch.setenv(name, value)
    return Remote(f"s3://{BUCKET}/day")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://photos/day", True),
        ("gs://photos", True),
        ("memory://x", True),
        ("data/images", False),
        ("/data/images", False),
        ("~/photos", False),
        ("s3:/photos", False),
    ],
)
def test_addresses(text: str, address: bool) -> None:
    assert is_address(text) is address


def test_files_are_written_and_read(folder: Remote) -> None:
    (folder / "out/a.jsonl").write_bytes(b"one\n")
    file = folder / "out/a.jsonl"
    assert (str(file), file.name) == (f"s3://{BUCKET}/day/out/a.jsonl", "a.jsonl")
    assert file.exists() and not (folder / "out/b.jsonl").exists()
    assert file.read_bytes() == b"one\n"
    with pickle.loads(pickle.dumps(file)).open("rb") as content:
        assert content.read() == b"one\n"
    file.write_bytes(b"two\n")
    assert file.read_bytes() == b"two\n"


def test_files_are_listed_by_their_paths_below(folder: Remote, server: str) -> None:
    for name in ("b/2.jpg", "a.jpg", "ä ö.jpg"):
        put(server, f"listed/{name}", name.encode())
    files = Remote(f"s3://{BUCKET}/listed").files()
    assert [(path, size) for path, size, _ in files] == [("a.jpg", 5), ("b/2.jpg", 7), ("ä ö.jpg", 9)]
    assert all(changed > 1.7e18 for _, _, changed in files)


def test_what_is_not_there_is_no_file(folder: Remote) -> None:
    with pytest.raises(FileNotFoundError):
        (folder / "nope.jpg").read_bytes()
    assert (folder / "nothing").files() == []


def test_a_server_that_is_gone_stops_the_stage(
    folder: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path / "log") as url:
        put(url, "day/a.jpg", b"a")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert (folder / "a.jpg").read_bytes() == b"a"
    for ask in (lambda: (folder / "a.jpg").open("rb"), folder.files):
        with pytest.raises(StageError, match=f"^s3://{BUCKET}/day") as raised:
            ask()
        assert "NETWORK_CONNECTION" in raised.value.problem
        assert raised.value.fix == "see docs/scale.md for keys, region and AWS_ENDPOINT_URL"


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="^bogus://: Protocol not known: bogus"):
        Remote("bogus://x/y").read_bytes()


def test_what_fsspec_knows_itself_goes_by_fsspec() -> None:
    folder = Remote("memory://day/")
    assert folder.files() == []
    (folder / "b/2.jpg").write_bytes(b"22")
    (folder / "1.jpg").write_bytes(b"1")
    assert [(path, size) for path, size, _ in folder.files()] == [("1.jpg", 1), ("b/2.jpg", 2)]
    assert (folder / "b/2.jpg").read_bytes() == b"22"
    with pytest.raises(FileNotFoundError):
        (folder / "3.jpg").read_bytes()
