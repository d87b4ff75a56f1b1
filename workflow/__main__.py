"""Run the command line, and turn every problem a person can mend into one line."""

from __future__ import annotations

import errno
import os
import sys

from workflow.cli import app
from workflow.errors import WorkflowError


def main() -> None:
    """Run the command line; a problem a person can mend is one line on stderr and exit code 1."""
    debug = "--debug" in sys.argv or bool(os.environ.get("WORKFLOW_DEBUG"))
    sys.argv = [a for a in sys.argv if a != "--debug"]
    try:
        app()
    except WorkflowError as error:
        _fail(debug, error, str(error))
    except KeyboardInterrupt:
        print("stopped; run it again and it goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as error:
        _fail(debug, error, _disk(error))


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
