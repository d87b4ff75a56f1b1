"""The labeling interface of a project: made from its settings, or the user's own."""

from __future__ import annotations

from dataclasses import replace

from workflow.errors import ConfigError, FormatError
from workflow.labels.renames import stored_names
from workflow.labelstudio import regions
from workflow.labelstudio.interface import Interface, read_interface
from workflow.project.paths import Project
from workflow.project.text import read_xml


def interface_of(project: Project) -> Interface:
    """What people see, and how annotations go through it. ConfigError where the user's XML will not do."""
    settings, push = project.settings, project.settings.push
    stored = {**settings.renamed_from, **stored_names(project)}
    stored = {name: old for name, old in stored.items() if name in settings.labels}
    # People paint what is to be ignored as they paint a class.
    shown = replace(settings.schema, classes=settings.classes + settings.ignore)
    if push.label_config is not None:
        path = project.resolve(push.label_config)
        try:
            text = read_xml(path)
        except (OSError, FormatError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.problem
            what = f"push.label_config: {path} cannot be read ({reason})"
            raise ConfigError([what], "put the file there, or leave push.label_config out") from None
        return replace(read_interface(text, path.name, shown, stored), ignore=settings.ignore)
    config = regions.label_config(shown, push.masks, push.smart, stored)
    controls = regions.controls(settings.schema.task, push.masks)
    return Interface(config, controls, stored=stored, ignore=settings.ignore)
