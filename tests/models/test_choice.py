"""What is chosen of guesses down to a floor is what the models say that are asked so, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.models.test_contract import _marked
from tests.tiny import CASES, DIGITS, Case
from tests.tiny.processes import start_worker
from workflow.guesses.answers import from_row, to_row
from workflow.images import decode
from workflow.models import Options, Pixels
from workflow.models.chain import load_chain
from workflow.models.choice import Answer, Asked, Choice
from workflow.tasks import TASKS

# Of these all is asked anew, whatever changes: of the first, as its suppression rounds by what scores low.
ASKED_ANEW = {"torchvision", "sam", "own", "florence"}


@pytest.fixture(autouse=True, scope="module")
def _processes() -> Iterator[None]:
    """Starting one a test would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow.models.ultralytics.start_worker", start_worker)
        yield


@pytest.fixture(scope="module")
def pictures(envelopes: Path) -> list[Pixels]:
    return [decode.from_file(p) for p in sorted((envelopes / "images").glob("sender-0*-envelope-*.jpg"))[:2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module", params=_marked(c for c in CASES.values() if not c.prior))
def case(request: pytest.FixtureRequest, folder: Path) -> Case:
    case = request.param
    if not (folder / case.checkpoint).exists():
        (folder / case.checkpoint).parent.mkdir(parents=True, exist_ok=True)
        case.build(folder / case.checkpoint)
    return case


def _options(case: Case, **settings: Any) -> Options:
    usual: dict[str, Any] = {"threshold": case.threshold, "device": "cpu", "log": Path("/dev/null")}
    return Options(**(usual | dict(case.options) | settings))


def _settings(case: Case, asked: Asked, answers: list[Answer]) -> Iterator[dict[str, Any]]:
    """A threshold between two scores, and with it one label a place and names that are mapped; the best."""
    scores = sorted({a.score or 0.0 for answer in answers for a in answer.guesses})
    middle = len(scores) // 2
    between = {"threshold": sum(scores[middle - 1 : middle + 1]) / 2 if middle else 0.5}
    own_words = "names" in asked.later and "class_map" not in case.options
    mapped = {"class_map": dict.fromkeys("013578", "2")} if own_words else {}
    yield between | {"one_label_a_place": True} | mapped
    if TASKS[case.task].of_objects and case.options.get("max_det") is None:
        yield between | {"max_det": 3}


def test_it_is_what_models_say_that_are_asked_so(case: Case, folder: Path, pictures: list[Pixels]) -> None:
    with closing(load_chain([case.spec], folder, None, _options(case, undecided=True))) as chain:
        asked, answers = chain.asked, chain.answers(pictures, [()] * 2, DIGITS)
    left = asked.later
    turned = case.family == "ultralytics" and case.task == "oriented-detection"
    queried = case.family in ("mask2former", "eomt") and case.task == "instance-segmentation"
    if turned or queried or (case.family in ASKED_ANEW and case.task != "classification"):
        assert left == ()
        return
    if case.family == "own":
        return
    for settings in _settings(case, asked, answers):
        options = _options(case, **settings)
        with closing(load_chain([case.spec], folder, None, options)) as chain:
            wanted = chain.annotate(pictures, [()] * 2, DIGITS)
        choice = Choice(asked, options, case.task, floor=options.threshold)
        kept = [from_row(orjson.loads(orjson.dumps(to_row("1", a))), choice.least) for a in answers]
        got = [choice.choose(answer, DIGITS) for answer in kept]
        if "max_det" in settings:
            # A network's own cut is among all of its names, so that it may leave fewer, and among equals as
            # it comes.
            for ours, theirs in zip(got, wanted, strict=True):
                assert 3 >= len([a for a in ours if not a.parent]) >= len([a for a in theirs if not a.parent])
                assert [a.score for a in ours[: len(theirs)]] == [a.score for a in theirs]
        else:
            assert got == wanted, settings
        assert (choice.name, choice.revision) == (chain.name, chain.revision)
        # What is cut at the end is told, and then no bound of the network's on the way.
        assert set(choice.shortfalls) <= set(chain.shortfalls)
        assert bool(choice.shortfalls) == bool(chain.shortfalls)
    assert sum(map(len, got)) > 0
