"""The dataset card: README.md with the YAML head by which `datasets.load_dataset` finds the files.

Format: https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow.schema import Schema
from workflow.tasks import Kind, TaskName

BBOX = "`objects.bbox` is x, y, width, height in pixels of the upright image (EXIF applied)."
NOTHING = "An image without objects was looked at and holds none."
HOW_TO_READ: Mapping[TaskName, list[str]] = {
    "classification": ["`label` is the index of the one class of the image."],
    "multilabel-classification": [
        "`labels` are the indices of all classes of the image; one without labels was looked at and has none."
    ],
    "detection": [BBOX, NOTHING],
    "oriented-detection": [
        BBOX.replace("is x", "is the box round each object: x"),
        "`objects.rotated_box` is centre x and y, width, height, and degrees clockwise; 0 is an upright box.",
        NOTHING,
    ],
    "keypoints": [
        BBOX,
        "`objects.keypoints` are x, y, v of each point, in order; v is 2, or 0 where it is not labeled.",
        NOTHING,
    ],
    "instance-segmentation": [
        BBOX,
        "`objects.mask` is COCO's compressed RLE: `pycocotools.mask.decode(mask)` gives the pixels.",
        "`objects.polygons` are flat lists of x, y, one a part; empty where the mask was painted.",
        NOTHING,
    ],
    "semantic-segmentation": [
        "`label` is a picture of the upright image's size: 0 is background, k is class number k, from 1.",
        "An image that is all background was looked at and holds nothing else.",
    ],
}

# Labels of whole images are never ignored.
IGNORED: Mapping[Kind, str] = {
    "objects": "{} objects are to be ignored, `objects.iscrowd` is 1: learn nothing there, count nothing.",
    "pixels": "Value 255 is void, in {} images: learn nothing there, count nothing.",
}
OTHERS = 'rest = load_dataset("PATH/TO/THIS/FOLDER", "unreviewed")       # skipped and unlabeled, by name\n'


def dataset_card(title: str, schema: Schema, counts: dict[str, Any]) -> str:
    """`counts` are what dataset.json says: version, files, splits, states, labels' origins, what was lost."""
    files = dict(counts["files"])
    rest = files.pop("unreviewed", None)
    configs = _config("default", files) + (_config("unreviewed", {"unreviewed": rest}) if rest else "")
    table = "\n".join(
        f"| {s} | {n['images']} | {n['annotations']} | {n['empty']} |" for s, n in counts["splits"].items()
    )
    notes = [f"Classes, in order: {', '.join(schema.classes)}."]
    ignored = sum(n.get("ignored", 0) for n in counts["splits"].values())
    notes += [IGNORED[schema.task.kind].format(ignored)] if ignored else []
    notes += [f"Keypoints, in order: {', '.join(schema.keypoints)}."] if schema.keypoints else []
    notes += HOW_TO_READ[schema.task.name]
    notes += ["`image_id` numbers the images of this version; `hash` is the image's own name in any version."]
    skipped = counts["states"].get("skipped", 0)
    where = "are in the config `unreviewed` only: no true negatives."
    notes += [f"Skipped ({skipped}) and unlabeled images {where}"] if rest else []
    notes += [f"Not carried exactly: {n} {reason}." for reason, n in sorted(counts["lost"].items())]
    origins = "\n".join(f"- {line}" for line in counts["labels"])
    listed = "\n".join(f"- {note}" for note in notes)
    return f"""---
task_categories: [{schema.task.pipeline}]
configs:
{configs}---
# {title}

Version `{counts["version"]}`. Where the labels come from:

{origins}

```python
from datasets import load_dataset
dataset = load_dataset("PATH/TO/THIS/FOLDER")                  # reviewed images
{OTHERS if rest else ""}```

| split | images | {schema.task.noun} | empty (true negatives) |
|---|---|---|---|
{table}

{listed}
"""


def _config(name: str, files: Mapping[str, str]) -> str:
    lines = [f"  - config_name: {name}", "    data_files:"]
    for split, path in files.items():
        lines += [f"      - split: {split}", f"        path: {path}"]
    return "\n".join(lines) + "\n"
