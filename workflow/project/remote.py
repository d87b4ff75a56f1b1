"""Files behind an address, s3://bucket/folder say, by fsspec: read whole, written whole, listed.

s3:// and gs:// go by the clients that come with pyarrow, which take keys, region and AWS_ENDPOINT_URL from
where those services' own tools take them; others by the libraries that fsspec names (abfs:// by adlfs, say).
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from workflow.errors import ConfigError, StageError

# Path, size in bytes, time of change in ns.
Stat = tuple[str, int, int]
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.")


def is_address(text: str) -> bool:
    """Whether a setting speaks of files elsewhere, and not of a path on this machine."""
    return ADDRESS.match(text) is not None


@dataclass(frozen=True, slots=True)
class Remote:
    """A file or folder elsewhere, with what of a Path is asked of images: names, open, exists, read_bytes.

    A file is fetched in one request and then read from memory. StageError where its place does not answer.
    """

    url: str

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return posixpath.basename(self.url)

    def open(self, mode: str = "rb") -> io.BytesIO:
        """The file's content. FileNotFoundError and PermissionError are raised as for a Path."""
        if mode != "rb":
            raise ValueError(f"{self}: is only read, in whole")
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        with _answering(self):
            return self._system.cat_file(self._path)

    def write_bytes(self, content: bytes) -> None:
        """Put a file there: it appears whole, or not at all, as object stores have it."""
        with _answering(self):
            self._system.makedirs(self._system._parent(self._path), exist_ok=True)
            self._system.pipe_file(self._path, content)

    def exists(self) -> bool:
        with _answering(self):
            return self._system.exists(self._path)

    def is_symlink(self) -> bool:
        return False

    def files(self) -> list[Stat]:
        """What lies below, sorted: path from here, bytes, time of change in ns (0 where none is told).

        None where there is no such folder: object stores know no empty ones.
        """
        start = len(self._path.rstrip("/")) + 1
        with _answering(self):
            listed = _arrow_files(self) if self._system.protocol == "arrow" else _fsspec_files(self)
        return sorted((path[start:], size, changed) for path, size, changed in listed)

    @property
    def _system(self) -> Any:
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return _opened(self.url.partition("://")[0], server)

    @property
    def _path(self) -> str:
        return self._system._strip_protocol(self.url)


def _arrow_files(folder: Remote) -> list[Stat]:
    """A thousand files a request, however many folders they lie in."""
    from pyarrow.fs import FileSelector, FileType

    selector = FileSelector(folder._path, recursive=True, allow_not_found=True)
    found = folder._system.fs.get_file_info(selector)
    return [(f.path, f.size, f.mtime_ns or 0) for f in found if f.type == FileType.File]


def _fsspec_files(folder: Remote) -> list[Stat]:
    try:
        # `find` passes over folders that do not answer.
        walked = folder._system.walk(folder._path, detail=True, on_error="raise")
        abouts = [about for _, _, files in walked for about in files.values()]
    except FileNotFoundError:
        return []
    return [(about["name"], int(about["size"] or 0), _nanoseconds(about)) for about in abouts]


def _nanoseconds(about: dict[str, Any]) -> int:
    """When a file was changed last, by the key that its system has for it."""
    keys = ("mtime", "LastModified", "last_modified", "updated", "created")
    when = next((about[key] for key in keys if about.get(key) is not None), 0)
    seconds = when.timestamp() if hasattr(when, "timestamp") else when
    return int(float(seconds) * 1e9) if isinstance(seconds, int | float) else 0


@cache
def _opened(protocol: str, s3_server: str | None) -> Any:
    """The file system of a protocol, opened once a process. ConfigError where a library for it is missing."""
    import fsspec
    from fsspec.implementations.arrow import ArrowFSWrapper

    try:
        match protocol:
            case "s3":
                return ArrowFSWrapper(_s3(s3_server))
            case "gs":
                return ArrowFSWrapper(_gs())
            case _:
                return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            [f"{protocol}://: {error}"], f"pip install what fsspec needs for {protocol}"
        ) from None


def _s3(server: str | None) -> Any:
    from pyarrow.fs import S3FileSystem

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(endpoint_override=server, region=region, connect_timeout=10, request_timeout=60)


def _gs() -> Any:
    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem()


@contextmanager
def _answering(place: Remote) -> Iterator[None]:
    """Let a place that does not answer stop the stage: no image is broken because of it."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        what = str(error).splitlines()[0]
        if "ACCESS_DENIED" in what:
            raise PermissionError(f"{place}: access denied") from None
        raise StageError(
            f"{place}: {what}", "see docs/scale.md for keys, region and AWS_ENDPOINT_URL"
        ) from None
