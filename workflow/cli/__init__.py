"""The command line: thin. A command is a file here: it parses, calls one stage, and prints what it did."""

from __future__ import annotations

from collections.abc import Callable

import typer

from workflow.cli import (
    app_,
    catalog,
    dataset,
    demo,
    disagreements,
    doctor,
    down,
    duplicates,
    embed,
    evaluate,
    exclude,
    export,
    history,
    import_,
    ledger,
    loop,
    models,
    new,
    preannotate,
    predict,
    promote,
    pull,
    push,
    review,
    serve,
    status,
    train,
    up,
)

# In the order in which --help lists them.
COMMANDS: dict[str, Callable[..., None]] = {
    "catalog": catalog.catalog,
    "duplicates": duplicates.duplicates,
    "preannotate": preannotate.preannotate,
    "push": push.push,
    "review": review.review,
    "pull": pull.pull,
    "serve": serve.serve,
    "ledger": ledger.ledger,
    "disagreements": disagreements.disagreements,
    "history": history.history,
    "import": import_.import_,
    "export": export.export,
    "dataset": dataset.dataset,
    "train": train.train,
    "embed": embed.embed,
    "evaluate": evaluate.evaluate,
    "promote": promote.promote,
    "loop": loop.loop,
    "app": app_.app_,
    "exclude": exclude.exclude,
    "predict": predict.predict,
    "models": models.models,
    "status": status.status,
    "demo": demo.demo,
    "up": up.up,
    "down": down.down,
    "new": new.new,
    "doctor": doctor.doctor,
}

app = typer.Typer(
    help="Raw images to a fine-tuned, evaluated vision model: pre-annotate, correct, train, repeat.\n\n"
    "Example: workflow catalog zipcodes && workflow preannotate zipcodes && workflow push zipcodes",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in COMMANDS.items():
    app.command(name)(command)
