from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workflow.cli.shared import Devices, open_project


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to try the model on.")],
    model: Annotated[
        list[str],
        typer.Option(help="FAMILY:CHECKPOINT, a short name, NAME.pt or run:NAME; repeated, a chain."),
    ],
    classes: Annotated[str, typer.Option(help="a,b,c; the model's own where it has some.")] = "",
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out scores below; by default what fits the model."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only so many of an image, the best.")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the guesses into copies there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    project: Annotated[str | None, typer.Option(help="Whose files and runs the model may be.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels of the longer side, for models without a size of their own.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Let code run that comes with a model.")] = False,
    exact_decode: Annotated[
        bool, typer.Option("--exact-decode", help="Decode JPEGs whole, where the model scales them down.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images; by default one a core.")
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="SIZE[,OVERLAP]", help="Show it in squares, for what is small: 640,0.2."),
    ] = None,
    device: Devices = "auto",
) -> None:
    """Try any model on any picture. Exit code 1 where a picture is broken; the others are done.

    Example: workflow predict street.jpg --model grounding-dino --model sam2 --classes bus,person --save out
    """
    from workflow.commands import predict as stage

    folder = open_project(project).folder if project else Path.cwd()
    wanted = [name.strip() for name in classes.split(",") if name.strip()]
    ask = stage.Question(
        model,
        folder,
        wanted,
        threshold,
        top,
        image_size,
        device,
        trust,
        exact_decode,
        workers,
        stage.slices_of(slices) if slices else None,
    )
    guesses, problems, engines = stage.run(images, ask)
    print(stage.as_json(guesses) if as_json else "\n".join([stage.as_table(guesses), *engines]))
    if save:
        stage.draw(guesses, save)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    raise typer.Exit(1 if problems else 0)
