"""Buttons of the FiftyOne App: send images to Label Studio, leave them out, compare two models.

FiftyOne loads this file by its path in the App's own process. What changes a project is done by the command
line in a process of its own, so that a person may type just the same, and its one line of an error is shown
as it is. The App's server knows the state folder; the dataset knows its project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

# What holds the package that this file is of: the command line is to be of the same.
ROOT = Path(__file__).resolve().parents[3]
EXCLUDED = "excluded"
# Seconds: Label Studio may be busy.
PATIENCE = 300


class SendToLabelStudio(foo.Operator):
    """Tag the selected images, and list them where people review, with the tag as the reason."""

    @property
    def config(self) -> Any:
        what = "The selected images come to the tab of what somebody should look at again"
        return _config("send_to_label_studio", "Send to Label Studio", what, "send.svg")

    def resolve_placement(self, ctx: Any) -> Any:
        return _button("Send to Label Studio", "send.svg")

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        if _said(inputs, ctx, "Send", "to Label Studio"):
            why = "Why somebody should look again; also the tag"
            inputs.str("tag", label="Reason", default="relabel", required=True, description=why)
        return types.Property(inputs, view=types.View(label="Send to Label Studio"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        chosen, tag = _chosen(ctx), ctx.params.get("tag", "").strip() or "relabel"
        done = _workflow(ctx, "app send", *_images(chosen), f"--tag={tag}")
        if done["ok"]:
            chosen.tag_samples(tag)
        return _told(ctx, done)

    def resolve_output(self, ctx: Any) -> Any:
        return _output()


class Exclude(foo.Operator):
    """Leave the selected images out of the dataset and every figure from now on."""

    @property
    def config(self) -> Any:
        what = "The selected images are left out of dataset and figures from now on"
        return _config("exclude", "Exclude from the dataset", what, "exclude.svg")

    def resolve_placement(self, ctx: Any) -> Any:
        return _button("Exclude from the dataset", "exclude.svg")

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        if _said(inputs, ctx, "Leave out", "of the dataset and every figure, from the next dataset on"):
            inputs.str("reason", label="Reason", default="", description="For whoever looks later")
        return types.Property(inputs, view=types.View(label="Exclude from the dataset"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        chosen = _chosen(ctx)
        reason = f"--reason={ctx.params.get('reason') or ''}"
        done = _workflow(ctx, "exclude", *_images(chosen), reason, "--by=fiftyone")
        if done["ok"]:
            chosen.tag_samples(EXCLUDED)
        return _told(ctx, done)

    def resolve_output(self, ctx: Any) -> Any:
        return _output()


class TakeBackIn(foo.Operator):
    """Take images back in that were left out."""

    @property
    def config(self) -> Any:
        what = "The selected images count again, from the next dataset on"
        return _config("take_back_in", "Take excluded images back in", what, "exclude.svg")

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        _said(inputs, ctx, "Take back in", "to the dataset")
        return types.Property(inputs, view=types.View(label="Take excluded images back in"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        chosen = _chosen(ctx)
        done = _workflow(ctx, "exclude", *_images(chosen), "--back")
        if done["ok"]:
            chosen.untag_samples(EXCLUDED)
        return _told(ctx, done)

    def resolve_output(self, ctx: Any) -> Any:
        return _output()


class CompareWith(foo.Operator):
    """Open the images on which two models differ, as a saved view, with no other model's labels."""

    @property
    def config(self) -> Any:
        what = "Open the images on which one of two models errs more than the other"
        return _config("compare_with", "Compare with ...", what, "compare.svg")

    def resolve_placement(self, ctx: Any) -> Any:
        return _button("Compare with ...", "compare.svg")

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        models = _models(ctx.dataset)
        if len(models) < 2:
            message = types.Warning(label="This dataset has fewer than two models to compare")
            inputs.view("warning", message).invalid = True
        else:
            inputs.enum("first", models, default=models[-1], required=True, label="Model")
            inputs.enum("second", models, default=models[0], required=True, label="Compare with")
        return types.Property(inputs, view=types.View(label="Compare with ..."))

    def execute(self, ctx: Any) -> dict[str, Any]:
        first, second = ctx.params["first"], ctx.params["second"]
        gain = fo.ViewField(f"{second}_errors") - fo.ViewField(f"{first}_errors")
        differs = ctx.dataset.match(fo.ViewField(f"{first}_errors") != fo.ViewField(f"{second}_errors"))
        view = differs.sort_by(gain, reverse=True)
        others = [field for field in _models(ctx.dataset) if field not in (first, second)]
        view = view.exclude_fields(others) if others else view
        name = f"{first} against {second}"
        words = f"Where one errs more than the other, those first on which {first} is better"
        ctx.dataset.save_view(name, view, description=words, overwrite=True)
        better, worse = (len(differs.match(side)) for side in (gain > 0, gain < 0))
        ctx.ops.set_view(view=view)
        message = f"{first} is better on {better} images, {second} on {worse}"
        ctx.ops.notify(message, variant="info")
        return {"message": message}

    def resolve_output(self, ctx: Any) -> Any:
        return _output()


def register(plugin: Any) -> None:
    for operator in (SendToLabelStudio, Exclude, TakeBackIn, CompareWith):
        plugin.register(operator)


def _config(name: str, label: str, description: str, icon: str) -> Any:
    return foo.OperatorConfig(
        name=name, label=label, description=description, icon=f"/{icon}", dynamic=True, risk_level="medium"
    )


def _button(label: str, icon: str) -> Any:
    view = types.Button(label=label, icon=f"/{icon}", prompt=True)
    return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, view)


def _output() -> Any:
    outputs = types.Object()
    outputs.str("message", label="workflow", view=types.MarkdownView(read_only=True))
    return types.Property(outputs)


def _said(inputs: Any, ctx: Any, verb: str, where: str) -> bool:
    """Say what is to be done with how many images; False where none is selected, which cannot be run."""
    count = len(_chosen(ctx))
    if not count:
        message = types.Warning(label="Select images first", description="Tick them in the grid")
        inputs.view("warning", message).invalid = True
        return False
    inputs.view("notice", types.Notice(label=f"{verb} {count} image{'' if count == 1 else 's'} {where}"))
    return True


def _chosen(ctx: Any) -> Any:
    """The selected images, those of selected labels, or of patches, or the one that is open."""
    ids = list(ctx.selected or []) or [label["sample_id"] for label in ctx.selected_labels or []]
    ids = ids or ([ctx.current_sample] if ctx.current_sample else [])
    if ids and ctx.view is not None and ctx.view.has_field("sample_id"):
        patches = ctx.view.select(ids)
        ids = list(patches.values("sample_id")) or ids
    return ctx.dataset.select(ids)


def _images(chosen: Any) -> list[str]:
    return [image for image in chosen.values("image_id") if image]


def _models(dataset: Any) -> list[str]:
    """The fields of the models that were evaluated, in their order."""
    keys = dataset.list_evaluations()
    fields = [dataset.get_evaluation_info(key).config.pred_field for key in keys]
    return [field for field in dict.fromkeys(fields) if dataset.has_field(f"{field}_errors")]


def _workflow(ctx: Any, command: str, *arguments: str) -> dict[str, Any]:
    """Run a command for the dataset's project: whether it went well, and what it said."""
    name, folder = ctx.dataset.name, (ctx.dataset.info or {}).get("project", "")
    if not (folder and (Path(folder) / "project.toml").is_file()):
        return {"ok": False, "message": f"{name} was made elsewhere -> workflow evaluate {name}, and again"}
    # The server's own settings of FiftyOne would be taken for a database server of the user's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    line = [sys.executable, "-m", "workflow", *command.split(), folder, *arguments]
    try:
        done = subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "message": f"no answer in {PATIENCE} s -> workflow status"}
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return {"ok": done.returncode == 0, "message": _lines(said.splitlines())}


def _lines(lines: Iterable[str]) -> str:
    return "\n\n".join(line.strip() for line in lines if line.strip())


def _told(ctx: Any, done: dict[str, Any]) -> dict[str, Any]:
    if done["ok"]:
        ctx.ops.reload_dataset()
    ctx.ops.notify(done["message"].split("\n")[0][:200], variant="success" if done["ok"] else "error")
    return {"message": done["message"]}
