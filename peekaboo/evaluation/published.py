"""LD-ZNet's measures, which are those of CLIPSeg's scorer, out of counts; and the usual average precision beside them.

With tp, fp and fn the pixels of a sample at a threshold of the alpha (strictly above it), CLIPSeg's scorer adds 1 to every
denominator and takes 49 thresholds, 0.02 to 0.98:

``IoU_FG``  sum tp / (1 + sum tp + sum fp + sum fn), the sums over samples.
``mIoU``    the mean over samples of tp / (1 + tp + fp + fn): in PhraseCut each sample is a class of its own.
``AP``      Simpson's integral of precision sum tp / (1 + sum tp + sum fp) over recall sum tp / (1 + sum tp + sum fn), between the
            lowest and the highest recall that the thresholds reach: not the area under the whole curve.

The first two are reported at the threshold that is best for each, which looks at the ground truth.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Places of the 49 thresholds among 0.01, 0.02, ..., 0.99.
EVERY_SECOND = slice(1, 98, 2)


def published_measures(intersection: Tensor, union: Tensor, positives: Tensor, thresholds: Tensor) -> dict[str, float]:
    """Returns the measures as published, each under a name that says so.

    Args:
        intersection, union: (N, 99) counts of N samples at the thresholds 0.01 to 0.99.
        positives: (N,) pixels of the ground truth.
        thresholds: (99,).
    """
    tp, either, at = intersection[:, EVERY_SECOND].double(), union[:, EVERY_SECOND].double(), thresholds[EVERY_SECOND]
    of_samples = (tp / (1 + either)).mean(0)
    of_all = tp.sum(0) / (1 + either.sum(0))
    half = int((at - 0.5).abs().argmin())
    return {
        "published_mIoU": float(of_samples.max()),
        "published_mIoU_threshold": float(at[of_samples.argmax()]),
        "published_IoU_FG": float(of_all.max()),
        "published_IoU_FG_threshold": float(at[of_all.argmax()]),
        "published_AP": published_average_precision(tp.sum(0), either.sum(0), float(positives.sum())),
        "IoU_FG_at_0.5": float(of_all[half]),
    }


def published_average_precision(tp: Tensor, either: Tensor, positives: float) -> float:
    """Simpson's integral of precision over recall, both with 1 in the denominator; NaN where nothing is above any threshold.

    Thresholds that no pixel is above are left out, as are points that occur twice.

    Args:
        tp, either: (T,) sums over samples, tp and tp + fp + fn.
        positives: tp + fn.
    """
    from scipy.integrate import simpson

    predicted = either - positives + tp
    some = predicted > 0
    points = np.unique(torch.stack([tp / (1 + positives), tp / (1 + predicted)], 1)[some].numpy(), axis=0)
    return float(simpson(points[:, 1], x=points[:, 0])) if len(points) else float("nan")


def average_precision(intersection: Tensor, union: Tensor, positives: Tensor, pixels: Tensor) -> float:
    """The usual average precision, the sum of (R_n - R_(n-1)) P_n over all pixels of all samples, as scikit-learn has it.

    The alphas count in 100 levels, by how many of the thresholds 0.01 to 0.99 they are above.

    Args:
        intersection, union: (N, 99).
        positives, pixels: (N,), of the ground truth and in all.

    Returns:
        In [0, 1]; 0 without a pixel of foreground.
    """
    total = positives.sum().double()
    tp = torch.cat([total[None], intersection.sum(0).double()])  # the lowest level is above nothing: every pixel
    predicted = torch.cat([pixels.sum()[None].double(), (union.sum(0) - total + intersection.sum(0)).double()])
    if total == 0:
        return 0.0
    recall = (tp / total).flip(0)
    precision = (tp / predicted.clamp(min=1)).flip(0)
    return float((torch.diff(recall, prepend=torch.zeros(1, dtype=torch.float64)) * precision).sum())
