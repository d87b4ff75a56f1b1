"""No checkpoint runs code: files that would leave a mark if they were run, wherever one is taken."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.foreign import review_by_truth
from tests.samples import draw_project
from workflow import models
from workflow.commands import predict, serve
from workflow.errors import WorkflowError
from workflow.models import MODELS, Options
from workflow.models.ultralytics import start_worker
from workflow.project.paths import Project
from workflow.project.rows import write_json
from workflow.stages import dataset, preannotate, train
from workflow.training import yolo_worker

CODE = """
from pathlib import Path
Path({mark!r}).touch()
class Config: model_type = "evil"
class Model: pass
"""


class Attack:
    """Unpickled, it leaves its mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path, ...]]:
        return Path.touch, (self.mark,)


def pickled(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Attack(mark), protocol=2))


def torch_archive(path: Path, mark: Path) -> None:
    """As torch.save writes: a zip archive with a pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": Attack(mark)}, protocol=2))
        archive.writestr("archive/version", "3\n")


def array(path: Path, mark: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Attack(mark)], dtype=object), allow_pickle=True)


def folder(path: Path, mark: Path) -> None:
    """As transformers has models with code of their own, and weights that are pickles."""
    path.mkdir()
    auto = dict.fromkeys(("AutoConfig", "AutoImageProcessor", "AutoProcessor"), "evil.Config")
    auto |= {f"AutoModelFor{name}": "evil.Model" for name in ("ObjectDetection", "ImageClassification")}
    auto |= {"AutoModel": "evil.Model", "AutoModelForZeroShotObjectDetection": "evil.Model"}
    card = {"model_type": "evil", "auto_map": auto, "architectures": ["Model"]}
    for name in ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        (path / name).write_text(json.dumps(card))
    (path / "evil.py").write_text(CODE.format(mark=str(mark)))
    # Enough to be taken for a folder with weights.
    (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for name in ("pytorch_model.bin", "model.pt", "best.pt", "weights.pth"):
        torch_archive(path / name, mark)


def known_folder(path: Path, mark: Path) -> None:
    """The same under the name of a type that is known: only its weights are a pickle."""
    folder(path, mark)
    for name in ("config.json", "preprocessor_config.json"):
        card = json.loads((path / name).read_text())
        write_json(path / name, card | {"model_type": "detr", "image_processor_type": "DetrImageProcessor"})


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "evil.pt": pickled,
    "archive.pt": torch_archive,
    "evil.pth": pickled,
    "resnet18.pth": torch_archive,
    "evil.npy": array,
    "evil": folder,
    "known": known_folder,
}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def test_the_attacks_work(tmp_path: Path, mark: Path) -> None:
    """Read by who trusts them, all of them do: so their silence below says something."""
    pickled(tmp_path / "evil.pt", mark)
    pickle.loads((tmp_path / "evil.pt").read_bytes())
    assert mark.exists()
    mark.unlink()
    array(tmp_path / "evil.npy", mark)
    np.load(tmp_path / "evil.npy", allow_pickle=True)
    assert mark.exists()
    mark.unlink()
    torch_archive(tmp_path / "archive.pt", mark)
    import torch

    torch.load(tmp_path / "archive.pt", weights_only=False)
    assert mark.exists()


SLOW = pytest.mark.slow  # ultralytics has a process of its own each time


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=SLOW if f == "ultralytics" else ()) for f in MODELS]
)
def test_no_family_runs_what_a_checkpoint_brings(family: str, tmp_path: Path, mark: Path) -> None:
    for name, make in MAKERS.items():
        make(tmp_path / name, mark)
        with pytest.raises(WorkflowError):
            models.load(f"{family}:{name}", tmp_path, Options(device="cpu", log=tmp_path / "log")).close()
        assert not mark.exists(), name


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = review_by_truth(draw_project(tmp_path, "detection", 6))
    dataset.run(project)
    return project


def with_setting(project: Project, section: str, key: str, value: object) -> Project:
    changed = getattr(project.settings, section).model_copy(update={key: value})
    return replace(project, settings=project.settings.model_copy(update={section: changed}))


SPECS = [
    "detr:known",
    "torchvision:resnet18.pth",
    *(pytest.param(f"evil.{n}", marks=SLOW) for n in ("pt", "npy")),
]


@pytest.mark.parametrize("spec", SPECS)
def test_commands_run_nothing_either(spec: str, project: Project, mark: Path) -> None:
    name = spec.rpartition(":")[2]
    MAKERS[name](project.folder / name, mark)
    run = project.runs / "planted"
    run.mkdir(parents=True)
    MAKERS[name](run / name, mark)
    spec = spec if ":" in spec else f"ultralytics:{spec}"
    family = spec.partition(":")[0]
    write_json(run / "run.json", {"family": family, "checkpoint": name})
    picture = next(project.images.iterdir())
    for asked in (spec, "run:planted"):
        with pytest.raises(WorkflowError):
            predict.run([picture], predict.Question([asked], project.folder, device="cpu"))
        named = with_setting(project, "preannotate", "model", asked)
        with pytest.raises(WorkflowError):
            preannotate.run(named, device="cpu")
        with pytest.raises(WorkflowError):
            serve.PreAnnotators(named, "cpu")
        with pytest.raises(WorkflowError):
            train.run(named, device="cpu")
        assert not mark.exists()


@SLOW
def test_a_checkpoint_planted_in_a_stopped_trainings_scratch_is_none(tmp_path: Path, mark: Path) -> None:
    for make in (pickled, torch_archive):
        make(tmp_path / "last.pt", mark)
        with start_worker(tmp_path / "log") as worker:
            assert worker.call(yolo_worker._read, tmp_path / "last.pt") is None
        assert not mark.exists()


@pytest.mark.parametrize("trust", [False, True])
def test_an_own_model_runs_when_trusted_and_is_named_before(
    trust: bool, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evil.py").write_text(CODE.format(mark=str(mark)))
    with pytest.raises(WorkflowError):
        models.load("own:evil.py", tmp_path, Options(project=tmp_path, device="cpu", trust=trust))
    assert mark.exists() is trust
    said = f"running {tmp_path / 'evil.py'}, as trust allows\n" if trust else ""
    assert capsys.readouterr().err == said
