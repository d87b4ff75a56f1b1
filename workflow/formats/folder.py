"""Image folders: a folder a class, alone or within train, val and test.

As torchvision and Hugging Face read them: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from workflow.errors import FormatError
from workflow.formats.page import SPLITS, Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each image in a class's folder; what lies beside those folders has no label."""
    for path in reading.below(source):
        parts = path.relative_to(source).parts
        split = SPLITS.get(parts[0].lower()) if len(parts) > 2 else None
        own = parts[1:] if split else parts
        if len(own) < 2:
            reading.losses.add("images in no class's folder", "/".join(parts))
            continue
        page = reading.page("/".join(parts))
        if page is not None:
            page.split = split
            page.label(own[0])
            yield page


def write(
    target: Path, pictures: Sequence[Picture], writing: Writing, folders: Mapping[str, str] | None = None
) -> None:
    """SPLIT/CLASS/IMAGE, a split's folder being called by its name in `folders`, if there.

    Each class has a folder in each split, be it empty, as readers number classes by the folders they see. An
    image without a label has no place.
    """
    for name in writing.schema.classes:
        if PurePosixPath(name).parts != (name,) or name == ".." or "\\" in name:
            raise FormatError(f"class {name!r} cannot be the name of a folder", "rename it in project.toml")
    target.mkdir(parents=True)
    labeled = []
    for picture in pictures:
        labeled += [picture] if picture.annotations else []
        writing.losses.add("images without a label", picture.record.path, not picture.annotations)
        writing.losses.add("labels after an image's first", picture.record.path, len(picture.annotations[1:]))
    names = {split: (folders or {}).get(split, split) for split in {p.record.split for p in labeled}}
    for folder in names.values():
        for label in writing.schema.classes:
            (target / folder / label).mkdir(parents=True)
    copy_images(labeled, target, writing, lambda p: f"{names[p.record.split]}/{p.annotations[0].label}")
