"""Models: which families there are, of which tasks and licence, and what of them is on this machine."""

from __future__ import annotations

from workflow.models import ALIASES, MODELS, fetched_folder
from workflow.tasks import TASKS
from workflow.training import TRAINERS


def describe() -> str:
    lines = []
    for family, row in MODELS.items():
        here = row.annotator.on_this_machine()
        lines += [
            f"{family}: {row.what}",
            f"  task     {', '.join(row.tasks)}",
            f"  licence  {row.licence}",
            f"  here     {', '.join(here) or 'nothing fetched yet'}",
        ]
        if row.examples:
            examples = ", ".join(f"{family}:{name}" for name in row.examples)
            lines.append(f"  fetched  {examples}, when first used; {row.size}")
        lines.append(f"  local    {row.local}")
    lines.append("short names: " + ", ".join(f"{alias} = {spec}" for alias, spec in ALIASES.items()))
    lines.append(f"run:NAME is a model that was trained here. Fetched .pt files lie in {fetched_folder()}")
    return "\n".join(lines)


def as_markdown() -> str:
    """The tables of docs/models.md."""
    lines = [
        "| family | what | task | licence | size | checkpoints, for example |",
        "|---|---|---|---|---|---|",
    ]
    for family, row in MODELS.items():
        examples = ", ".join(f"`{family}:{name}`" for name in row.examples) or f"`{row.local}`"
        tasks = "all" if len(row.tasks) == len(TASKS) else ", ".join(row.tasks)
        cells = (f"`{family}`", row.what, tasks, row.licence, row.size or "yours", examples)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| short name | stands for |", "|---|---|"]
    lines += [f"| `{alias}` | `{spec}` |" for alias, spec in ALIASES.items()]
    return "\n".join(lines)


def trainers_as_markdown() -> str:
    """What can be trained: the other table of docs/models.md."""
    lines = ["| family of the base | tasks | methods |", "|---|---|---|"]
    for family, row in TRAINERS.items():
        methods = dict.fromkeys(method for able in row.methods.values() for method in able)
        refused = "; ".join(f"no `{method}`: {why}" for method, why in row.refusals.items())
        shown = ", ".join(f"`{method}`" for method in methods) + (f" ({refused})" if refused else "")
        lines.append(f"| `{family}` | {', '.join(row.methods)} | {shown} |")
    return "\n".join(lines)
