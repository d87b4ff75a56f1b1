"""How the App opens a dataset: which labels are seen, in which colours, where the panels are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from workflow.colours import WHO
from workflow.shown.app.kind import Kind, Shown
from workflow.shown.app.names import TRUTH, WORKSPACE, error_mark

# What of a dataset's `info` the App's page is told before it opens: its browser's own settings.
BROWSER = "browser"
SHARES = (0.45, 0.55)


def arrange(fo: Any, dataset: Any, shown: Shown, kind: Kind) -> None:
    """Save the workspace, and have all labels seen: views leave out what would lie on the others."""
    _save_workspace(fo, dataset)
    _arrange_sidebar(fo, dataset)
    dataset.default_classes = list(shown.schema.classes)
    # Else the App leaves painted classes unseen until someone ticks them.
    fields = list(dataset.get_field_schema(embedded_doc_type=fo.Label))
    dataset.app_config.active_fields = fo.ActiveFields(paths=fields)
    # By chance, the App draws two models in two blues.
    colours = {field: WHO[n % len(WHO)] for n, field in enumerate(shown.fields)}
    dataset.app_config.color_scheme = kind.colours(fo, colours)


def browser_settings(dataset: Any, shown: Shown, fields: Iterable[str]) -> dict[str, Any]:
    """What the App keeps in the browser, by its keys there, of objects in `fields`: what stands beside each.

    Of the truth nothing, since it would hide what stands beside a model's object at the same place; of that
    its class, and in what way it is wrong.
    """
    beside = {field: _beside(_model_of(field, shown.fields)) for field in fields}
    return {f"shownLabelAttributes-{dataset._doc.id}": beside} if beside else {}


def _beside(field: str) -> Sequence[str]:
    return [] if field == TRUTH else ["label", error_mark(field)]


def _model_of(field: str, names: Iterable[str]) -> str:
    """Whose labels a field has, of which a model may have several."""
    return max((name for name in names if field == name or field.startswith(f"{name}_")), key=len, default="")


def _save_workspace(fo: Any, dataset: Any) -> None:
    """Images on the left, evaluations on the right; without `active_child` the panes stay blank."""
    panels = [fo.Panel(type="Samples", pinned=True), fo.Panel(type="model_evaluation_panel_builtin")]
    panes = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    space = fo.Space(children=panes, orientation="horizontal", sizes=list(SHARES))
    dataset.save_workspace(WORKSPACE, space)


def _arrange_sidebar(fo: Any, dataset: Any) -> None:
    """Labels on top and open, what only a program asks for closed."""
    config = dataset.app_config
    groups = config.sidebar_groups or fo.DatasetAppConfig.default_sidebar_groups(dataset)
    for group in groups:
        group.expanded = group.name == "labels"
    config.sidebar_groups = sorted(groups, key=lambda group: group.name != "labels")
