"""Put together the raw images of this project from what installed packages carry: nothing to download.

Thumbnails, as an old archive is full of: faces of a hundred people and scraps of the backgrounds behind
others (Labeled Faces in the Wild, in scikit-image), digits by many hands (scikit-learn), and scraps of
brick, grass and gravel (scikit-image) that do not overlap. No two show the same thing, so any split is fair.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 25
SHOWN = 200
UNREADABLE = {"face-017.png", "texture-031.png"}
Gray = NDArray[np.float64]


def data_of(package: str, name: str) -> Path:
    """A file that an installed package carries, found without importing the package."""
    found = find_spec(package)
    assert found is not None and found.origin is not None, f"pip install {package}"
    return Path(found.origin).parent / name


def faces_and_scenes() -> tuple[Gray, Gray]:
    """A hundred faces and a hundred scraps without one (n, 25, 25), in [0, 1]."""
    both = np.load(data_of("skimage", "data/lfw_subset.npy"))
    return both[:100], both[100:]


def handwriting(count: int, rng: np.random.Generator) -> Iterator[Gray]:
    """Digits as dark strokes on light paper."""
    from sklearn.datasets import load_digits

    images = load_digits().images / 16
    for number in rng.choice(len(images), count, replace=False):
        small = Image.fromarray(np.pad(images[number], 1))
        yield 0.9 - 0.8 * np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 1)


def textures(count: int, rng: np.random.Generator) -> Iterator[Gray]:
    """Squares of three photographs, none over another, scaled down."""
    each = -(-count // 3)
    for name in ("brick", "grass", "gravel"):
        photograph = Image.open(data_of("skimage", f"data/{name}.png")).convert("L")
        columns = photograph.width // 64
        for place in rng.choice(columns * (photograph.height // 64), each, replace=False).tolist():
            x, y = place % columns * 64, place // columns * 64
            scrap = photograph.crop((x, y, x + 64, y + 64)).resize((SIDE, SIDE), Image.Resampling.BOX)
            yield np.asarray(scrap) / 255


def thumbnails(count: int, seed: int) -> Iterator[tuple[str, str, Gray]]:
    """(file, class, pixels) of at most `count` of each class."""
    rng = np.random.default_rng(seed)
    faces, scenes = faces_and_scenes()
    drawn = {
        "face": iter(faces),
        "scene": iter(scenes),
        "handwriting": handwriting(count, rng),
        "texture": textures(count, rng),
    }
    for label, pictures in drawn.items():
        for number, pixels in zip(range(count), pictures, strict=False):
            yield f"{label}-{number:03d}.png", label, pixels


def draw_thumbnails(out: Path, count: int = 60, seed: int = 0) -> int:
    """Write the thumbnails and the truth below `out` unless they are there; returns how many there are."""
    images, truth = out / "images", out / "truth" / "truth.jsonl"
    drawn = list(thumbnails(count, seed))
    lines = [
        {"file": file, "annotations": [], "unreadable": True}
        if file in UNREADABLE
        else {"file": file, "annotations": [{"label": label}]}
        for file, label, _ in drawn
    ]
    wanted = "".join(json.dumps(line) + "\n" for line in lines)
    there = truth.is_file() and truth.read_text("utf-8") == wanted
    if there and all((images / file).is_file() for file, *_ in drawn):
        return len(drawn)
    truth.unlink(missing_ok=True)
    for folder in (images, truth.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for file, _, pixels in drawn:
        levels = (pixels * (6 if file in UNREADABLE else 255)).astype(np.uint8)
        draft = (images / file).with_suffix(".tmp")
        Image.fromarray(levels).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC).save(draft, "PNG")
        draft.replace(images / file)
    draft = truth.with_suffix(".tmp")
    draft.write_text(wanted, encoding="utf-8")
    draft.replace(truth)
    return len(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(f"{draw_thumbnails(chosen.out, chosen.count, chosen.seed)} thumbnails in {chosen.out}")


if __name__ == "__main__":
    main()
