"""A model of transformers made to tell other classes: the same but for its head."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch


def telling(model: Any, names: Sequence[str], **changes: Any) -> Any:
    """The model with an output for each of `names`, its config changed by `changes`.

    What depends on the number of classes is fresh, from torch's random state, but for the rows of those that
    the model told by the same name before, and of what is no class.
    """
    old = [model.config.id2label[number] for number in range(model.config.num_labels)]
    config = _config(model.config, names)
    for name, value in changes.items():
        setattr(config, name, value)
    fresh = type(model)(config)
    carry(model, fresh, _head_weights(model), old, names)
    return fresh.eval()


def carry(model: Any, fresh: Any, head: Sequence[str], old: Sequence[str], names: Sequence[str]) -> None:
    """Give `fresh`, which tells `names`, what `model` learned, which tells the `old` ones.

    Of the weights in `head`, which have a row a class, those of the same name, and what is more than there
    are classes: some have a row for what is none.
    """
    before, after = model.state_dict(), fresh.state_dict()
    fresh.load_state_dict({n: w for n, w in before.items() if n not in head}, strict=False)
    shared = [(names.index(name), old.index(name)) for name in names if name in old]
    for weights in head:
        more = range(len(before[weights]) - len(old))
        for new_row, old_row in shared + [(len(names) + n, len(old) + n) for n in more]:
            after[weights][new_row] = before[weights][old_row]


def _head_weights(model: Any) -> list[str]:
    """The weights, and what else the model keeps, whose shapes depend on the number of classes."""
    with torch.device("meta"):
        wider = type(model)(_config(model.config, [str(n) for n in range(model.config.num_labels + 1)]))
    shapes = {name: weights.shape for name, weights in wider.state_dict().items()}
    return [name for name, weights in model.state_dict().items() if weights.shape != shapes[name]]


def _config(config: Any, names: Sequence[str]) -> Any:
    config = copy.deepcopy(config)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    return config
