"""Cut the raw images of this project from photographs that installed packages carry: nothing to download.

Each photograph is shown in several cuttings, as a camera that moves would see it, and all cuttings of one
photograph stay on one side of the split: their names begin with its name.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

# Class -> (package, file within it). The two motorcycles are one scene, seen by two lenses.
PHOTOGRAPHS = {
    "person": [
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/camera.png"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        ("ultralytics", "assets/zidane.jpg"),
    ],
    "vehicle": [
        ("skimage", "data/rocket.jpg"),
        ("skimage", "data/motorcycle_left.png"),
        ("ultralytics", "assets/bus.jpg"),
    ],
    "texture": [("skimage", "data/brick.png"), ("skimage", "data/grass.png"), ("skimage", "data/gravel.png")],
    "specimen": [("skimage", "data/ihc.png"), ("skimage", "data/cell.png"), ("skimage", "data/retina.jpg")],
    "document": [("skimage", "data/page.png"), ("skimage", "data/text.png")],
}
SIDE = 320
UNREADABLE = {("rocket", 3)}


def find_photographs() -> list[tuple[str, Path]]:
    """(class, file) of every photograph whose package is installed, without importing the package."""
    found = []
    for label, files in PHOTOGRAPHS.items():
        for package, name in files:
            spec = find_spec(package)
            path = Path(spec.origin).parent / name if spec and spec.origin else None
            if path and path.exists():
                found.append((label, path))
    return found


def cut(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Half to nine tenths of the photograph, perhaps mirrored, a little brighter or darker."""
    width, height = photograph.size
    side = int(min(width, height) * rng.uniform(0.5, 0.9))
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    seen = photograph.crop((left, top, left + side, top + side)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    if rng.random() < 0.5:
        seen = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(seen).enhance(rng.uniform(0.75, 1.25))


def draw_photographs(out: Path, count: int = 12, seed: int = 0) -> int:
    """Write `count` cuttings of each photograph below `out` unless they are there; returns how many."""
    images, truth = out / "images", out / "truth" / "truth.jsonl"
    photographs = find_photographs()
    lines = [
        {"file": f"{path.stem}-{n:02d}.jpg", "annotations": [{"label": label}]}
        | ({"annotations": [], "unreadable": True} if (path.stem, n) in UNREADABLE else {})
        for label, path in photographs
        for n in range(count)
    ]
    wanted = "".join(json.dumps(line) + "\n" for line in lines)
    drawn = truth.is_file() and truth.read_text("utf-8") == wanted
    if drawn and all((images / line["file"]).is_file() for line in lines):
        return len(lines)
    for folder in (images, truth.parent):
        folder.mkdir(parents=True, exist_ok=True)
    truth.unlink(missing_ok=True)
    for number, (_, path) in enumerate(photographs):
        photograph = Image.open(path).convert("RGB")
        for n in range(count):
            seen = cut(photograph, np.random.default_rng([seed, number, n]))
            if (path.stem, n) in UNREADABLE:
                seen = Image.fromarray((np.asarray(seen) * 0.02).astype(np.uint8))
            draft = images / f"{path.stem}-{n:02d}.tmp"
            seen.save(draft, format="JPEG", quality=90)
            draft.replace(draft.with_suffix(".jpg"))
    draft = truth.with_suffix(".tmp")
    draft.write_text(wanted, encoding="utf-8")
    draft.replace(truth)
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(f"{draw_photographs(chosen.out, chosen.count, chosen.seed)} photographs in {chosen.out}")


if __name__ == "__main__":
    main()
