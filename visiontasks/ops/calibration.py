"""Probabilities and answers that keep a promise: a temperature for logits, and ranks of calibration values."""

from fractions import Fraction
from math import ceil, exp, log

from torch import Tensor

from visiontasks.errors import InputError

COLDEST, HOTTEST = 0.1, 10.0
"""Bounds of a temperature."""
_STEPS, _CLOSE = 60, 1e-7


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """The temperature by which logits are divided so that the log loss of their softmax is lowest.

    Chuan Guo, Geoff Pleiss, Yu Sun and Kilian Weinberger, "On Calibration of Modern Neural Networks", 2017,
    https://arxiv.org/abs/1706.04599, section 4.2. Deviation: log T has a normal prior with standard deviation 1, and T
    stays within `COLDEST` and `HOTTEST`. Where all images are right the log loss alone would be lowest at T = 0, whose
    probabilities are 0 and 1; with the prior T stays near 1. With n images it counts as about one of them.

    Args:
        logits: (n, K), of images that the network was not trained on; rows that are not finite are left out.
        label: Class indices, int64 (n,).

    Returns:
        Above 0; 1 without images. Four significant digits, which the order of summation does not change.
    """
    known = logits.isfinite().all(1)
    scores, label = logits[known].detach().cpu().double(), label[known].cpu()
    if not len(label):
        return 1.0
    gaps = scores - scores.gather(1, label.unsqueeze(1))  # 0 for the true class
    low, high, at = log(1 / HOTTEST), log(1 / COLDEST), 0.0  # of log(1 / T), in which the loss has one minimum
    for _ in range(_STEPS):
        slope, curvature = _derivatives(gaps, at)
        low, high = (low, at) if slope > 0 else (at, high)
        step = at - slope / curvature if curvature > 0 else high + 1
        after = step if low < step < high else (low + high) / 2
        if abs(after - at) < _CLOSE:
            break
        at = after
    return float(f"{exp(-at):.4g}")


def tempered_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Softmax of logits (..., K) over a temperature; the order of the classes stays.

    Differences to the largest logit are exact where they are small, so two classes do not become one by rounding.
    """
    if temperature == 1:
        return logits.softmax(-1)
    return ((logits - logits.amax(-1, keepdim=True)) / temperature).softmax(-1)


def rank_for(share: float, n: int) -> int:
    """Which of n calibration values, the smallest first, a new value does not exceed with a probability of `share`.

    It is ceil((n + 1) share), if the new value and the n are exchangeable: Vladimir Vovk, Alexander Gammerman and Glenn
    Shafer, "Algorithmic Learning in a Random World", 2005; Angelopoulos and Bates, "A Gentle Introduction to Conformal
    Prediction", 2021, https://arxiv.org/abs/2107.07511, appendix D. The decimal `share` is taken as it is written:
    20 * 0.95 is 19, so that 19 values suffice for 0.95.

    Args:
        share: Above 0 and below 1.
        n: Number of values.

    Raises:
        InputError: If `share` is out of range, or n too small.
    """
    least = least_values(share)
    if n < least:
        raise InputError(f"{share:g} needs at least {least:,} validation images, the run has {n:,}")
    return ceil((n + 1) * Fraction(str(share)))


def least_values(share: float) -> int:
    """How many calibration values `rank_for` needs for a share.

    Raises:
        InputError: If it is not above 0 and below 1.
    """
    if not 0 < share < 1:
        raise InputError(f"{share:g}, expected above 0 and below 1, such as 0.95")
    exact = Fraction(str(share))
    return ceil(exact / (1 - exact))


def _derivatives(gaps: Tensor, at: float) -> tuple[float, float]:
    """First and second derivative by log(1 / T) of the summed log loss and the prior."""
    inverse = exp(at)
    probability = (gaps * inverse).softmax(1)
    mean = (probability * gaps).sum(1, keepdim=True)
    variance = (probability * (gaps - mean) ** 2).sum()
    slope = inverse * float(mean.sum())
    return slope + at, slope + inverse**2 * float(variance) + 1
