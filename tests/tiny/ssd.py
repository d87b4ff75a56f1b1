"""The real SSD MobileNet v2: its weights are to be had without a hub. COCO's names are digits here."""

from __future__ import annotations

from pathlib import Path

from tests.tiny import DIGITS, Case

# What it takes the pictures of digits for, if it must.
MEANING = dict(
    zip(
        ("cell phone", "book", "laptop", "tv", "remote", "person", "bird", "kite", "cat", "clock"),
        DIGITS,
        strict=True,
    )
)


def nothing(folder: Path) -> None:
    """Its wheel is installed."""


CASES = (
    Case(
        "ssd:mobilenet-v2-coco",
        nothing,
        threshold=0.03,
        names=(),
        options={"class_map": MEANING},
        skip={
            "mapped": "its own names are COCO's",
            "its_names": "its own names are COCO's",
            "no_known": "it knows zebras",
            "empty": "so little sure, it sees things everywhere",
        },
    ),
)
