"""Cataloguing JPEGs of 1280 x 960 pixels: its rate over that of libjpeg's reduced decode alone, on all cores.

Claim: at least 0.9 of the limit. The limit is the reduced decode and nothing else: bare threads open each
file with Pillow and load it at 1/8, as gray (what the catalog does) and as RGB; no hash, nothing of ours.
Run: python benchmarks/catalog.py [COUNT]     (default 2000; --quick is 24)

Prints a line a way: the median of five rounds in turn (of one with --quick), and the median of the rounds'
own ratios of the catalog to it; then what a catalog costs that has one file to read anew, and the peak memory
of processes that catalog so many, and ten times as many, tiny images. Files are in the page cache.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from workflow.project.paths import load_project
from workflow.running.cores import cores
from workflow.stages import catalog

SIZE = (1280, 960)
# Noise of so many grays makes files of 380 KB at quality 90.
NOISE, QUALITY, DRAWN = 8.5, 90, 24
CHILD = """
import resource, sys
from pathlib import Path
from workflow.project.paths import load_project
from workflow.stages import catalog
catalog.run(load_project(Path(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    quick = "--quick" in sys.argv
    count = 24 if quick else int([*sys.argv[1:], "2000"][0])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project = make_project(root / "photos")
        draw(project / "data" / "images", count)
        rates = measure(project, count, 1 if quick else 5)
        for name, own in rates.items():
            ratio = median(a / b for a, b in zip(rates["catalog"], own, strict=True))
            print(f"{name:28} {median(own):8.1f} images/s   catalog over it {ratio:.3f}", flush=True)
        print(f"{'one file is new':28} {count / again(project):8.1f} images/s")
        few, many = (peak(root / str(n), n) for n in (count, 10 * count))
        print(f"peak memory of {count} and {10 * count} tiny images: {few:.0f} and {many:.0f} MB")


def make_project(folder: Path) -> Path:
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "project.toml").write_text('name = "photos"\ntitle = "Photos"\nclasses = ["cat"]\n')
    return folder


def draw(folder: Path, count: int) -> None:
    """Smooth colours under noise. No two files have the same bytes: each has a comment of its own."""
    width, height = SIZE
    contents = []
    for seed in range(min(count, DRAWN)):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC))
        pixels = np.clip(smooth + rng.normal(0, NOISE, smooth.shape), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
        contents.append(file.getvalue())
    for number in range(count):
        content = contents[number % len(contents)]
        comment = b"\xff\xfe\x00\x0a" + b"%08d" % number
        (folder / f"{number:06}.jpg").write_bytes(content[:2] + comment + content[2:])


def measure(project: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Images/s of each way in each round; the ways take turns."""
    files = sorted((project / "data" / "images").iterdir())
    ways: dict[str, Callable[[], object]] = {
        "catalog": lambda: whole(project),
        "reduced decode, gray": lambda: threaded(files, lambda path: reduced(path, "L")),
        "reduced decode, RGB": lambda: threaded(files, lambda path: reduced(path, "RGB")),
        "full decode": lambda: threaded(files, full),
        "SHA-256": lambda: threaded(files, lambda path: sha256(path.read_bytes()).hexdigest()),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        # Whoever comes first in one round comes last in the next.
        for name in list(ways)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            ways[name]()
            rates[name].append(count / (time.perf_counter() - start))
    return rates


def whole(project: Path) -> None:
    for path in (project / "data").iterdir():
        if path.name != "images":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    catalog.run(load_project(project))


def again(project: Path) -> float:
    """Seconds of a catalog for which one file has changed since, and no other is read."""
    first = min((project / "data" / "images").iterdir())
    first.write_bytes(first.read_bytes() + b"\0")
    start = time.perf_counter()
    catalog.run(load_project(project))
    return time.perf_counter() - start


def threaded(files: list[Path], work: Callable[[Path], object]) -> None:
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(work, files))


def reduced(path: Path, mode: str) -> None:
    with Image.open(path) as image:
        image.draft(mode, (image.width // 8, image.height // 8))
        image.load()


def full(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def peak(folder: Path, count: int) -> float:
    """Peak resident memory in MB of a process that catalogs `count` images of 8 x 8 pixels."""
    project = make_project(folder)
    for number in range(count):
        pixels = np.full((8, 8, 3), (number % 256, number // 256 % 256, number // 65536), np.uint8)
        Image.fromarray(pixels).save(project / "data" / "images" / f"{number:06}.png")
    command = [sys.executable, "-c", CHILD, str(project)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
