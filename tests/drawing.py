"""MaskStyle for the tests: what has gone wrong elsewhere, by name, and any others as sums of rectangles.

And the images of the example projects.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st


def _mask(height: int, width: int, *rectangles: tuple[int, int, int, int]) -> np.ndarray:
    """Rectangles (x1, y1, x2, y2), each of which turns over what it covers: one in another is a hole."""
    pixels = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in rectangles:
        pixels[y1:y2, x1:x2] ^= True
    return pixels


SHAPES = {
    "empty": _mask(6, 9),
    "full": _mask(6, 9, (0, 0, 9, 6)),
    "one pixel of one": _mask(1, 1, (0, 0, 1, 1)),
    "one pixel": _mask(6, 9, (4, 3, 5, 4)),
    "last pixel": _mask(6, 9, (8, 5, 9, 6)),
    "hole": _mask(20, 30, (2, 2, 28, 18), (10, 5, 20, 12)),
    "part in the hole": _mask(20, 30, (2, 2, 28, 18), (8, 4, 22, 14), (12, 6, 16, 10)),
    "parts": _mask(20, 30, (0, 0, 3, 3), (10, 10, 14, 12), (29, 19, 30, 20)),
    "touches every edge": _mask(20, 30, (0, 9, 30, 11), (14, 0, 16, 20)),
    "frame": _mask(20, 30, (0, 0, 30, 20), (1, 1, 29, 19)),
    "20,000 wide": _mask(12, 20_000, (0, 0, 20_000, 5), (3, 2, 19_999, 3), (19_999, 11, 20_000, 12)),
    "20,000 high": _mask(20_000, 7, (0, 0, 5, 20_000), (6, 19_999, 7, 20_000)),
    "checkered": np.indices((33, 31)).sum(axis=0) % 2 == 1,
    "noise": np.random.default_rng(7).random((40, 61)) < 0.5,
}


@st.composite
def masks_of_rectangles(draw: st.DrawFn) -> np.ndarray:
    """Up to 20,000 px wide, with holes, parts and single pixels, now and then with noise."""
    height, width = draw(st.integers(1, 40)), draw(st.one_of(st.integers(1, 64), st.integers(1, 20_000)))
    x, y = st.integers(0, width - 1), st.integers(0, height - 1)
    corners = draw(st.lists(st.tuples(x, y, x, y), max_size=6))
    found = _mask(
        height, width, *((min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners)
    )
    if width <= 64 and draw(st.booleans()):
        found ^= np.random.default_rng(draw(st.integers(0, 99))).random(found.shape) < 0.5
    return found


def run_draw(project: str, function: str) -> Callable[..., int]:
    """A function of an example project's draw.py, which imports what lies beside it."""
    folder = Path(__file__).parents[1] / "projects" / project
    sys.path.insert(0, str(folder))
    try:
        return runpy.run_path(str(folder / "draw.py"), run_name="draw")[function]
    finally:
        sys.path.remove(str(folder))
