"""The run before a run, of the same recipe, and how the two compare: for the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visiontasks.errors import InputError
from visiontasks.recipe import read_recipe
from visiontasks.report import Previous
from visiontasks.results.compare import PairTest, compare_pair, differing_keys
from visiontasks.results.matches import matches_name
from visiontasks.results.samples import Samples, read_samples, score_of, table_name
from visiontasks.runs.folder import RECIPE, is_finished, read_result, runs_in

_THIS, _PREVIOUS = "this run", "the previous run"


def previous_run(run: Path) -> Path | None:
    """The last finished run of the same recipe that began before a run; None for the first."""
    folder = run.resolve()
    others = [other for other in runs_in(folder.parent) if other.parent == folder.parent and other.name < folder.name]
    before = [other for other in others if is_finished(other)]
    return run.parent / before[-1].name if before else None


def compare_with_previous(run: Path, result: Mapping[str, Any], samples: Samples | None) -> Previous | None:
    """Compare a run with the one before.

    Args:
        run: Its folder.
        result: The content of its result.json.
        samples: Of its measured split; None if they are missing, then nothing is tested.

    Returns:
        None if there is no earlier run, its files cannot be read, or it was measured on another split or task.
    """
    before = previous_run(run)
    if before is None or not result:
        return None
    try:
        other = read_result(before)
        if any(other.get(key) != result.get(key) for key in ("recipe", "task", "split")):
            return None
        rows = differing_keys([read_recipe(each / RECIPE) for each in (before, run)])
        tests = [] if samples is None else [_test(before, run, result, samples)]
    except InputError:
        return None
    metrics = {name: float(entry["value"]) for name, entry in (other.get("metrics") or {}).items()}
    return Previous(str(before), metrics, tests, [(key, *values) for key, values in rows])  # type: ignore[misc]  # two


def _test(before: Path, run: Path, result: Mapping[str, Any], samples: Samples) -> str:
    score, split = score_of(result), str(result["split"])
    matches = (before / matches_name(split), run / matches_name(split))
    try:
        other = read_samples(before / table_name(split))
        test = compare_pair(_PREVIOUS, _THIS, other, samples, by_score=score.measures, matches=matches)
        return _sentence(test, test.metric or f"mean {score.name}")
    except InputError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."


def _sentence(test: PairTest, metric: str) -> str:
    """A test of the two runs in words."""
    parts = []
    if test.p is not None:
        verdict = "the runs differ" if test.p < 0.05 else "the difference may be chance"
        parts.append(
            f"{test.only_second:,} are right in this run only, {test.only_first:,} in the previous run only; McNemar's "
            f"exact test gives p = {test.p:.2g}: {verdict}"
        )
    if test.difference is not None:
        mean, low, high = test.difference
        verdict = "the runs differ" if low > 0 or high < 0 else "the difference may be chance"
        parts.append(
            f"this run minus the previous one is {mean:+.4f} in {metric} (95 % interval {low:+.4f} to "
            f"{high:+.4f}): {verdict}"
        )
    return f"On the same {test.n:,} images: {'; '.join(parts)}."
