"""Real parts for the tests: the demo's own envelopes and base model, real servers, real projects."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.drawing import run_draw
from workflow import services
from workflow.labelstudio.client import Client
from workflow.labelstudio.work import FIELDS
from workflow.project.paths import Project, load_project

pytest_plugins = ("tests.browser",)
REPOSITORY = Path(__file__).parents[1]
ZIPCODES = REPOSITORY / "projects" / "zipcodes"
# What `Client.tasks` may be asked for, all at once.
EVERYTHING = f"{FIELDS},predictions,model_version,drafts"
SHARED = REPOSITORY.parent / "shared" / "data"

# Shared machines are slow at times; how long an example takes proves nothing. Where CI is set, examples are
# the same each time, so that a failure is of the change; elsewhere each run looks further.
hypothesis.settings.register_profile("here", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.register_profile("deep", deadline=None, max_examples=3000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "here"))

# Before torch is imported: threads that spin while they wait are 12 times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Files with servers of their own, whose ports nobody else asks for.
APART = (
    "tests/formats/test_readers_fiftyone.py",
    "tests/guesses/test_ray.py",
    "tests/images/test_browser.py",
    "tests/project/test_remote.py",
    "tests/shown/test_app.py",
    "tests/shown/test_page.py",
)

# The environments `make setup` made, also for tests whose state folder lies elsewhere.
_LABEL_STUDIO = REPOSITORY / ".venv-label-studio" / "bin" / "label-studio"
if _LABEL_STUDIO.exists():
    os.environ.setdefault("LABEL_STUDIO_BIN", str(_LABEL_STUDIO))
os.environ["PATH"] += os.pathsep + str(REPOSITORY / ".workflow" / "bin")
for _name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "FIFTYONE_DATABASE_URI", "WORKFLOW_STATE"):
    os.environ.pop(_name, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers one runs all files that share servers, or fight for ports; else a file each."""
    from xdist.scheduler import LoadScopeScheduling

    class OneForServers(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            shared = file not in APART and "mark.services" in (REPOSITORY / file).read_text()
            return "servers" if shared else file

    return OneForServers(config, log)


@pytest.fixture(scope="session")
def envelopes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two envelopes of each sender, drawn once: images/ and truth/, with one damaged file."""
    folder = tmp_path_factory.mktemp("envelopes")
    run_draw("zipcodes", "draw_envelopes")(folder, 48)
    return folder


MakeProject = Callable[..., Project]


def copy_project(root: Path, envelopes: Path, name: str = "letters", count: int = 48) -> Project:
    """A zip code project: the first `count` envelopes and a damaged file, the real base, one epoch.

    The sides of the split follow from the senders, as in the demo, so each has some of 48.
    """
    folder = root / "projects" / name
    shutil.copytree(ZIPCODES / "base", folder / "base")
    (folder / "data" / "images").mkdir(parents=True)
    drawn = sorted((envelopes / "images").glob("*-envelope-*.jpg"))[:count]
    for image in [*drawn, envelopes / "images" / "sender-11-damaged.jpg"]:
        shutil.copy2(image, folder / "data" / "images")
    shutil.copytree(envelopes / "truth", folder / "data" / "truth")
    text = (ZIPCODES / "project.toml").read_text()
    for old, new in {
        'name = "zipcodes"': f'name = "{name}"',
        "epochs = 8": "epochs = 1",
        'blind = ["test"]': 'blind = ["test"]\ncontrol = 0',
        '[demo]\nimages = "draw.py"': "",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "project.toml").write_text(text)
    return load_project(folder)


@pytest.fixture
def make_project(tmp_path: Path, envelopes: Path) -> MakeProject:
    """`make_project(name, count)`: see `copy_project`."""
    return lambda name="letters", count=48: copy_project(tmp_path, envelopes, name, count)


@pytest.fixture(scope="session")
def state(own_servers: Path) -> Path:
    """The state folder of servers that run for the whole test session, on free ports."""
    return own_servers


@pytest.fixture(scope="session")
def label_studio_database(own_servers: Path) -> Path:
    """A database as Label Studio's first start leaves it, for servers that need not make one themselves."""
    return own_servers.parent / "label_studio.sqlite3"


@pytest.fixture(scope="session")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("servers") / "state"
    services.up(folder, services.SERVICES, lambda line: None, services.served_root(folder))
    # Now, while nothing is in it.
    original = sqlite3.connect(folder / "label-studio" / "label_studio.sqlite3")
    with closing(original), closing(sqlite3.connect(folder.parent / "label_studio.sqlite3")) as copy:
        original.backup(copy)
    yield folder
    services.down(folder, services.SERVICES, lambda line: None)


@pytest.fixture
def servers(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The running servers, as what a project in a temporary folder uses."""
    monkeypatch.setenv("WORKFLOW_STATE", str(state))
    return state


@pytest.fixture
def client(servers: Path) -> Client:
    access = services.label_studio_access(servers)
    return Client(access.url, access.api_key)
