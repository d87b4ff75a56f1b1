"""The names in the App's dataset: fields, marks on labels, tags, evaluations, views.

Whoever writes them and whoever reads them back takes them from here. A model's field is called as the model
is; what is said of it has its name in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

TRUTH = "ground_truth"
# The tag of the images that count.
EVALUATED = "evaluated"
# The workspace, and the view of what counts, the worst first.
WORKSPACE, OPENED = "evaluation", "evaluated"


# What a dataset has anyway, and what we put there.
OWN = {"id", "filepath", "tags", "metadata"}
TAKEN = OWN | {"split", "image_id", "group", "folder", "brightness", "blur", TRUTH}


def model_fields(models: Iterable[str]) -> dict[str, str]:
    """The field of each model: its name as far as a field may have it, and a number where it is taken."""
    fields: dict[str, str] = {}
    for model in models:
        name = re.sub(r"\W+", "_", model, flags=re.ASCII).strip("_") or "model"
        name = name if name[0].isalpha() and name not in TAKEN else f"model_{name}"
        taken = {*fields.values()}
        fields[model] = (
            name if name not in taken else next(n for k in count(2) if (n := f"{name}_{k}") not in taken)
        )
    return fields


def run_key(field: str) -> str:
    """The evaluation of a model, the mark tp, fp or fn on labels, and the start of its other marks."""
    return f"eval_{field}"


def partner_mark(field: str) -> str:
    """On a label: the id of the label it was matched with."""
    return f"{run_key(field)}_id"


def iou_mark(field: str) -> str:
    return f"{run_key(field)}_iou"


def error_mark(field: str) -> str:
    """On a label that is wrong: in what way, one of `shapes.mistakes.KINDS`."""
    return f"{run_key(field)}_error"


def other_mark(field: str) -> str:
    """On a label: the class of the label it was matched with."""
    return f"{run_key(field)}_other"


# On a label: what people did to the guess it was, as the ledger says.
PEOPLE = "people"


def precision_field(field: str) -> str:
    """On an image: a model's average precision there, as if there were no other image."""
    return f"{field}_ap"


def errors_field(field: str) -> str:
    """On an image: how many of a model's labels are wrong or missing, or the share of pixels."""
    return f"{field}_errors"


def gained_field(field: str) -> str:
    """On an image: how many errors fewer than the first model made."""
    return f"{field}_gained"


def doubt_field(field: str) -> str:
    """On an image: how sure the model is of the surest label that the truth does not have."""
    return f"{field}_against_truth"


# On an image: how unlike all others it is, 0 to 1; and the image of which it is nearly a copy.
UNIQUENESS, NEAR = "uniqueness", "near_duplicate_of"


def map_key(annotator: str) -> str:
    """The Embeddings panel's map of an annotator's vectors."""
    return f"map_{annotator}"


def similarity_key(annotator: str) -> str:
    """What the App sorts by likeness with."""
    return f"similar_{annotator}"


# On an image: on how many objects, labels or pixels models differ from the last of them.
DIFFERENCES = "model_differences"
