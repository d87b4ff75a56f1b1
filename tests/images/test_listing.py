"""What a listing takes for images, in a folder elsewhere as in one here."""

from __future__ import annotations

from workflow.images.listing import list_elsewhere


def test_a_listing_elsewhere() -> None:
    files = [
        ("b/2.JPG", 2, 20),
        ("a.png", 1, 10),
        (".hidden/x.png", 1, 1),
        ("b/.x.png", 1, 1),
        ("folder/", 0, 1),
    ]
    files += [("notes.txt", 1, 1), ("read me", 1, 1), ("a/../x.png", 1, 1), ("a//x.png", 1, 1)]
    listing = list_elsewhere(files)
    assert listing.files == [("a.png", 1, 10), ("b/2.JPG", 2, 20)]
    assert listing.passed_over == "; passed over 1 .txt, 2 with // or .. in their names, 1 without a suffix"
    assert listing.strange == []
