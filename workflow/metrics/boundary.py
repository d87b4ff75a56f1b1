"""Boundary IoU: how well outlines are met, which the pixels inside of large areas hide.

Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021 (arXiv
2103.16562): the IoU of those pixels of a class that lie within so many pixels of its outline, in truth and
in what is painted, summed over all images. As in the authors' code the distance is 2 % of the image's
diagonal, one pixel at least, counted in squares, and the image's border is an outline, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workflow.shapes.paint import VOID

RATIO = 0.02


def boundary_counts(true: NDArray[np.uint8], painted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels near the outline by class, (3, classes): in truth, as painted, and in both.

    Both pictures (height, width) hold k for the k-th class; what is void in truth is not counted.
    """
    height, width = true.shape
    reach = max(1, round(RATIO * float(np.hypot(height, width))))
    known = true != VOID
    near = [_near_an_edge(pixels, reach) & known for pixels in (true, painted)]
    rows = true[near[0]], painted[near[1]], true[near[0] & near[1] & (true == painted)]
    return np.stack([np.bincount(row, minlength=256)[1 : classes + 1] for row in rows])


def _near_an_edge(pixels: NDArray[np.uint8], reach: int) -> NDArray[np.bool_]:
    """Which pixels have one of another number, or the border, within the square of so many around them."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * reach + 1
    least = minimum_filter(pixels, size, mode="constant", cval=0)
    most = maximum_filter(pixels, size, mode="constant", cval=255)
    return least != most
