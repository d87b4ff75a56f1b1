from __future__ import annotations

from typing import Annotated

import typer


def models(
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables of docs/models.md.")] = False,
) -> None:
    """The families of models: task, licence, what is on this machine, what can be fetched.

    Example: workflow models
    """
    from workflow.commands import models as stage

    tables = (stage.as_markdown(), stage.trainers_as_markdown())
    print("\n\n".join(tables) if markdown else stage.describe())
