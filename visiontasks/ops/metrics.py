"""Statistics of measured values."""

from collections.abc import Sequence
from math import fsum, isnan, nan, sqrt

from torch import Tensor

from visiontasks.errors import InputError

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def exact_sum(values: Tensor) -> float:
    """Sum that is rounded once, at its end, so that it is the same to the last bit in any order of the values.

    Args:
        values: (n,).

    Returns:
        The sum in double precision; NaN or infinite if a value is.
    """
    numbers: list[float] = values.tolist()
    return fsum(numbers) if bool(values.isfinite().all()) else sum(numbers)


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a proportion.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike the normal
    approximation it stays inside [0, 1] and has width at 0 and n correct.

    Args:
        correct: Number of hits, 0..n.
        n: Number of trials, at least 1.
        z: Normal quantile; the default gives 95 %.

    Returns:
        Lower and upper bound, in [0, 1].

    Raises:
        InputError: If n is below 1 or correct is outside 0..n.
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"an interval needs n >= 1 and 0 <= correct <= n, got correct={correct}, n={n}")
    share = correct / n
    center = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at 0 and n correct the bound is the share itself, which rounding may miss
    return max(0.0, min(share, (center - half) / scale)), min(1.0, max(share, (center + half) / scale))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of values in [0, 1], by Student's t with the sample's standard deviation.

    Args:
        values: One for each sample, n of them.

    Returns:
        Lower and upper bound, cut to [0, 1]; None below two values, whose spread is unknown.
    """
    if len(values) < 2:
        return None
    mean, half = _mean_and_half_width(values)
    return max(0.0, mean - half), min(1.0, mean + half)


def ratio_values(part: Tensor, whole: Tensor) -> Tensor:
    """Split a mean of ratios of sums, such as mean IoU, into one value for each sample, so that it has an interval.

    The mean of the values is the mean over k of sum(part[:, k]) / sum(whole[:, k]), and their spread is that of the
    first-order Taylor expansion of the ratios: Cochran, "Sampling Techniques", 3rd edition, 1977, section 6.3. So
    `mean_interval` of them is the ratios' interval, for samples drawn independently.

    Args:
        part: Of each of n samples its share in K sums, (n, K), at most `whole`.
        whole: The same of the sums that they are divided by, (n, K); a column of zeros is left out.

    Returns:
        (n,), float64, on the CPU; NaN if all columns are zero.
    """
    part, whole = (values.cpu().double()[:, (whole.sum(0) > 0).cpu()] for values in (part, whole))
    sums = whole.sum(0)
    ratio = part.sum(0) / sums
    return (ratio + len(part) * (part - ratio * whole) / sums).mean(1)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact McNemar test of two classifiers on the same samples.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947, with
    the binomial distribution in place of its approximation: if both were equally good, of the samples that one of them
    has right and the other wrong each would be either's with probability 1/2.

    Args:
        only_first: Samples that only the first has right, 0 or more.
        only_second: Samples that only the second has right, 0 or more.

    Returns:
        Two-sided p value, in (0, 1]; 1 without such samples.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    term = total = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        total += term
    return min(1.0, 2 * total / (1 << n))


def holm(values: Sequence[float]) -> list[float]:
    """p values of several tests, so that below 0.05 any of them is by chance in 5 % of all cases.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Args:
        values: p of each test, 0 to 1.

    Returns:
        The adjusted values, in the same order.
    """
    adjusted, highest = [1.0] * len(values), 0.0
    for place, row in enumerate(sorted(range(len(values)), key=lambda row: values[row])):
        highest = max(highest, min(1.0, (len(values) - place) * values[row]))
        adjusted[row] = highest
    return adjusted


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """How much higher the second values are in the mean, on the same samples, with its 95 % interval.

    Args:
        first: n values in [0, 1].
        second: n values of the same samples in the same order.

    Returns:
        Mean difference, lower and upper bound by Student's t, cut to [-1, 1]; NaN bounds below two samples.
    """
    mean, half = _mean_and_half_width([b - a for a, b in zip(first, second, strict=True)])
    return (mean, nan, nan) if isnan(half) else (mean, max(-1.0, mean - half), min(1.0, mean + half))


def _mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval.

    Student, "The probable error of a mean", 1908. The normal quantile in place of t's ignores that the standard
    deviation is an estimate too: with 2 values its interval holds the mean in 70 % of all cases, with 5 in 88 %.

    Returns:
        NaN where too few values leave them unknown.
    """
    n = len(values)
    mean = fsum(values) / n if n else nan
    if n < 2:
        return mean, nan
    from scipy.special import stdtrit  # takes long to import

    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, float(stdtrit(n - 1, 0.975)) * deviation / sqrt(n)
