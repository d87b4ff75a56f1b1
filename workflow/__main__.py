"""Run the command line, and turn every problem a person can mend into one line."""

from __future__ import annotations

import errno
import io
import os
import platform
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from workflow import __version__
from workflow.cli import app
from workflow.errors import WorkflowError


def main() -> None:
    """Run the command line; a problem a person can mend is one line on stderr and exit code 1.

    So is a fault of ours, whose traceback is written down. With --debug, or WORKFLOW_DEBUG, a
    traceback is shown.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may be no text, and a terminal may not know every letter.
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv or bool(os.environ.get("WORKFLOW_DEBUG"))
    typed = sys.argv = [a for a in sys.argv if a != "--debug"]
    try:
        app()
    except WorkflowError as error:
        _fail(debug, error, str(error))
    except KeyboardInterrupt:
        print("stopped; run it again and it goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as error:
        _fail(debug, error, _disk(error))
    except MemoryError as error:
        _fail(debug, error, "there is not enough memory -> close other programs, or take fewer at once")
    except Exception as error:
        where = _write_down(error, typed)
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        _fail(debug, error, f"this is a fault of workflow {__version__} ({what}) -> report it{where}")


def _write_down(error: Exception, typed: list[str]) -> str:
    """Put the traceback of a fault into a log of its own; where, for people. Empty where that fails too."""
    now = datetime.now(UTC)
    text = f"{now.isoformat(timespec='seconds')} workflow {__version__}, {platform.platform()}, "
    text += f"Python {platform.python_version()}\n{' '.join(typed)}\n\n"
    text += "".join(traceback.format_exception(error))
    with suppress(OSError):
        path = _logs() / f"fault-{now:%Y-%m-%dT%H-%M-%S}-{os.getpid()}.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
        return f" with {path}"
    return " with what --debug shows"


def _logs() -> Path:
    """The services' folder of logs, of the nearest workspace upwards; else one of the user's own."""
    if named := os.environ.get("WORKFLOW_STATE"):
        return Path(named).expanduser() / "logs"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".workflow").is_dir() or (folder / "projects").is_dir():
            return folder / ".workflow" / "logs"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "workflow"


def _disk(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; nothing is lost -> free some space and run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}may not be written or read ({error.strerror}) -> check its permissions"
    return f"{where}{error.strerror or error}"


def _fail(debug: bool, error: BaseException, problems: str) -> None:
    if debug:
        raise error
    print("\n".join(f"error: {problem}" for problem in problems.splitlines()), file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
