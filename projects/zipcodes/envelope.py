"""Paper, ink, stamps and the camera: what handwritten and printed envelopes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of float32: a picture, or a mask from 0 to 1
Box = list[float]

WIDTH, HEIGHT = 384, 256
# Everything is drawn at twice the size and shrunk, which gives smooth edges and sub-pixel boxes.
ZOOM = 2
GLYPH = 64

TEXTURES = ("brick", "grass", "gravel", "moon")
STAMPS = ("chelsea", "coffee", "rocket", "astronaut", "camera", "coins")
# BGR, like every picture in this file until it is saved.
PAPERS = ((246, 248, 250), (214, 236, 246), (176, 208, 228), (236, 226, 212), (222, 222, 244))
DESKS = ((70, 96, 128), (120, 116, 110), (92, 104, 84), (60, 66, 84))


def photo(name: str) -> NDArray[Any]:
    # Imported late: it takes seconds, and a demo that is drawn already must not wait for it.
    from skimage import data

    return np.asarray(getattr(data, name)())


@cache
def texture(name: str) -> Array:
    """A shipped photo as a grey pattern of mean 0 and deviation 1."""
    grey = photo(name).astype(np.float32)
    return (grey - grey.mean()) / grey.std()


@cache
def picture(name: str) -> Array:
    """A shipped photo in colour, cut to the shape of a stamp."""
    image = photo(name)
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    side = min(rgb.shape[0], int(rgb.shape[1] * 1.2))
    left = (rgb.shape[1] - int(side / 1.2)) // 2
    cut = rgb[:side, left : left + int(side / 1.2), ::-1]
    return cv2.resize(cut, (80, 96), interpolation=cv2.INTER_AREA).astype(np.float32)


def pattern(rng: np.random.Generator, name: str, height: int, width: int) -> Array:
    """A random cut of a texture, stretched over the wanted area."""
    source = texture(name)
    side = int(rng.integers(source.shape[0] // 2, source.shape[0]))
    top, left = rng.integers(0, source.shape[0] - side + 1, 2)
    cut = source[top : top + side, left : left + side]
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR)


def blank_paper(rng: np.random.Generator, height: int, width: int, strength: float) -> Array:
    """Coloured paper; `strength` is how far the texture moves its brightness, in grey levels."""
    sheet = np.empty((height, width, 3), np.float32)
    sheet[:] = np.asarray(PAPERS[rng.integers(len(PAPERS))]) - rng.uniform(0, 14)
    grain = pattern(rng, TEXTURES[rng.integers(len(TEXTURES))], height, width)
    sheet += np.clip(grain, -2, 2)[..., None] * strength
    return sheet


def ink_in(sheet: Array, mask: Array, colour: Sequence[float], strength: float = 0.92) -> None:
    """Lay ink on paper, in place; the paper shines through a little."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    # Only where there is ink: a digit covers a hundredth of the sheet.
    place = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = (mask[place] * strength)[..., None]
    sheet[place] += alpha * (np.asarray(colour, np.float32) - sheet[place])


def strokes(shape: tuple[int, ...], lines: Sequence[NDArray[Any]], width: int) -> Array:
    """A mask of smooth pen lines, points as (x, y)."""
    mask = np.zeros(shape[:2], np.uint8)
    points = [np.round(line * 16).astype(np.int32).reshape(-1, 1, 2) for line in lines]
    cv2.polylines(mask, points, False, 255, width, cv2.LINE_AA, shift=4)
    return mask.astype(np.float32) / 255


def scribble(rng: np.random.Generator, x: float, y: float, length: float, size: float) -> list[NDArray[Any]]:
    """A line of handwriting nobody can read: words made of loops."""
    words, end = [], x + length
    while x < end - 2 * size:
        letters = min(int(rng.integers(3, 9)), int((end - x) / (size * 0.62)))
        width = letters * size * 0.62
        t = np.linspace(0, 1, letters * 12)
        turn = t * letters * 2 * np.pi + rng.uniform(0, 6)
        # Each letter has a height of its own, so that some rise above and some hang below.
        heights = np.interp(t, np.linspace(0, 1, letters + 1), rng.uniform(0.3, 1, letters + 1))
        xs = x + t * width + np.sin(turn) * size * 0.22
        ys = y - np.cos(turn + rng.uniform(-0.6, 0.6)) * size * 0.5 * heights + t * rng.normal(0, 2)
        words.append(np.stack([xs, ys], axis=1))
        x += width + size * rng.uniform(0.5, 1.0)
    return words


def put_airmail_border(sheet: Array) -> None:
    """Red and blue stripes round the edge."""
    height, width = sheet.shape[:2]
    ys, xs = np.mgrid[:height, :width]
    edge = np.minimum(np.minimum(xs, width - 1 - xs), np.minimum(ys, height - 1 - ys)) < 14
    band = ((xs + ys) // 20) % 4
    ink_in(sheet, (edge & (band == 0)).astype(np.float32), (60, 52, 196), 0.8)
    ink_in(sheet, (edge & (band == 2)).astype(np.float32), (160, 92, 36), 0.8)


def put_stamp(rng: np.random.Generator, sheet: Array) -> None:
    """A perforated stamp in the top right corner, with a postmark across it."""
    art = picture(STAMPS[rng.integers(len(STAMPS))])
    tall, wide = art.shape[0] + 16, art.shape[1] + 16
    top = int(rng.integers(26, 38))
    left = sheet.shape[1] - wide - int(rng.integers(28, 46))
    stamp = np.full((tall, wide, 3), 244, np.float32)
    stamp[8:-8, 8:-8] = art * 0.8 + 44
    holes = np.ones((tall, wide), np.float32)
    for x in range(0, wide + 1, 8):
        for y in (0, tall - 1):
            cv2.circle(holes, (x, y), 2, 0.0, -1, cv2.LINE_AA)
    for y in range(0, tall + 1, 8):
        for x in (0, wide - 1):
            cv2.circle(holes, (x, y), 2, 0.0, -1, cv2.LINE_AA)
    place = sheet[top : top + tall, left : left + wide]
    place[:] = place * (1 - holes[..., None]) + stamp * holes[..., None]
    x, y = left - int(rng.integers(10, 30)), top + int(rng.integers(40, 70))
    turn = np.linspace(0, 2 * np.pi, 60)
    lines = [np.stack([x + r * np.cos(turn), y + r * np.sin(turn)], 1) for r in (24, 36)]
    along = np.linspace(36, 36 + wide, 60)
    for k in range(-2, 3):
        lines.append(np.stack([x + along, y + 12 * k + 4 * np.sin(along / 8)], 1))
    ink_in(sheet, strokes(sheet.shape, lines, 2), (70, 60, 60), 0.55)


def write_row(
    rng: np.random.Generator,
    sheet: Array,
    glyphs: Sequence[Array],
    at: tuple[float, float],
    size: float,
    slant: float,
    colour: Sequence[float],
) -> list[Array]:
    """Write glyphs on the sheet from left to right; returns the ink mask of each."""
    x, y = at
    climb, masks = rng.uniform(-0.06, 0.06), []
    for glyph in glyphs:
        columns = np.flatnonzero(glyph.max(axis=0) > 0.4)
        scale = size / GLYPH * rng.uniform(0.92, 1.08)
        angle = climb + rng.normal(0, 0.03)
        turn = np.array([[1, -angle], [angle, 1]]) @ np.array([[1, -slant], [0, 1]]) * scale
        shift = np.array([x, y + rng.normal(0, size * 0.03)]) - turn @ [columns[0], GLYPH / 2]
        matrix = np.column_stack([turn, shift])
        mask = cv2.warpAffine(glyph, matrix, sheet.shape[1::-1], flags=cv2.INTER_LINEAR)
        ink_in(sheet, mask, colour)
        masks.append(mask)
        step = (columns[-1] - columns[0]) * scale + size * rng.uniform(0.16, 0.3)
        x, y = x + step, y + step * climb
    return masks


def photograph(
    rng: np.random.Generator, sheet: Array, masks: Sequence[Array], plain: bool = False
) -> tuple[NDArray[np.uint8], list[Box]]:
    """Lay the sheet on a desk and take a picture; returns it with the box of each mask's ink."""
    height, width = sheet.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    centre = np.array([width, height]) / 2
    angle, scale = rng.uniform(-0.07, 0.07), rng.uniform(0.9, 0.97)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (corners - centre) @ turn.T + centre + rng.uniform(-8, 8, (4, 2))
    lens = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
    view = np.empty_like(sheet)
    view[:] = DESKS[rng.integers(len(DESKS))]
    if not plain:
        name = TEXTURES[rng.integers(3)]
        view += np.clip(pattern(rng, name, height, width), -2, 2)[..., None] * 18
    cover = cv2.warpPerspective(np.ones((height, width), np.float32), lens, (width, height))
    shadow = cv2.GaussianBlur(np.roll(cover, (10, 8), (0, 1)), (0, 0), 9)
    view *= 1 - 0.55 * shadow[..., None]
    laid = cv2.warpPerspective(sheet, lens, (width, height), borderMode=cv2.BORDER_REPLICATE)
    view += (laid - view) * cover[..., None]
    boxes = [ink_box(cv2.warpPerspective(mask, lens, (width, height))) for mask in masks]
    return expose(rng, view), boxes


def ink_box(mask: Array) -> Box:
    """The tight box round what the pen left, in pixels of the finished picture."""
    ys, xs = np.nonzero(mask > 0.4)
    edges = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    return [float(edge) / ZOOM for edge in edges]


def expose(rng: np.random.Generator, view: Array) -> NDArray[np.uint8]:
    """Light, focus and noise of the camera."""
    small = cv2.resize(view, None, fx=1 / ZOOM, fy=1 / ZOOM, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = (xs * np.cos(angle) + ys * np.sin(angle)) * rng.uniform(0.02, 0.2)
    light = rng.uniform(0.68, 1.0) * (1 + slope - 0.06 * (xs**2 + ys**2))
    warmth = np.array([1 - rng.uniform(0, 0.12), 1.0, 1 + rng.uniform(-0.02, 0.03)])
    small = small * light[..., None] * warmth
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.25, 0.95))
    small += rng.normal(0, rng.uniform(1.5, 5), small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)
