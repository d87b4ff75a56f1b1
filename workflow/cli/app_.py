from __future__ import annotations

from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show
from workflow.errors import ConfigError


def app_(
    what: Annotated[
        Literal["pull", "send"],
        typer.Argument(metavar="pull|send", help="Take what was done there; or send images to Label Studio."),
    ],
    name: Name = None,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="With send: paths or ids.")
    ] = None,
    tag: Annotated[str, typer.Option(help="With send: why somebody should look at them again.")] = "relabel",
    yes: Annotated[bool, typer.Option("--yes", help="Take it; else it is only shown.")] = False,
) -> None:
    """Take back what people did in the FiftyOne App: tags, and labels edited there.

    Example: workflow app pull street && workflow app pull street --yes
    With send, images are tagged, and go to Label Studio's tab of what somebody should look at again.

    Example: workflow app send street IMG_0042.jpg --tag "wrong class"
    """
    from workflow import wing
    from workflow.commands import app as stage

    if (what == "send") != bool(images):
        wrong = "send needs images" if what == "send" else f"pull takes no images, and got {images}"
        raise ConfigError([wrong], "workflow app send PROJECT IMAGE...")
    project = open_project(name)
    if images:
        show(stage.send(project, lambda: wing.connect(project), images, tag))
        return
    show(stage.pull(project, lambda: wing.connect(project), yes))
