"""What a split's rows hold, and what of the labels they could not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of rows, of annotations in them, and of rows without any; `lost` by reason.

    Those that are `ignored` are counted by themselves; a row of nothing else is none without any.
    """

    images: int = 0
    annotations: int = 0
    empty: int = 0
    ignored: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def take(self, annotations: int, ignored: int = 0) -> None:
        """Count a row that holds so many annotations, and so many that are ignored."""
        self.images += 1
        self.annotations += annotations
        self.empty += not annotations and not ignored
        self.ignored += ignored

    def to_json(self) -> dict[str, int]:
        counts = {"images": self.images, "annotations": self.annotations, "empty": self.empty}
        return counts | ({"ignored": self.ignored} if self.ignored else {})
