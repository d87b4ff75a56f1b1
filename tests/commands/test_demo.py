"""The script that draws a project's images: it runs for whoever said so, and is named before."""

from __future__ import annotations

import py_compile
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from workflow.commands import demo
from workflow.errors import ConfigError, WorkflowError
from workflow.project.paths import Project, load_project

TOML = 'name = "mine"\ntitle = "Mine"\nclasses = ["a"]\n[demo]\nimages = "draw.py"\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A downloaded project whose script leaves a mark."""
    (tmp_path / "project.toml").write_text(TOML)
    (tmp_path / "draw.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\nprint('done')\n")
    return load_project(tmp_path)


def test_a_script_does_not_run_before_somebody_said_so(project: Project) -> None:
    with pytest.raises(ConfigError) as caught:
        demo.run(project)
    script = project.folder / "draw.py"
    assert str(caught.value) == (
        f"demo.images: {script} is code of the project's, which would run with all your rights"
        " -> read it, then: workflow demo mine --trust, or demo.trust = true"
    )
    assert not (project.folder / "mark").exists()


@pytest.mark.parametrize("by", ["setting", "option"])
def test_what_runs_is_said_before(project: Project, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    if by == "setting":
        (project.folder / "project.toml").write_text(TOML + "trust = true\n")
        project = load_project(project.folder)
    script = demo.own_script(project, trust=by == "option")
    why = {"setting": "demo.trust = true", "option": "--trust"}[by]
    assert capsys.readouterr().out == f"Mine: running {project.folder / 'draw.py'} ({why})\n"
    assert not (project.folder / "mark").exists()
    assert demo._draw(project, script).did == "done"
    assert (project.folder / "mark").exists()


def test_a_script_outside_the_project_is_refused(project: Project, tmp_path: Path) -> None:
    (project.folder / "inner").mkdir()
    shutil.copy(project.folder / "project.toml", project.folder / "inner")
    inner = load_project(project.folder / "inner")
    (inner.folder / "project.toml").write_text(TOML.replace("draw.py", "../draw.py"))
    with pytest.raises(ConfigError, match=r"draw\.py is no file of the project folder -> mend project\.toml"):
        demo.own_script(load_project(inner.folder), trust=True)


def _swap(folder: Path) -> None:
    (folder / "draw.py").write_text((folder / "draw.py").read_text() + "\n")


def _shadow(folder: Path) -> None:
    (folder / "argparse.py").write_text("")


def _compiled(folder: Path) -> None:
    py_compile.compile(str(folder / "draw.py"), cfile=str(folder / "json.pyc"))


@pytest.mark.parametrize("name", ["zipcodes", "photos"])
@pytest.mark.parametrize("change", [None, _swap, _shadow, _compiled])
def test_what_comes_with_workflow_runs_as_long_as_it_is_unchanged(
    name: str, change: Callable[[Path], None] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "projects" / name, tmp_path / name, ignore=shutil.ignore_patterns("data"))
    project = load_project(tmp_path / name)
    if change is None:
        assert demo.own_script(project) == project.folder / "draw.py"
        assert capsys.readouterr().out.endswith("draw.py (as it comes with workflow)\n")
        return
    change(project.folder)
    with pytest.raises(ConfigError, match="is code of the project's"):
        demo.own_script(project)


def test_compiled_code_beside_a_script_is_not_run_in_its_place(project: Project) -> None:
    """An old __pycache__ with the right time in it would be."""
    (project.folder / "part.py").write_text("print('the source')\n")
    (project.folder / "draw.py").write_text("import part\n")
    other = project.folder / "other.py"
    other.write_text("print('something else')\n")
    source = project.folder / "part.py"
    compiled = Path(py_compile.compile(str(source), cfile=None) or "")
    evil = Path(py_compile.compile(str(other), cfile=str(other.with_suffix(".pyc"))) or "")
    compiled.write_bytes(compiled.read_bytes()[:16] + evil.read_bytes()[16:])
    assert demo._draw(project, demo.own_script(project, trust=True)).did == "the source"


def test_a_script_that_fails_says_its_last_line(project: Project) -> None:
    (project.folder / "draw.py").write_text("raise SystemExit('no ink')\n")
    with pytest.raises(WorkflowError, match=r"draw\.py failed: no ink -> "):
        demo._draw(project, demo.own_script(project, trust=True))
