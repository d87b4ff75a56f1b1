"""Something to be done soon after a hint, once for any number of hints."""

from __future__ import annotations

import threading
from collections.abc import Callable

# Seconds in which more hints may come, and after which work that could not be done is tried again.
QUIET, AGAIN = 1.0, 5.0


class Soon:
    """Runs `work` in a thread of its own a moment after `hint`; hints that come meanwhile are one more run.

    `work` answers whether it could do it; if not it is tried again, with no new hint needed.
    """

    def __init__(self, work: Callable[[], bool], quiet: float = QUIET, again: float = AGAIN) -> None:
        self._work, self._quiet, self._again = work, quiet, again
        self._hinted, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="soon", daemon=True)
        self._thread.start()

    def hint(self) -> None:
        self._hinted.set()

    def close(self) -> None:
        """Wait for a run under way; what was hinted at and has not begun is left undone."""
        self._ending.set()
        self._hinted.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._hinted.wait()
            if self._ending.wait(self._quiet):
                return
            # Cleared before the work, so that what changes during it is not missed.
            self._hinted.clear()
            while not self._work():
                if self._ending.wait(self._again):
                    return
