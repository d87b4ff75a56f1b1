"""The average precision of an image is that of a data set which holds nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.crowds import crowd
from workflow.metrics.coco import coco_sweep, quick_sweep
from workflow.metrics.per_image import image_precision


@pytest.mark.parametrize("seed", range(6))
def test_an_image_by_itself(seed: int) -> None:
    drawn = crowd(seed, images=12)
    sides = drawn.truth, drawn.predicted
    quick = image_precision(quick_sweep(drawn.sizes, *sides, drawn.classes).ranks(), len(drawn.sizes))
    library = image_precision(coco_sweep(drawn.sizes, *sides, drawn.classes).ranks(), len(drawn.sizes))
    assert quick == pytest.approx(library, abs=1e-9, nan_ok=True)
    for image, value in zip(sorted(drawn.sizes), quick.tolist(), strict=True):
        truth, guesses = ({image: side.get(image, [])} for side in sides)
        by_class = coco_sweep({image: drawn.sizes[image]}, truth, guesses, drawn.classes).ap
        known = [one for one in by_class if one is not None]
        assert value == pytest.approx(np.mean(known) if known else np.nan, abs=1e-9, nan_ok=True)
    assert np.nanmax(quick) > 0
