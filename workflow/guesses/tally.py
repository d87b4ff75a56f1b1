"""What became of the images while they were asked about: which are broken, and where the time went."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from workflow.errors import ImageError
from workflow.records import Annotation

Part = Literal["decode", "model", "write"]
# Bars of a histogram, from nothing to the highest.
BARS = " ▁▂▃▄▅▆▇█"
# So many files that are broken are named in the summary; all are in the quarantine.
NAMED = 20


class Report(NamedTuple):
    """What a `Tally` holds: seconds a part, broken images, and the batch that was left."""

    seconds: dict[Part, float]
    quarantined: dict[str, ImageError]
    batch: int | None


class Tally:
    """Seconds each part took (of decoding: a worker's share), broken images, and the batch size left.

    Threads write into it side by side.
    """

    def __init__(self) -> None:
        self.seconds: dict[Part, float] = {"decode": 0.0, "model": 0.0, "write": 0.0}
        self.quarantined: dict[str, ImageError] = {}
        self.images = 0
        # How many images the model was shown at a time after it ran out of memory.
        self.batch: int | None = None
        self._lock = threading.Lock()

    def took(self, part: Part, seconds: float, images: int = 0) -> None:
        with self._lock:
            self.seconds[part] += seconds
            self.images += images

    def broken(self, path: str, error: ImageError) -> None:
        with self._lock:
            self.quarantined[path] = error

    def shrank(self, batch: int) -> None:
        self.batch = batch

    def report(self) -> Report:
        """What another process is told."""
        return Report(dict(self.seconds), dict(self.quarantined), self.batch)

    def add(self, report: Report, processes: int) -> None:
        """Take in what one of several processes at work counted; what it wrote, it wrote to this one."""
        with self._lock:
            for part in ("decode", "model"):
                self.seconds[part] += report.seconds[part] / processes
            self.quarantined |= report.quarantined
            if report.batch is not None:
                self.batch = min(report.batch, self.batch or report.batch)

    def shares(self) -> str:
        """How much of the time each part takes, in percent: they go on side by side."""
        total = sum(self.seconds.values())
        if not total:
            return ""
        return ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in self.seconds.items())

    def lines(self) -> list[str]:
        """For people, at the end."""
        lines = [f"time: {self.shares()}"] if self.images else []
        if self.batch is not None:
            lines.append(f"memory was short: the model was shown {self.batch} images at a time in the end")
        broken = sorted((path, error.reason) for path, error in self.quarantined.items())
        lines += [f"quarantined {path}: {reason}" for path, reason in broken[:NAMED]]
        return lines + ([f"and {len(broken) - NAMED} more" for _ in [0] if len(broken) > NAMED])


def described(guesses: Iterable[Annotation]) -> list[str]:
    """Counts a class, and a histogram of the scores in tenths: a line each, none without guesses."""
    counts: Counter[str] = Counter()
    tenths = [0] * 10
    for a in guesses:
        counts[a.label] += 1
        if a.score is not None:
            tenths[min(9, int(10 * a.score))] += 1
    if not counts:
        return []
    classes = ", ".join(f"{label} {count}" for label, count in counts.most_common())
    if not any(tenths):
        return [f"by class: {classes}", "scores: none, the model gives no scores"]
    # Few may be as good as none beside many, but are not drawn as none.
    bars = "".join(BARS[-(-8 * some // max(tenths))] for some in tenths)
    return [f"by class: {classes}", f"scores: 0 |{bars}| 1"]
