"""Decoding keeps within a budget: reckoned before it starts, and held under a hard limit of the system."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.images.awkward import chunks, saved
from workflow.errors import ImageError
from workflow.images import decode, memory
from workflow.images.memory import Gate


def test_a_budget_is_as_set_or_a_share_of_the_machine() -> None:
    assert memory.budget(1.5) == 1_500_000_000
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < memory.budget(None) <= total / 8


def test_what_needs_more_than_the_budget_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 1000)).save(tmp_path / "a.png")
    with pytest.raises(ImageError) as error:
        decode.from_file(tmp_path / "a.png", memory=0.005)
    assert str(error.value) == (
        f"{tmp_path / 'a.png'}: takes 0.0075 GB of memory to decode, more than 0.005 GB"
        " -> raise images.memory if that is meant"
    )
    assert decode.from_file(tmp_path / "a.png", memory=0.01).shape == (1000, 1000, 3)


def test_decoders_that_do_not_fit_together_wait_for_each_other() -> None:
    gate, inside, most = Gate(), [], []
    lock = threading.Lock()

    def work(need: int) -> None:
        with gate.taking(need, 100):
            with lock:
                inside.append(need)
                most.append(list(inside))
            time.sleep(0.02)
            with lock:
                inside.remove(need)

    threads = [threading.Thread(target=work, args=(need,)) for need in (60, 60, 60, 30, 30, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(sum(some) <= 100 or len(some) == 1 for some in most)
    assert max(sum(some) for some in most if 200 not in some) > 60


def _huge_webp() -> bytes:
    """One colour with transparency, 14,000 x 14,000, in a few bytes (VP8L)."""
    tiny = saved("WEBP", Image.new("RGBA", (1, 1), (1, 2, 3, 9)), lossless=True)
    at = tiny.index(b"VP8L") + 9
    bits = (13999) | (13999 << 14) | (int.from_bytes(tiny[at : at + 4], "little") & (0xF << 28))
    return tiny[:at] + struct.pack("<I", bits) + tiny[at + 4 :]


def _huge_png() -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(14001)
    content = b"".join(packer.compress(row) for _ in range(14000)) + packer.flush()
    head = struct.pack(">IIBBBBB", 14000, 14000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunks(((b"IHDR", head), (b"IDAT", content), (b"IEND", b"")))


def _many_scans() -> bytes:
    content = saved("JPEG", Image.new("RGB", (4000, 4000), (9, 99, 199)), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + 600 * content[last:-2] + content[-2:]


# The highest resident size of a process in bytes; the system's `getrusage` counts its parent's too.
PEAK = """
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
"""
CATALOG = (
    PEAK
    + """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
from pathlib import Path
from workflow.project.paths import load_project
from workflow.stages import catalog
print(catalog.run(load_project(Path(sys.argv[1]))).did)
print(peak())
"""
)


@pytest.mark.parametrize("setting", ["", "[images]\nmemory = 0.6\n"], ids=["share", "set"])
def test_hostile_images_keep_within_a_hard_limit(tmp_path: Path, setting: str) -> None:
    """Half a megabyte of files that would take gigabytes, below 200 megapixels each."""
    (tmp_path / "project.toml").write_text('name = "pets"\ntitle = "Pets"\nclasses = ["cat"]\n' + setting)
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    (folder / "a.webp").write_bytes(_huge_webp())
    (folder / "b.png").write_bytes(_huge_png())
    Image.new("L", (1, 20_000)).save(folder / "c.png")
    (folder / "d.jpg").write_bytes(_many_scans())
    Image.new("RGB", (20, 10)).save(folder / "good.png")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CATALOG, str(tmp_path), str(2_000_000_000)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    quarantined = (tmp_path / "data" / "quarantine.jsonl").read_text()
    assert '"reason":"too-many-scans"' in quarantined
    assert quarantined.count('"reason":"too-large"') >= 1
    assert "good.png" in (tmp_path / "data" / "catalog.jsonl").read_text()
    assert '"c.png"' in (tmp_path / "data" / "catalog.jsonl").read_text()
    assert int(done.stdout.splitlines()[-1]) < 1_200_000_000
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "subsampling": 0}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"speed": 10}),
        ("JPEG2000", {}),
        ("PNG", {"exif": Image.Exif()}),
    ],
)
def test_the_reckoning_is_no_less_than_what_is_taken(tmp_path: Path, kind: str, options: dict) -> None:
    if "exif" in options:
        options["exif"][274] = 6
    path = tmp_path / "a"
    Image.radial_gradient("L").resize((3000, 3000)).convert("RGB").save(path, kind, **options)
    code = (
        f"import sys\nfrom pathlib import Path\nfrom workflow.images import decode\n{PEAK}\n"
        "decode.from_file(Path(sys.argv[2]))\nbefore = peak()\n"
        "decode.from_file(Path(sys.argv[1]))\nprint(peak() - before)"
    )
    Image.new("RGB", (9, 9)).save(tmp_path / "small", kind, **options)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "small")],
        capture_output=True,
        text=True,
        check=True,
    )
    taken = int(done.stdout)
    with Image.open(path) as image, path.open("rb") as file:
        need = decode._open(image, file, "a").need
    assert 0.2 * need < taken <= need * 1.05
