"""Rows of a Hugging Face dataset, one reviewed image each, with what the project's task labels.

The original image bytes stand beside the labels (`datasets` applies EXIF when it decodes), and all
coordinates are pixels of the upright image in 64 bits, so they come back as they went in. Each kind of
task has a file of its own: labels of the whole image, objects, and classes painted over the image.

A split lies in data/SPLIT-NAME.parquet, where NAME follows from the content: `datasets` keys its cache by
the names of files, and by nothing that is in them. Version 0.1.0 wrote data/SPLIT.parquet, whose `image_id`
is what `hash` is now; such a folder is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.dataset import labels, objects, pixels
from workflow.dataset.tally import Tally
from workflow.errors import FormatError
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema
from workflow.tasks import Kind, Task

if TYPE_CHECKING:
    import datasets

Row = dict[str, Any]
# Rows that are read at a time.
ROW_GROUP = 64
# Where a row group ends: `datasets` writes 100 MB at most, and the hub's viewer reads no more than 300 MB of
# one. Less keeps three splits that are written side by side in little memory.
GROUP_BYTES, GROUP_ROWS = 2**24, 1000
# What labels are of -> the file that knows their columns: `features`, `pack` and `unpack`.
COLUMNS: Mapping[Kind, Any] = {"labels": labels, "objects": objects, "pixels": pixels}


def features(schema: Schema, ignored: bool = False) -> datasets.Features:
    """The schema of a reviewed split, with a column for what is `ignored` where there is any.

    FormatError where there are more classes than the format holds.
    """
    from datasets import Features, Image, Value

    head = {
        "image_id": Value("int64"),
        "hash": Value("string"),
        "image": Image(),
        "file": Value("string"),
        "width": Value("int32"),
        "height": Value("int32"),
    }
    return Features(head | COLUMNS[schema.task.kind].features(schema, ignored))


def unreviewed_features() -> datasets.Features:
    """The schema of the images that nobody has decided on: not seen, or seen and skipped."""
    from datasets import Features, Value

    return Features({name: Value("string") for name in ("hash", "file", "split", "state")})


def to_row(
    record: ImageRecord,
    content: bytes,
    annotations: Sequence[Annotation],
    schema: Schema,
    tally: Tally | None = None,
    ignored: bool = False,
) -> Row | None:
    """One reviewed image, but for its `image_id`; without annotations it is a true negative.

    With `ignored` the columns are those of a dataset in which something is, be it on another image.
    None where the task has no row for such an image: one class an image, and it has none or several.
    What the row holds, and what is left out or bent, is counted in `tally`. FormatError for a geometry the
    task does not have, and for a label that is no class of the project.
    """
    tally = tally or Tally()
    for annotation in annotations:
        _refuse_strange(annotation, schema.task)
    columns = COLUMNS[schema.task.kind].pack(record, annotations, schema, tally, ignored)
    if columns is None:
        return None
    head = {
        "hash": record.id,
        "image": {"bytes": content, "path": record.path},
        "file": record.path,
        "width": record.width,
        "height": record.height,
    }
    return head | columns


def has_row(annotations: int, schema: Schema) -> bool:
    """Whether an image with so many annotations has a row, as `to_row` has it."""
    return not schema.task.exclusive or annotations == 1


def _refuse_strange(annotation: Annotation, task: Task) -> None:
    # A person may have turned a box where none should be; the box round it says nearly the same.
    turned = annotation.rotated_box is not None and "box" in task.geometry
    if not task.takes(annotation) and not turned:
        shape = (annotation.geometry or "no place").replace("_", " ")
        what = f"annotation {annotation.label!r} has {shape}, which no {task.name} dataset holds"
        raise FormatError(what, "workflow pull --full")


def from_row(row: Row, schema: Schema) -> list[Annotation]:
    """The annotations of one row, as people made them, without what the format has no room for."""
    return COLUMNS[schema.task.kind].unpack(row, schema)


def image_of(row: Row) -> str:
    """The catalog's id of a row's image."""
    return row["hash"] if "hash" in row else row["image_id"]


def file_of(folder: Path, split: str) -> Path | None:
    """The Parquet file of a split of the dataset in `folder`; None where it has no such split."""
    data = folder / "data"
    paths = (*data.glob(f"{split}-*.parquet"), data / f"{split}.parquet")
    return next((path for path in paths if path.exists()), None)


def images(folder: Path, split: str) -> set[str]:
    """The catalog's ids of the images of a split, read without the images themselves."""
    import pyarrow.parquet as pq

    path = file_of(folder, split)
    if path is None:
        return set()
    file = pq.ParquetFile(path)
    name = "hash" if "hash" in file.schema_arrow.names else "image_id"
    return set(file.read([name]).column(name).to_pylist())


def read(folder: Path, split: str, schema: Schema) -> Iterator[tuple[Row, list[Annotation]]]:
    """Stream a split's rows, image bytes undecoded, with their annotations; none where it is absent."""
    import pyarrow.parquet as pq

    path = file_of(folder, split)
    if path is None:
        return
    for part in pq.ParquetFile(path).iter_batches(ROW_GROUP):
        for row in part.to_pylist():
            yield row, from_row(row, schema)


def write(path: Path, rows: Iterable[Row], columns: datasets.Features) -> None:
    """Stream rows into row groups, so that memory stays flat however many and large the images are.

    Pictures are stored as they are: they are compressed already, and no two are alike.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = columns.arrow_schema
    leaves = [leaf for field in arrow for leaf in _leaves(field.name, field.type)]
    with pq.ParquetWriter(
        path,
        arrow,
        compression=dict.fromkeys(leaves, "snappy"),
        use_dictionary=leaves,
        write_statistics=leaves,
        write_page_index=True,
    ) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, arrow))


def _leaves(name: str, kind: Any) -> Iterator[str]:
    """The paths of a column's parts, as Parquet names them, but for pictures."""
    import pyarrow.types as types

    if types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif types.is_list(kind) or types.is_fixed_size_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    elif not types.is_binary(kind):
        yield name


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        pictures = (v for v in row.values() if isinstance(v, dict) and "bytes" in v)
        size += sum(len(picture["bytes"]) for picture in pictures)
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
