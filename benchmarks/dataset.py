"""Building the dataset of JPEGs of 1280 x 960 pixels, 380 KB each: seconds, against `datasets` itself.

Claim: three times as fast as `Dataset.from_generator` and `save_to_disk` of the same rows, in under 500 MB.
Run: python benchmarks/dataset.py [COUNT]     (default 2000; --quick is 24)

Each run is a process of its own; imports and making the labels are not counted. `bytes as Parquet` is the
limit: the same files through pyarrow alone, a picture a row, nothing of ours. Prints a line a way: the median
seconds of five rounds in turn (of one with --quick), the median of the rounds' own ratios to ours, and the
peak memory.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from workflow.project.paths import load_project
from workflow.project.rows import read_catalog, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog

SIZE = (1280, 960)
NOISE, QUALITY, DRAWN = 8.5, 90, 24
HEAD = """
import resource, shutil, sys, time
from pathlib import Path
import datasets, pyarrow as pa, pyarrow.parquet as pq
from workflow.dataset import parquet
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog, read_samples
from workflow.stages import dataset
datasets.disable_progress_bars()
project = load_project(Path(sys.argv[1]))
target = project.folder / "other"
start = time.perf_counter()
"""
TAIL = """
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
shutil.rmtree(target, ignore_errors=True)
"""
WAYS = {
    "workflow dataset": "dataset.run(project, force=True)",
    "from_generator, save_to_disk": """
samples, schema = read_samples(project.labels), project.settings.schema
def rows():
    for number, record in enumerate(read_catalog(project.catalog), 1):
        content = project.shown_path(record).read_bytes()
        yield {"image_id": number} | parquet.to_row(record, content, samples[record.id].annotations, schema)
made = datasets.Dataset.from_generator(rows, parquet.features(schema), cache_dir=str(target / "cache"))
made.save_to_disk(str(target / "saved"))
""",
    "bytes as Parquet": """
target.mkdir()
files = sorted(project.images.iterdir())
kind = pa.schema({"bytes": pa.binary()})
with pq.ParquetWriter(target / "a", kind, compression="none", use_dictionary=False) as writer:
    for first in range(0, len(files), 64):
        contents = [path.read_bytes() for path in files[first : first + 64]]
        writer.write_table(pa.table([pa.array(contents, pa.binary())], schema=kind))
""",
}


def main() -> None:
    quick = "--quick" in sys.argv
    count = 24 if quick else int([*sys.argv[1:], "2000"][0])
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder), count)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for number in range(1 if quick else 5):
            # Whoever comes first in one round comes last in the next.
            for name in list(WAYS)[:: -1 if number % 2 else 1]:
                runs[name].append(run(project, WAYS[name]))
    for name, own in runs.items():
        ratio = median(
            other / ours for (ours, _), (other, _) in zip(runs["workflow dataset"], own, strict=True)
        )
        seconds, peak = median(s for s, _ in own), max(p for _, p in own)
        print(f"{name:30} {seconds:7.2f} s   {ratio:5.2f} times ours   {peak:5.0f} MB")


def make_project(folder: Path, count: int) -> Path:
    """A catalogued project whose images have ten boxes each."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    (folder / "project.toml").write_text('name = "photos"\ntitle = "Photos"\nclasses = ["cat"]\n')
    draw(images, count)
    project = load_project(folder)
    catalog.run(project)
    me = Provenance("person", "1")
    boxes = tuple(Annotation("cat", me, box=(n, n, n + 40.5, n + 30.25), id=f"r{n}") for n in range(10))
    samples = (Sample(record.id, "reviewed", boxes) for record in read_catalog(project.catalog))
    write_rows(project.labels, map(sample_to_row, samples))
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


def run(project: Path, code: str) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a process."""
    command = [sys.executable, "-c", HEAD + code + TAIL, str(project)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.splitlines()[-1].split()
    return float(seconds), float(peak)


if __name__ == "__main__":
    main()
