"""Class names that Label Studio's editor reads as something else, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_guesses, wait_until
from tests.labelstudio.test_exchange import ALL_TRAIN
from tests.samples import draw_project, pushed_tasks
from workflow.errors import ConfigError
from workflow.labelstudio.client import Client
from workflow.labelstudio.config import label_config
from workflow.labelstudio.connection import serve
from workflow.labelstudio.interface import read_interface
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog, read_samples, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.schema import Schema
from workflow.stages import catalog, preannotate, pull, push

NAMES = ("$1", "$20", "a $5 note", "US$", "$image", "plain")


@pytest.mark.services
@pytest.mark.parametrize("task", ["detection", "multilabel-classification"])
def test_a_class_with_a_dollar_is_shown_kept_and_pulled_as_it_is(
    tmp_path: Path, client: Client, task: Any, page: Any, person: None
) -> None:
    folder = draw_project(tmp_path, task, 5, ALL_TRAIN).folder
    toml = folder / "project.toml"
    toml.write_text(toml.read_text().replace("['disk', 'bar', 'tile']", str(list(NAMES))))
    project = load_project(folder)
    assert project.settings.classes == NAMES
    catalog.run(project)
    model = Provenance("model", "m", "1")
    places = [(n * 15.0, 5.0, n * 15.0 + 10, 20.0) for n in range(len(NAMES))]
    guesses = tuple(
        Annotation(name, model, box=place if task == "detection" else None, score=0.9, id=f"g{n}")
        for n, (name, place) in enumerate(zip(NAMES, places, strict=True))
    )
    rows = [sample_to_row(Sample(r.id, "predicted", guesses)) for r in read_catalog(project.catalog)]
    write_rows(preannotate.predictions_path(project), rows)
    tool = LabelStudio(client, str(serve(project)))
    push.run(project, tool)
    record = read_catalog(project.catalog)[0]
    open_guesses(page, f"{tool.page(project)}/data?task={pushed_tasks(project)[record.id]}")
    page.wait_for_timeout(500)
    body = page.inner_text("body").replace("\u2060", "")
    assert [name for name in NAMES if name not in body] == []
    assert "undefined" not in body
    page.click("button:has-text('Submit')")
    wait_until(lambda: tool.waiting(project)[0] == 4)
    assert pull.run(project, tool).lines == ()
    labels = read_samples(project.labels)[record.id].annotations
    assert sorted(a.label for a in labels) == sorted(NAMES)


def test_a_name_without_a_variable_is_written_as_ever() -> None:
    config = label_config(Schema.of("detection", ("cat", "US$", "$1")))
    assert '<Label value="cat" background=' in config
    assert '<Label value="US$" background=' in config
    assert '<Label value="$\u20601" ' in config
    assert config.count("alias=") == config.count('alias="$1"') == 1


OWN = '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">{}</RectangleLabels></View>'


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ('<Label value="$1"/>', "is shown blank: $ begins a variable"),
        ('<Label value="$1" alias="$1"/>', "is shown blank: $ begins a variable"),
        ('<Label value="$&#8288;1"/>', "needs an alias"),
    ],
)
def test_an_interface_of_ones_own_is_told_how_to_show_it(label: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_interface(OWN.format(label), "own.xml", Schema.of("detection", ("$1",)))
    assert error.value.problems == [
        f"own.xml:1: the label '$1' {problem}; write value='$&#8288;1' alias='$1'"
    ]


def test_as_it_is_told_it_is_read() -> None:
    label = '<Label value="$&#8288;1" alias="$1"/>'
    interface = read_interface(OWN.format(label), "own.xml", Schema.of("detection", ("$1",)))
    assert interface.stored == {}
