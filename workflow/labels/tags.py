"""The tags that people set: data/tags.jsonl, and why somebody should look at an image again.

A line is {image, tag, from, at}; a tag of one label has its `field`, `label` and a name, `on`, besides. A tag
that people who review were told of says when: `sent`. One that was taken away since is `removed` until they
know, and one that they have answered by labeling the image anew is `answered`. Of a tag with `tell` they are
told whatever it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from workflow.project.rowfile import RowFile
from workflow.project.rows import Row

# The tag of an image that was edited while somebody labeled it anew; it is always told.
CONFLICT = "edited elsewhere"


@dataclass(frozen=True)
class Reason:
    """Why somebody should look at an image again; `text` is empty where nobody need any more."""

    image: str
    text: str
    told: bool


def reasons(tags: RowFile, labels: RowFile, wanted: Collection[str]) -> Iterator[Reason]:
    """A reason an image that has, or had, one of the `wanted` tags. Answered tags are marked as such."""
    for image in list(tags):
        at = (labels.row(image) or {}).get("at", "")
        rows = [_answered(row, at) for row in tags.rows(image)]
        tags.put(image, *rows)
        told = [row for row in rows if "sent" in row]
        active = [row for row in rows if _is_told(row, wanted) and _is_active(row)]
        if told or active:
            yield Reason(image, in_words(active), all("sent" in row for row in active))


def note_told(tags: RowFile, images: Collection[str], wanted: Collection[str], at: str) -> None:
    """Mark that people were told of the images' tags, at a time of their own clock."""
    for image in images:
        rows = [row for row in tags.rows(image) if "removed" not in row]
        tags.put(
            image, *(row | {"sent": row.get("sent", at)} if _is_told(row, wanted) else row for row in rows)
        )


def in_words(rows: Sequence[Row]) -> str:
    """The tags of one image in a line: relabel; wrong (tuned: 8)."""
    words: dict[str, list[str]] = {}
    for row in rows:
        on = words.setdefault(row["tag"], [])
        on += [f"{row['field']}: {row['label']}"] if "field" in row else []
    texts = (f"{tag} ({', '.join(sorted(on))})" if on else tag for tag, on in sorted(words.items()))
    return "; ".join(texts)


def set_tag(tags: RowFile, images: Collection[str], tag: str, by: str, at: str) -> None:
    """Tag images, and have people told; one that has the tag, and was answered, is asked about again."""
    for image in images:
        known = [row for row in tags.rows(image) if row["tag"] == tag and "field" not in row]
        if not any(_is_active(row) and "tell" in row for row in known):
            others = [row for row in tags.rows(image) if row not in known]
            fresh = {"image": image, "tag": tag, "from": by, "at": at, "tell": True}
            tags.put(image, *sorted([*others, fresh], key=key))


def key(row: Row) -> tuple[str, str, str]:
    """What makes two rows the same tag; the rows of an image are sorted by it."""
    return row["tag"], row.get("field", ""), row.get("on", "")


def _is_told(row: Row, wanted: Collection[str]) -> bool:
    return row["tag"] in {CONFLICT, *wanted} or "tell" in row


def _is_active(row: Row) -> bool:
    return "removed" not in row and "answered" not in row


def _answered(row: Row, at: str) -> Row:
    """The row, marked where the image was labeled after people were told of the tag."""
    if not (at and "sent" in row and _is_active(row)):
        return row
    later = datetime.fromisoformat(at) > datetime.fromisoformat(row["sent"])
    return row | {"answered": at} if later else row
