from __future__ import annotations

from dataclasses import fields

from workflow.guesses.options import options_of
from workflow.models import Options
from workflow.project.settings import Preannotate

ASKED = {
    "model": "owlv2:x",
    "threshold": 0.4,
    "image_size": 640,
    "class_map": {"van": "car"},
    "prompts": {"car": ["a car"]},
    "templates": ["a photo of {}"],
    "max_det": 77,
    "slices": {"size": 64},
    "trust": True,
}


def test_what_the_settings_say_of_a_model_reaches_it() -> None:
    asked = Preannotate.model_validate(ASKED)
    options = options_of(asked, "cpu", 0.2)
    alike = {f.name for f in fields(Options)} & set(Preannotate.model_fields) - {
        "threshold",
        "one_label_a_place",
        # Down to which guesses are kept: by `kept.options_now`.
        "floor",
    }
    assert alike == set(ASKED) - {"model", "threshold"}
    assert {name: getattr(options, name) for name in alike} == {name: getattr(asked, name) for name in alike}
    assert (options.threshold, options.device) == (0.2, "cpu")
