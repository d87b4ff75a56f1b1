"""Near-copies: how many of five kinds are found, whether any straddles, and what 100,000 images take.

Claims: recall above .384 at a precision of .99 or more (imagededup's CNN has .384 at .999, of other images).
Of 2,000 images with 10 % planted copies, which come in three batches, none lies on another side than its
copy. 100,000 images are compared, each with each, in minutes, in memory that does not grow with their pairs.
Run: python benchmarks/duplicates.py [COUNT]     (default 100000; --quick is 4000, and 60 images)

The images are made: soft random shapes with noise. Copies are resized to three fifths, recompressed at
quality 30, cropped by 2 % on each side, mirrored or tinted. The hashes of the last claim are random.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.alike.pictures import COPIES, picture
from workflow.alike.hashes import MOST, Hashes, hashes_of, pairs
from workflow.images import thumbnail
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog
from workflow.stages import catalog

TOML = 'name = "copies"\ntitle = "Copies"\nclasses = ["a"]\n[split]\nnear_duplicates = true\n'


def main() -> None:
    quick = "--quick" in sys.argv
    count = 4000 if quick else int([*sys.argv[1:], "100000"][0])
    images = 60 if quick else 2000
    found(images // 2)
    with tempfile.TemporaryDirectory() as folder:
        straddling(Path(folder), images)
    speed(count)


def found(count: int) -> None:
    """Recall of each kind, and precision over all."""
    originals = [picture(n) for n in range(count)]
    first = hashes(originals)
    right = wrong = 0
    for name, copy in COPIES.items():
        near = pairs(hashes([copy(image) for image in originals]), first)
        hits = int((near.first == near.second).sum())
        right, wrong = right + hits, wrong + len(near) - hits
        print(f"{name:14} recall {hits / count:.3f} of {count}", flush=True)
    recall, precision = right / (count * len(COPIES)), right / (right + wrong)
    print(f"{'all':14} recall {recall:.3f}, precision {precision:.4f}", flush=True)


def hashes(images: list) -> Hashes:
    return hashes_of(asdict(thumbnail.measure(thumbnail.reduced(image))) for image in images)


def straddling(root: Path, count: int) -> None:
    """Catalog images and planted copies in three batches, shuffled, and count what lies on two sides."""
    (root / "data" / "images").mkdir(parents=True)
    (root / "project.toml").write_text(TOML)
    project = load_project(root)
    rng, kinds = random.Random(0), [kind for name, kind in COPIES.items() if name != "cropped"]
    files = {f"{n}": picture(n, 120, 90) for n in range(count)}
    planted = rng.sample(range(count), count // 10)
    files |= {f"{n}-copy": kinds[k % len(kinds)](files[f"{n}"]) for k, n in enumerate(planted)}
    names = sorted(files)
    rng.shuffle(names)
    for part in range(3):
        for name in names[part::3]:
            files[name].save(project.images / f"{name}.png")
        catalog.run(project)
    sides: dict[str, set[str]] = {}
    for record in read_catalog(project.catalog):
        sides.setdefault(Path(record.path).stem.partition("-")[0], set()).add(record.split)
    torn = sum(len(found) > 1 for found in sides.values())
    print(f"{len(planted)} copies planted in {count} images: {torn} straddle", flush=True)


def speed(count: int) -> None:
    """Compare random hashes, each with each."""
    rng = np.random.default_rng(0)
    across, down, left, right = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(4))
    many = Hashes(across, down, left, right, np.full(count, MOST, dtype=np.int8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, cpu = time.perf_counter(), time.process_time()
    pairs(many)
    took, busy = time.perf_counter() - start, time.process_time() - cpu
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    told = f"{took:.1f} s ({busy:.1f} of a core), {grown:.0f} MB more at its peak"
    print(f"{count} images, each with each: {told}")


if __name__ == "__main__":
    main()
