"""Which images are near-copies, by their hashes: found, not taken for copies, not compared, and fast."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tests.alike.pictures import COPIES, mirrored, picture
from workflow.alike.hashes import MOST, Hashes, clusters, hashes_of, pairs
from workflow.images import thumbnail

COUNT = 120


def hashes(*images: Image.Image) -> Hashes:
    return hashes_of(asdict(thumbnail.measure(thumbnail.reduced(image))) for image in images)


def random_hashes(count: int, seed: int = 0) -> Hashes:
    rng = np.random.default_rng(seed)
    across, down, left, right = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(4))
    return Hashes(across, down, left, right, np.full(count, MOST, dtype=np.int8))


def test_copies_are_found_and_others_are_not_taken_for_copies() -> None:
    """imagededup's benchmark, of five copies an image; its CNN finds .384 of them, .999 of it right."""
    originals = [picture(seed) for seed in range(COUNT)]
    first = hashes(*originals)
    found = dict.fromkeys(COPIES, 0)
    right = wrong = 0
    for name, copy in COPIES.items():
        near = pairs(hashes(*map(copy, originals)), first)
        found[name] = int((near.first == near.second).sum())
        right, wrong = right + found[name], wrong + len(near) - found[name]
    assert right / (right + wrong) >= 0.99
    assert right / (COUNT * len(COPIES)) > 0.75, found
    assert all(count > 0.95 * COUNT for name, count in found.items() if name != "cropped"), found
    assert found["cropped"] > 0.25 * COUNT
    assert len(pairs(first)) == 0


def test_pairs_are_those_of_comparing_each_with_each() -> None:
    rng = np.random.default_rng(4)
    one = random_hashes(150)
    # Some near ones, some of them mirrored.
    for n in range(0, 60, 2):
        side = (one.across, one.down) if n % 4 else (one.mirrored_across, one.mirrored_down)
        for words, source in zip((one.across, one.down), side, strict=True):
            words[n + 1] = source[n] ^ np.uint64(sum(1 << int(b) for b in rng.choice(64, n % 9, False)))
    one.limits[rng.integers(0, 150, 20)] = 3
    one.limits[10] = -1
    found = pairs(one)

    def apart(a: tuple[int, int], b: tuple[int, int]) -> int:
        return sum((int(x) ^ int(y)).bit_count() for x, y in zip(a, b, strict=True))

    plain = list(zip(one.across.tolist(), one.down.tolist(), strict=True))
    turned = list(zip(one.mirrored_across.tolist(), one.mirrored_down.tolist(), strict=True))
    expected = []
    for i in range(150):
        for j in range(i + 1, 150):
            bits = min(apart(plain[i], plain[j]), apart(plain[i], turned[j]), apart(turned[i], plain[j]))
            if bits <= min(one.limits[i], one.limits[j]):
                expected.append((i, j, bits))
    assert (
        list(zip(found.first.tolist(), found.second.tolist(), found.bits.tolist(), strict=True)) == expected
    )
    assert len(expected) > 10


def test_flat_dark_and_empty_images_are_no_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    slope = np.tile(np.linspace(0, 255, 240, dtype=np.uint8), (180, 1))
    blank = [Image.new("L", (240, 180), gray) for gray in (0, 0, 3, 255, 255)]
    dark = [Image.fromarray(rng.integers(0, 3, (180, 240), dtype=np.uint8)) for _ in range(6)]
    spots = [Image.new("L", (240, 180), 240) for _ in range(4)]
    for n, image in enumerate(spots):
        image.paste(20, (20 + 50 * n, 70, 40 + 50 * n, 90))
    assert len(pairs(hashes(*blank, *dark, *spots))) == 0
    # What has an outline everywhere is compared, though it is but a slope.
    assert len(pairs(hashes(Image.fromarray(slope), Image.fromarray(slope[:, ::2].copy())))) == 1


def test_the_hash_of_the_mirrored_image_is_the_mirrored_hash() -> None:
    plain, turned = (hashes(*(f(picture(n)) for n in range(8))) for f in (lambda image: image, mirrored))
    for one, other in ((plain, turned), (turned, plain)):
        # But for a gray that is rounded the other way.
        assert np.bitwise_count(one.mirrored_across ^ other.across).max() <= 2
        assert np.bitwise_count(one.mirrored_down ^ other.down).max() <= 2
        assert np.bitwise_count(one.across ^ other.across).min() > 16


@pytest.mark.parametrize("count", [0, 1])
def test_of_nothing_nothing_is_near(count: int) -> None:
    assert len(pairs(random_hashes(count))) == 0
    assert len(pairs(random_hashes(count), random_hashes(2, seed=1))) == 0


def test_clusters_are_named_by_their_first() -> None:
    assert clusters(6, [4, 1], [5, 4]).tolist() == [0, 1, 2, 3, 1, 1]
    assert clusters(0, [], []).tolist() == []


def test_memory_is_flat() -> None:
    hashes = random_hashes(6000)
    tracemalloc.start()
    start = time.process_time()
    told: list[int] = []
    pairs(hashes, advance=told.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All pairs at once would be 288 MB.
    assert peak < 30e6
    assert sum(told) == 6000
    assert time.process_time() - start < 20
