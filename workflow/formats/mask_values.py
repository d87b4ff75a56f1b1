"""What the values of painted masks mean: nothing in a PNG says it, so people do, or they are asked.

In one data set 0 is what nobody painted and 1 the first class, in the next 0 is the first class and 255 is
void; read the wrong way, every class is shifted by one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from workflow.formats.page import Options, Page, Reading
from workflow.tasks import BACKGROUND, VOID_LABEL

# The value of a mask set that has no background.
NONE = "none"
MOST = 20


class Values:
    """The classes of values by what people said of them: their options, else the classes' order.

    `background` is the value that nobody painted. Where that is 0, value k is the k-th class; where it is
    another, or "none", value k is the class after k others. A value that `class_map` names keeps its number
    for a name, and what is `void` is left out.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading, self.options = reading, reading.options
        self.masks: Counter[int] = Counter()
        self.pixels: Counter[int] = Counter()

    def paint(self, page: Page, painted: Any) -> None:
        """A mask for each class of the values (height, width)."""
        counts = np.unique_counts(painted)
        for value, count in zip(counts.values.astype(int).tolist(), counts.counts.tolist(), strict=True):
            self.masks[value] += 1
            self.pixels[value] += count
            label = self.label(value)
            if label in self.options.void or str(value) in self.options.void:
                add_void(page, painted == value)
            elif label not in (None, BACKGROUND):
                page.mask(label, painted == value)

    def label(self, value: int) -> str | None:
        """The class of a value, or background; None where nobody said what it means."""
        if str(value) in self.options.class_map or str(value) in self.options.void:
            return str(value)
        background, classes = self.options.background, self.reading.schema.classes
        if background is None:
            return None
        if background == str(value):
            return BACKGROUND
        index = value - (background == "0")
        return classes[index] if 0 <= index < len(classes) else None

    def refuse_unknown(self, source: Path) -> None:
        """A problem where values were seen that nobody named, with all that were seen."""
        unknown = [value for value in sorted(self.masks) if self.label(value) is None]
        if not unknown:
            return
        total = self.pixels.total()
        seen = [f"{v} in {n} masks ({self.pixels[v] / total:.1%})" for v, n in sorted(self.masks.items())]
        table = ", ".join(seen[:MOST]) + (f" and {len(seen) - MOST} more" if len(seen) > MOST else "")
        first = self.reading.schema.classes[0]
        if self.options.background is None:
            what = (
                f"say what 0 means: --background 0 (nobody painted it, and 1 is {first}) "
                f"or --background none (0 is {first})"
            )
        else:
            what = f"no class has the value {', '.join(map(str, unknown[:MOST]))}"
        more = "--void VALUE is nobody's, --class-map VALUE=CLASS names one"
        self.reading.problems.append(f"{source}: {what}; {more}; values: {table}")


def add_void(page: Page, pixels: Any) -> None:
    """What nobody can name (height, width): neither learned nor counted."""
    page.mask(VOID_LABEL, pixels, ignored=True)


def check_background(options: Options) -> str:
    """What is wrong with the value of the background; empty where nothing is."""
    value = options.background
    good = value is None or value == NONE or value.isdecimal()
    return "" if good else f"--background {value!r} is neither a value nor none"
