"""The dataset as ultralytics reads it: copies of the images, with label files or in a folder a class.

ultralytics rewrites the JPEGs it trains on and caches beside them, so it never sees a file of the user's.
The copies are PNG, upright: what the model trains on is what the annotator saw.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.dataset import parquet
from workflow.errors import ModelError
from workflow.formats.yolo.lines import Kind, to_lines
from workflow.images import decode
from workflow.project.rows import write_bytes
from workflow.records import Annotation
from workflow.training import Job
from workflow.training.ignored import counted, hidden

KINDS: dict[str, Kind] = {
    "detection": "detect",
    "instance-segmentation": "segment",
    "oriented-detection": "obb",
    "keypoints": "pose",
}
# ultralytics passes over images of fewer pixels a side, Pillow warns there of more pixels in all, and OpenCV
# reads no longer side.
LEAST_SIDE, MOST_PIXELS, MOST_SIDE = 10, 89_478_485, 2**20
# Split -> what ultralytics calls it.
SPLITS = {"train": "train", "validation": "val"}


@dataclass
class Exported:
    """`data` is what ultralytics' argument of that name gets: data.yaml, or a classifier's folder.

    `images` and `objects` are counted a split; `lost` are labels that it cannot be told, by reason.
    """

    data: Path
    images: dict[str, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def selected_on(self) -> str:
        return "validation" if self.images["validation"] else "train"


def export(job: Job) -> Exported:
    """Write scratch/data. ModelError where there is nothing to train on."""
    folder = job.scratch / "data"
    shutil.rmtree(folder, ignore_errors=True)
    classifies = job.schema.task.kind == "labels"
    made = Exported(folder if classifies else folder / "data.yaml")
    for split in SPLITS:
        made.images[split] = made.objects[split] = 0
        for row, annotations in parquet.read(job.dataset, split, job.schema):
            name = parquet.image_of(row)
            content = _png(row, annotations, name, job)
            if content is None:
                made.lost[f"image of {row['width']} x {row['height']} pixels: {row['file']}"] += 1
                continue
            if classifies:
                place = folder / SPLITS[split] / _class_folder_of(annotations, job.schema.classes)
            else:
                place = folder / "images" / split
                made.objects[split] += _put_labels(row, annotations, folder, split, job, made.lost)
            write_bytes(place / f"{name}.png", content)
            made.images[split] += 1
    if not made.images["train"]:
        raise ModelError("the dataset has no training images", "label more images, then workflow pull")
    if classifies:
        _make_class_folders(folder, job.schema.classes, made)
    else:
        _write_yaml(folder, job, made)
    return made


def class_folder(index: int) -> str:
    """ultralytics numbers classes in the order of their folders' names."""
    return f"class-{index:05}"


def flipped(points: Sequence[str]) -> list[int] | None:
    """Which point each is in a mirror, going by left and right in the names; None where they do not say."""
    swapped = [_mirrored(name) for name in points]
    if swapped == list(points) or not set(swapped) <= set(points):
        return None
    return [points.index(name) for name in swapped]


def _mirrored(name: str) -> str:
    for left, right in (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")):
        name = right.join(part.replace(right, left) for part in name.split(left))
    return name


def _put_labels(
    row: dict[str, Any],
    annotations: list[Annotation],
    folder: Path,
    split: str,
    job: Job,
    lost: Counter[str],
) -> int:
    """Write an image's label file; the objects in it."""
    size = (row["width"], row["height"])
    text, losses = to_lines(
        counted(annotations), *size, job.schema.classes, KINDS[job.schema.task.name], job.schema.keypoints
    )
    told = text.splitlines(keepends=True)
    # ultralytics drops lines that are there already.
    lines = list(dict.fromkeys(told))
    lost.update(losses + Counter({"objects labeled twice": len(told) - len(lines)}))
    write_bytes(folder / "labels" / split / f"{parquet.image_of(row)}.txt", "".join(lines).encode())
    return len(lines)


def _class_folder_of(annotations: list[Annotation], classes: Sequence[str]) -> str:
    (label,) = annotations
    return class_folder(classes.index(label.label))


def _png(row: dict[str, Any], annotations: list[Annotation], name: str, job: Job) -> bytes | None:
    """An image as a PNG of a size that ultralytics takes; None where no scale gives one.

    Labels are shares of the width and height, so they hold at every scale.
    """
    from PIL import Image

    pixels = decode.from_bytes(row["image"]["bytes"], name, job.max_megapixels, job.memory)
    picture = Image.fromarray(hidden(pixels, annotations))
    width, height = picture.size
    if width * height > MOST_PIXELS:
        share = math.sqrt(MOST_PIXELS / (width * height))
        picture = picture.resize(
            (max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX
        )
    if (times := math.ceil(LEAST_SIDE / min(picture.size))) > 1:
        if max(picture.size) * times > MOST_SIDE:
            return None
        larger = (picture.width * times, picture.height * times)
        picture = picture.resize(larger, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def batch_size(images: int, batch: int) -> int:
    """The batch that was asked for, or the nearest that leaves no last one of a single image."""
    if images < 2 or batch < 2:
        return batch
    # Smaller rather than larger: memory may be why it is what it is.
    sizes = (*range(batch, 1, -1), *range(batch + 1, batch + images + 1))
    return next(size for size in sizes if images % size != 1)


def _make_class_folders(folder: Path, classes: Sequence[str], made: Exported) -> None:
    """Those of classes without an image too, lest the others be numbered anew."""
    if made.selected_on == "train":
        (folder / "val").symlink_to("train")
    for split in SPLITS.values():
        for index in range(len(classes)):
            (folder / split / class_folder(index)).mkdir(parents=True, exist_ok=True)


def _write_yaml(folder: Path, job: Job, made: Exported) -> None:
    data: dict[str, Any] = {
        "path": str(folder),
        "names": dict(enumerate(job.schema.classes)),
        "train": "images/train",
        "val": f"images/{made.selected_on}",
    }
    if job.schema.task.points:
        data["kpt_shape"] = [len(job.schema.keypoints), 3]
        data["kpt_names"] = {index: list(job.schema.keypoints) for index in range(len(job.schema.classes))}
        data |= {"flip_idx": turned} if (turned := flipped(job.schema.keypoints)) else {}
    # JSON is YAML, and needs no library to quote the names right.
    write_bytes(made.data, json.dumps(data).encode())
