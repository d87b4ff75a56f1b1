"""Square tables of what was taken for what, for templates/report_matrix.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflow.metrics import NONE, Metrics

# A wider table cannot be read on paper; the rest of the classes share one row and column.
CLASSES = 20
OTHERS = "(others)"
ADDED, DELETED = "(added)", "(deleted)"


@dataclass(frozen=True, slots=True)
class Cell:
    """A count in words, its share of the row, and whether row and column are the same class."""

    text: str
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def confusion(metrics: Metrics, as_shares: bool) -> Matrix:
    """True classes in rows, predicted ones in columns; "(none)" last: counts, or percents of the row."""
    names = list(metrics.classes)
    truths = [metrics.per_class[name]["truths"] for name in names]
    return _matrix(names, metrics.confusion, truths, (NONE, NONE), as_shares)


def fates(became: Mapping[str, Mapping[str, int]], order: Sequence[str]) -> Matrix | None:
    """Classes of guesses in rows, what people made of them in columns; what they deleted and added last.

    `became` is `Figures.became`; None where there is nothing to show.
    """
    known = {name for row in became.values() for name in row} | set(became)
    names = [name for name in order if name in known] + sorted(known - {"", *order})
    if not names:
        return None
    ends = [*names, ""]
    counts = [[became.get(row, {}).get(column, 0) for column in ends] for row in ends]
    return _matrix(names, counts, [sum(row) for row in counts], (ADDED, DELETED), as_shares=False)


def _matrix(
    names: Sequence[str],
    counts: Sequence[Sequence[int]],
    sizes: Sequence[float],
    ends: tuple[str, str],
    as_shares: bool,
) -> Matrix:
    """The table of `counts`, (n + 1, n + 1); of many classes the smallest are put together."""
    by_size = sorted(range(len(names)), key=lambda n: -sizes[n])
    keep = sorted(by_size if len(names) <= CLASSES else by_size[: CLASSES - 1])
    rest = sorted(set(range(len(names))) - set(keep))
    groups = [[n] for n in keep] + ([rest] if rest else []) + [[len(names)]]
    labels = [names[n] for n in keep] + ([OTHERS] if rest else [])
    rows = []
    for number, row in enumerate(groups):
        sums = [sum(counts[r][c] for r in row for c in column) for column in groups]
        total = sum(sums) or 1
        cells = []
        for place, count in enumerate(sums):
            text = f"{100 * count / total:.1f}" if as_shares else str(count)
            same = number == place
            last = same and number == len(groups) - 1
            # What was neither there nor guessed is no number, but for pixels.
            cells.append(Cell("" if last and not as_shares else text, count / total, same and not last))
        rows.append(cells)
    return Matrix([*labels, ends[1]], list(zip([*labels, ends[0]], rows, strict=True)))
