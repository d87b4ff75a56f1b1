"""The command line: thin. Each command parses, calls one stage, and prints what it did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workflow.errors import ConfigError

if TYPE_CHECKING:
    from workflow.project.paths import Project
    from workflow.running.runner import Outcome

app = typer.Typer(
    help="Raw images to a fine-tuned, evaluated vision model: pre-annotate, correct, train, repeat.\n\n"
    "Example: workflow catalog zipcodes && workflow preannotate zipcodes && workflow push zipcodes",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Name = Annotated[str | None, typer.Argument(metavar="[PROJECT]", help="A folder under projects/, or a path.")]
Force = Annotated[bool, typer.Option("--force", help="Run even where nothing changed.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:0 or mps.")]
Service = Annotated[
    list[str] | None, typer.Argument(help="label-studio, mongod, fiftyone-app; all by default.")
]


@app.command()
def catalog(name: Name = None, workers: int | None = None, force: Force = False) -> None:
    """Catalog the raw images: hash, upright size, duplicates, quarantine, split.

    Example: workflow catalog zipcodes
    """
    from workflow.stages import catalog as stage

    project = _project(name)
    _show(stage.run(project, workers, force))
    for line in stage.copied(project):
        print(f"  {line}")
    for row in stage.quarantined(project):
        print(f"  quarantined {row['path']}: {row['reason']}")


@app.command()
def preannotate(name: Name = None, device: Device = "auto", batch: int = 8, force: Force = False) -> None:
    """Let a model guess labels for every image.

    Example: workflow preannotate zipcodes --device cuda:0
    """
    from workflow.stages import preannotate as stage

    _show(stage.run(_project(name), device, batch, force))


@app.command()
def push(
    name: Name = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    keep_theirs: Annotated[
        bool, typer.Option("--keep-theirs", help="Leave a labeling interface that was changed there.")
    ] = False,
    ours: Annotated[bool, typer.Option("--ours", help="Put the project's own interface back.")] = False,
) -> None:
    """Push images and predictions to Label Studio; what is there already is left alone.

    Example: workflow push zipcodes --dry-run
    """
    from workflow import wing
    from workflow.stages import push as stage

    whose = _whose(keep_theirs, ours)
    project = _project(name, alone=not dry_run)
    _show(stage.run(project, wing.connect(project), dry_run, whose))


@app.command()
def review(
    name: Name = None,
    limit: Annotated[int | None, typer.Option(help="Review only so many tasks.")] = None,
) -> None:
    """Let the simulated reviewer correct what waits, by the project's truth file.

    Example: workflow review zipcodes --limit 10
    """
    from workflow import wing
    from workflow.commands import reviewer as stage

    # It works on the server only, as any annotator does, so it may do so while a demo waits for one.
    project = _project(name, alone=False)
    _show(stage.run(project, wing.connect(project), limit))


@app.command()
def pull(
    name: Name = None,
    full: Annotated[bool, typer.Option("--full", help="Sweep everything, not only what changed.")] = False,
    drop_deleted: Annotated[
        bool, typer.Option("--drop-deleted", help="Forget labels whose tasks were deleted; sweeps too.")
    ] = False,
) -> None:
    """Pull the corrected labels back, and keep the ledger of what people did.

    Example: workflow pull zipcodes --full
    """
    from workflow import wing
    from workflow.stages import pull as stage

    project = _project(name)
    _show(stage.run(project, wing.connect(project), full, drop_deleted))


@app.command()
def serve(
    name: Name = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Who guesses whole images; repeated, a chain. By default preannotate.model."),
    ] = None,
    interactive: Annotated[
        str, typer.Option(metavar="SPEC", help="Who draws masks for clicks: sam2, sam or sam:CHECKPOINT.")
    ] = "",
    port: Annotated[int | None, typer.Option(help="By default 9090, or the next free one.")] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Make the project in Label Studio use it, and pull what comes.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Help people while they label: guesses for new tasks, masks for clicks, a pull after each submission.

    Example: workflow serve zipcodes --connect

    Example: workflow serve street --connect --interactive sam2 --model run:street-1 --device cuda:0
    """
    from workflow import wing
    from workflow.commands import serve as stage

    # It takes the project's lock for each pull only: the other commands work while it serves.
    project = _project(name, alone=False)
    tool = wing.connect(project) if connect else None
    stage.run(project, stage.Wishes(tuple(model or ()), interactive, port, device), tool)


@app.command()
def ledger(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What people did to the guesses: shares, precision, recall, time saved, and thresholds to set.

    Example: workflow ledger zipcodes --json
    """
    from workflow.commands import ledger as stage

    project = _project(name, alone=False)
    account = stage.run(project)
    print(stage.as_json(project, account) if as_json else stage.describe(project, account))


@app.command()
def history(
    name: Name = None,
    restore: Annotated[
        int | None, typer.Option(metavar="N", help="Bring labels.jsonl back to what it was after change N.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Restore what a damaged history still has.")
    ] = False,
) -> None:
    """List every change of the labels, or go back to an earlier state; that is a change too.

    Example: workflow history zipcodes && workflow history zipcodes --restore 3
    """
    from workflow.commands import history as stage

    project = _project(name, alone=restore is not None)
    print(stage.describe(project) if restore is None else stage.restore(project, restore, partial))


@app.command("import")
def import_(
    format: Annotated[
        str, typer.Argument(help="coco, csv, cvat, folder, label-studio, labelme, masks, voc or yolo.")
    ],
    source: Annotated[Path, typer.Argument(help="The file or folder with the labels.")],
    name: Name = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the images are, if not beside the labels.")
    ] = None,
    target: Annotated[
        Literal["labels", "predictions"], typer.Option("--as", help="Reviewed labels, or guesses.")
    ] = "labels",
    class_map: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a class; OLD= leaves it out.")
    ] = None,
    match: Annotated[
        Literal["path", "name"],
        typer.Option(help="Images are where the source says; or wherever one has the name."),
    ] = "path",
    background: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Masks: what nobody painted; none: 0 is a class.")
    ] = None,
    void: Annotated[
        list[str] | None, typer.Option(metavar="VALUE", help="Masks: pixels that nobody can name.")
    ] = None,
    mask_suffix: Annotated[
        str, typer.Option(metavar="TEXT", help="Masks: what follows the image's name, as _mask.")
    ] = "",
    image_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Label Studio: which of a task's images; NAME=KEY for an <Image>."),
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Even if most labels cannot be carried.")] = False,
    gt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO results: the file of their images and classes.")
    ] = None,
    columns: Annotated[
        str, typer.Option(metavar="ORDER", help="YOLO: where the score stands, last or second.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be; write nothing.")] = False,
) -> None:
    """Import labels that another tool wrote, with their images.

    Example: workflow import coco instances.json zipcodes --images ~/photos --class-map number=digit

    Example: workflow import masks ~/camvid streets --background none --void 255
    """
    from workflow.commands import import_ as stage

    project = _project(name)
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
    _show(result.outcome)
    for line in result.lines:
        print(f"  {line}")


@app.command()
def export(
    format: Annotated[
        str, typer.Argument(help="coco, csv, cvat, folder, label-studio, labelme, masks, voc or yolo.")
    ],
    target: Annotated[Path, typer.Argument(help="The file or folder to write.")],
    name: Name = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="Only images of that split.")
    ] = None,
    predictions: Annotated[
        str | None, typer.Option(metavar="ANNOTATOR", help="A file of data/predictions, not the labels.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Export reviewed labels, or predictions, as another tool reads them.

    Example: workflow export yolo out zipcodes --split train
    """
    from workflow.commands import export as stage

    outcome, lines = stage.run(_project(name), format, target, split, predictions, force)
    _show(outcome)
    for line in lines:
        print(f"  not carried: {line}")


@app.command()
def dataset(name: Name = None, force: Force = False) -> None:
    """Build the Hugging Face dataset from the labels.

    Example: workflow dataset zipcodes
    """
    from workflow.stages import dataset as stage

    _show(stage.run(_project(name), force))


@app.command()
def train(
    name: Name = None,
    device: Device = "auto",
    force: Force = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw a sheet of varied training images; train nothing.")
    ] = False,
) -> None:
    """Fine-tune the base model on the dataset; a stopped training goes on where it was.

    Example: workflow train zipcodes --preview && workflow train zipcodes --device cuda:0
    """
    from workflow.stages import train as stage

    project = _project(name)
    if preview:
        print(f"drawn: {stage.preview(project, device)}")
    else:
        _show(stage.run(project, device, force))


@app.command()
def evaluate(name: Name = None, device: Device = "auto", force: Force = False) -> None:
    """Compare base and tuned model on the test split: numbers, report.html, FiftyOne.

    Example: workflow evaluate zipcodes
    """
    from workflow.stages import evaluate as stage

    project = _project(name)
    _show(stage.run(project, device, force))
    _show(stage.publish(project))


@app.command()
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
    device: Device = "auto",
) -> None:
    """Try any model on any picture. Exit code 1 where a picture is broken; the others are done.

    Example: workflow predict street.jpg --model grounding-dino --model sam2 --classes bus,person --save out
    """
    from workflow.commands import predict as stage

    folder = _project(project).folder if project else Path.cwd()
    wanted = [name.strip() for name in classes.split(",") if name.strip()]
    ask = stage.Question(model, folder, wanted, threshold, top, image_size, device, trust)
    guesses, problems = stage.run(images, ask)
    print(stage.as_json(guesses) if as_json else stage.as_table(guesses))
    if save:
        stage.draw(guesses, save)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    raise typer.Exit(1 if problems else 0)


@app.command()
def models(
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables of docs/models.md.")] = False,
) -> None:
    """The families of models: task, licence, what is on this machine, what can be fetched.

    Example: workflow models
    """
    from workflow.commands import models as stage

    tables = (stage.as_markdown(), stage.trainers_as_markdown())
    print("\n\n".join(tables) if markdown else stage.describe())


@app.command()
def status(name: Name = None) -> None:
    """What is done, stale or missing, a stage a line, and which servers run.

    Example: workflow status zipcodes
    """
    from workflow.commands import status as stage

    print(stage.describe(_project(name, alone=False)))


@app.command()
def demo(
    name: Name = "zipcodes",
    reviewer: Annotated[
        str, typer.Option(help="simulated, or me: stop and wait for a person.")
    ] = "simulated",
    device: Device = "auto",
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the project's own script draw the images (demo.images).")
    ] = False,
) -> None:
    """Run the whole loop, from raw images to a fine-tuned, evaluated model.

    Example: workflow demo zipcodes --reviewer me
    """
    from workflow.commands import demo as stage

    stage.run(_project(name), reviewer, device, trust)


@app.command()
def up(
    names: Service = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Let a newer Label Studio change the database; keeps a copy.")
    ] = False,
) -> None:
    """Start the local servers: Label Studio, mongod, the FiftyOne App.

    Example: workflow up label-studio
    """
    from workflow import services

    state = services.state_folder(_workspace())
    services.up(state, names or services.SERVICES, print, services.served_root(state), upgrade)


@app.command()
def down(names: Service = None) -> None:
    """Stop the local servers.

    Example: workflow down
    """
    from workflow import services

    services.down(services.state_folder(_workspace()), names or services.SERVICES, print)


@app.command()
def new(name: str) -> None:
    """Make a project from the template.

    Example: workflow new street
    """
    from workflow.commands import new as stage

    folder = stage.run(Path.cwd(), name)
    print(f"made {folder}: put images into data/images, edit project.toml, then: make catalog P={name}")


@app.command()
def doctor(name: Name = None) -> None:
    """Check this machine: Python, torch, disk, ports, servers, weights; each problem with its remedy.

    Example: workflow doctor
    """
    from workflow.commands import doctor as stage

    try:
        project = _project(name, alone=False)
    except ConfigError:
        project = None
    lines, healthy = stage.run(_workspace(), project)
    print("\n".join(lines))
    raise typer.Exit(0 if healthy else 1)


def _whose(keep_theirs: bool, ours: bool) -> Literal["", "theirs", "ours"]:
    if keep_theirs and ours:
        raise ConfigError(["--keep-theirs and --ours contradict each other"], "one of them")
    return "theirs" if keep_theirs else "ours" if ours else ""


_locks: list[Any] = []


def _project(name: str | None, alone: bool = True) -> Project:
    """Load a project; unless it is only looked at, no other command may work on it meanwhile."""
    from workflow.project.paths import find_project, load_project

    project = load_project(find_project(name, Path.cwd()))
    if alone:
        from workflow.running import runner

        _locks.append(runner.alone(project.marks, project.name))
    return project


def _workspace() -> Path:
    """The nearest folder upwards that holds projects/; else this one."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "projects").is_dir()), here)


def _show(outcome: Outcome) -> None:
    what = "unchanged" if outcome.skipped else f"{outcome.seconds:.1f} s"
    print(f"{outcome.stage}: {outcome.did} [{what}]")
    for line in outcome.lines:
        print(f"  {line}")
