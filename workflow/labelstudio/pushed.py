"""Guesses as they were pushed: data/pushed/, one append-only file a model version.

With it pull need not fetch from the server what we sent there, which would take as long again, and the
ledger still knows what a person started from when the prediction itself was replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, append_rows, appending, digest, drop_half_line
from workflow.records import Sample

# How `version` ends: what does not is another's, and left alone.
OURS = re.compile(r"@[0-9a-f]{1,8}$")


def version(sample: Sample) -> str:
    """Label Studio's model_version: who guessed, at which revision of weights and settings."""
    if not sample.annotations:
        return ""
    provenance = sample.annotations[0].provenance
    return version_of(provenance.name, provenance.revision)


def version_of_row(annotations: Sequence[Row]) -> str:
    """The same of the annotations in a line of a file: ten thousand lines are read for nothing else."""
    if not annotations:
        return ""
    provenance = annotations[0]["provenance"]
    return version_of(provenance["name"], provenance.get("revision", ""))


def version_of(name: str, revision: str) -> str:
    """The model_version under which an annotator's guesses are shown."""
    # Label Studio lists versions with commas between, and drops quotes.
    name = re.sub(r'[,"\s]+', "-", name)
    return f"{name}@{revision[:8]}"


class PushedGuesses:
    """The predictions that were pushed: rows of {image, version, score, result, blind}."""

    def __init__(self, project: Project) -> None:
        self.folder = project.data / "pushed"
        self._files: dict[str, RowFile] = {}

    def keep(self, version: str, rows: Iterable[Row]) -> None:
        """Write rows, whose result is JSON text, down before they are sent; none that is there already."""
        path = self._path(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_half_line(path)
        known = self._file(version)
        whole = [row | {"result": orjson.Fragment(row["result"])} for row in rows]
        fresh = [row for row in whole if known.last(row["image"]) != orjson.dumps(row)]
        if fresh:
            with appending(path) as file:
                append_rows(file, fresh)
            del self._files[version]

    def last(self, version: str, image: str) -> Row | None:
        """The last of an image by that version; None where another machine sent it."""
        return self._file(version).row(image)

    def _file(self, version: str) -> RowFile:
        if version not in self._files:
            self._files[version] = RowFile(self._path(version), repair=True)
        return self._files[version]

    def _path(self, version: str) -> Path:
        return self.folder / f"{digest(version)}.jsonl"
