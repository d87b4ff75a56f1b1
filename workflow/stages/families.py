"""Models: which families there are, under which licence, and what of them is on this machine."""

from __future__ import annotations

from workflow.models import MODELS, fetched_folder


def describe() -> str:
    lines = []
    for family, row in MODELS.items():
        here = row.module.on_this_machine()
        lines += [
            f"{family}: {row.what}",
            f"  task     {row.task}",
            f"  licence  {row.licence}",
            f"  here     {', '.join(here) or 'nothing fetched yet'}",
            f"  fetched  {', '.join(f'{family}:{name}' for name in row.examples)}, when first used",
            f"  local    {row.local}",
        ]
    lines.append(f"run:NAME is a model that was trained here. Fetched .pt files lie in {fetched_folder()}")
    return "\n".join(lines)


def as_markdown() -> str:
    """The table of docs/models.md."""
    lines = ["| family | what | task | licence | for example |", "|---|---|---|---|---|"]
    for family, row in MODELS.items():
        examples = ", ".join(f"`{family}:{name}`" for name in row.examples)
        lines.append(f"| `{family}` | {row.what} | {row.task} | {row.licence} | {examples} |")
    return "\n".join(lines)
