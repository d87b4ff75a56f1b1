"""A real Ray cluster on this machine: its actors say of images in a bucket what this process says, also where
one is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.guesses.grays import MODEL as GRAY
from tests.guesses.grays import but_times, load_gray
from tests.s3 import BUCKET, ENVIRONMENT, put_folder, s3_server
from workflow.cli import app
from workflow.errors import ConfigError, ServiceError
from workflow.guesses.crew import Cluster, Job, crew_of
from workflow.project.paths import Project, load_project
from workflow.stages import catalog, preannotate

pytestmark = [pytest.mark.services, pytest.mark.slow]

# Scores by sums that depend on how many threads add them up; kills its process once, at the 50th image.
MODEL = """
import os, signal
from pathlib import Path

import torch
from workflow.records import Annotation, Provenance

MARK = Path({mark!r})

class Model:
    task = "classification"
    names = ["a", "b", "c"]

    def __init__(self, options):
        torch.manual_seed(0)
        layers = torch.nn.Conv2d(3, 16, 5), torch.nn.Flatten(), torch.nn.Linear(16 * 44 * 60, 3)
        self.net = torch.nn.Sequential(*layers, torch.nn.Softmax(1))

    def annotate(self, images, prior, classes):
        if any(image.max() == 50 for image in images) and MARK.exists():
            MARK.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        pixels = torch.stack([torch.from_numpy(image.copy()) for image in images])
        with torch.no_grad():
            rows = self.net(pixels.permute(0, 3, 1, 2) / 255).tolist()
        return [[self.guess(*pair) for pair in zip("abc", row)] for row in rows]

    def guess(self, name, score):
        return Annotation(name, Provenance("model", "me"), score=score)
"""
TOML = """
name = "grays"
title = "Grays"
task = "classification"
classes = ["a", "b", "c"]

[images]
folder = "s3://{bucket}/grays"

[preannotate]
model = "own:net.py"
trust = true
threshold = 0.0
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Photographs of one gray each in a bucket, and a model in the project folder."""
    folder = tmp_path / "projects" / "grays"
    (tmp_path / "images").mkdir()
    folder.mkdir(parents=True)
    for gray in range(100):
        Image.new("RGB", (64, 48), (gray, gray, gray)).save(tmp_path / "images" / f"{gray:03}.png")
    (folder / "net.py").write_text(MODEL.format(mark=str(tmp_path / "deadly")))
    (folder / "project.toml").write_text(TOML.format(bucket=BUCKET))
    with s3_server(tmp_path / "log") as url:
        put_folder(url, tmp_path / "images", "grays")
        places = {"AWS_ENDPOINT_URL": url, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        for name, value in (ENVIRONMENT | places).items():
            monkeypatch.setenv(name, value)
        yield load_project(folder)


def test_actors_write_what_this_process_writes(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    catalog.run(project)
    here = preannotate.run(project, "cpu", batch=1)
    path = preannotate.predictions_path(project)
    content = path.read_bytes()
    assert here.did.startswith("own:net.py: 100 labels on 100 images, none on 0")
    (tmp_path / "deadly").touch()
    capfd.readouterr()
    there = preannotate.run(project, "auto", batch=1, force=True, cluster=Cluster(actors=2))
    assert path.read_bytes() == content and there.did == here.did
    assert but_times(there) == but_times(here)
    assert but_times(here)[-1] == "own:net.py runs on its own code"
    assert not (tmp_path / "deadly").exists()
    told = capfd.readouterr().err
    assert told.count(" died and was started anew; the images it was at were asked again\n") == 1
    assert "core_worker" not in told and "Deprecat" not in told


def test_what_ray_cannot_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "gray.py").write_text(GRAY.format(folder=str(tmp_path)))
    job = Job(("own:gray.py",), tmp_path, load_gray, tmp_path / "logs")
    with pytest.raises(ConfigError) as wrong:
        crew_of(job, "cuda:0", Cluster())
    assert wrong.value.problem == "--device cuda:0 with --engine ray, which gives each actor its GPU"
    with pytest.raises(ServiceError, match="^no Ray cluster at 127.0.0.1:1: .* -> ray start --head there"):
        crew_of(job, "cpu", Cluster("127.0.0.1:1"))
    result = CliRunner().invoke(app, ["preannotate", "--actors", "2"])
    assert str(result.exception) == "--address and --actors are of Ray -> add --engine ray"
