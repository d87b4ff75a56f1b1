from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show

Format = Annotated[
    str, typer.Argument(help="coco, csv, cvat, folder, label-studio, labelme, masks, voc or yolo.")
]
Source = Annotated[Path, typer.Argument(help="The file or folder with the labels.")]
Images = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the images are, if not beside the labels.")
]
Target = Annotated[
    Literal["labels", "predictions"], typer.Option("--as", help="Reviewed labels, or guesses.")
]
ClassMap = Annotated[
    list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a class; OLD= leaves it out.")
]
Match = Annotated[
    Literal["path", "name"],
    typer.Option(help="Images are where the source says; or wherever one has the name."),
]
Lossy = Annotated[bool, typer.Option("--lossy", help="Even if most labels cannot be carried.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be; write nothing.")]

# What people say of a source that it does not say itself.
Background = Annotated[
    str | None, typer.Option(metavar="VALUE", help="Masks: what nobody painted; none: 0 is a class.")
]
Void = Annotated[list[str] | None, typer.Option(metavar="VALUE", help="Masks: pixels that nobody can name.")]
MaskSuffix = Annotated[
    str, typer.Option(metavar="TEXT", help="Masks: what follows the image's name, as _mask.")
]
ImageKey = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Label Studio: which of a task's images; NAME=KEY for an <Image>."),
]
Gt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="COCO results: the file of their images and classes.")
]
Columns = Annotated[str, typer.Option(metavar="ORDER", help="YOLO: where the score stands, last or second.")]


def import_(
    format: Format,
    source: Source,
    name: Name = None,
    images: Images = None,
    target: Target = "labels",
    class_map: ClassMap = None,
    match: Match = "path",
    background: Background = None,
    void: Void = None,
    mask_suffix: MaskSuffix = "",
    image_key: ImageKey = None,
    lossy: Lossy = False,
    gt: Gt = None,
    columns: Columns = "",
    dry_run: DryRun = False,
) -> None:
    """Import labels that another tool wrote, with their images.

    Example: workflow import coco instances.json zipcodes --images ~/photos --class-map number=digit

    Example: workflow import masks ~/camvid streets --background none --void 255
    """
    from workflow.commands import import_ as stage

    project = open_project(name)
    names = stage.parse_class_map(class_map or [])
    options = stage.Options(
        by_name=match == "name",
        background=background,
        void=tuple(void or ()),
        mask_suffix=mask_suffix,
        lossy=lossy,
        image_keys=tuple(image_key or ()),
        gt=gt,
        columns=stage.parse_columns(columns),
    )
    result = stage.run(project, format, source, images, target, names, dry_run, options)
    show(result.outcome)
    for line in result.lines:
        print(f"  {line}")
