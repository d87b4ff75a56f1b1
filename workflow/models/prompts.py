"""What a model that reads is asked for: the sentences of each class."""

from __future__ import annotations

from collections.abc import Sequence

from workflow.errors import ModelError
from workflow.models import Options


def sentences(
    model: str, classes: Sequence[str], options: Options, templates: Sequence[str] = ("{}",)
) -> dict[str, tuple[str, ...]]:
    """Each class -> what to ask for: its prompts, each put into every template at the `{}`.

    A class's prompts are those of `options.prompts`, and the names that `options.class_map` turns into it,
    as it turns any model's own; its name where there are none. `templates` are the model's own, for where
    the options have none. ModelError where no class is named, a template has no place for the prompt, or
    two classes ask for the same.
    """
    if not classes:
        raise ModelError(f"model {model!r}: finds what it is told", "name some classes")
    templates = options.templates or templates
    for template in templates:
        if "{}" not in template:
            raise ModelError(f"template {template!r} has no {{}}", "write {} where a prompt goes")
    asked = {
        label: tuple(t.replace("{}", prompt) for prompt in _prompts(label, options) for t in templates)
        for label in classes
    }
    meant: dict[str, str] = {}
    for label, some in asked.items():
        for sentence in some:
            if meant.setdefault(sentence, label) != label:
                what = f"model {model!r}: {sentence!r} asks for both {meant[sentence]!r} and {label!r}"
                raise ModelError(what, "give each class prompts of its own")
    return asked


def _prompts(label: str, options: Options) -> Sequence[str]:
    mapped = [prompt for prompt, meant in options.class_map.items() if meant == label]
    return list(dict.fromkeys([*options.prompts.get(label, ()), *mapped])) or [label]
