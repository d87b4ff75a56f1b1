"""What a split's rows hold, and what of the labels they could not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of rows, of annotations in them, and of rows without any; `lost` by reason."""

    images: int = 0
    annotations: int = 0
    empty: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def take(self, annotations: int) -> None:
        """Count a row that holds so many annotations."""
        self.images += 1
        self.annotations += annotations
        self.empty += not annotations

    def to_json(self) -> dict[str, int]:
        return {"images": self.images, "annotations": self.annotations, "empty": self.empty}
