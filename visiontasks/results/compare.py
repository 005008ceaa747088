"""Runs side by side: what they reached, in what they differ, and whether the difference could be chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml

from visiontasks.errors import InputError, MissingFileError
from visiontasks.ops.metrics import mcnemar, paired_difference
from visiontasks.recipe import read_recipe
from visiontasks.results.matches import matches_difference, matches_name
from visiontasks.results.samples import Samples, read_samples, score_of, table_name
from visiontasks.runs.folder import RECIPE, find_run, is_finished, read_result

ABSENT = "-"
_NEEDED = (
    *("task", "split", "samples", "metrics", "fit_s", "finished", "versions"),
    *("hardware.gpus", "hardware.threads"),
)
_MOST_RUNS = len(ascii_uppercase)


@dataclass(frozen=True)
class PairTest:
    """Two runs on the same samples.

    Args:
        first: Letter of the one run.
        second: Letter of the other.
        n: Samples of both.
        only_first: Samples whose class only the first has right; None without classes.
        only_second: Samples whose class only the second has right; None without classes.
        p: Of McNemar's exact test; None without classes.
        difference: How much higher the second's scores are in the mean, and bounds of the 95 % interval; None where the
            score is the probability of a class.
        metric: What differs, where it is not the mean score.
    """

    first: str
    second: str
    n: int
    only_first: int | None = None
    only_second: int | None = None
    p: float | None = None
    difference: tuple[float, float, float] | None = None
    metric: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Runs by their letters; a row of a table is a name and a text for each run.

    Args:
        runs: Folders by letter.
        metrics: Every metric with its interval.
        recipe: The recipe's keys that differ.
        facts: Times and versions.
        tests: Of each pair of runs that was measured on the same samples.
        untested: Why other pairs are not tested.
    """

    runs: Mapping[str, Path]
    metrics: Sequence[tuple[str, Sequence[str]]]
    recipe: Sequence[tuple[str, Sequence[str]]]
    facts: Sequence[tuple[str, Sequence[str]]]
    tests: Sequence[PairTest]
    untested: Sequence[str]


def compare(names: Sequence[str]) -> Comparison:
    """Read runs and compare them.

    Args:
        names: Two run folders or more; of a folder of runs the newest finished one is taken.

    Raises:
        MissingFileError: If one of them is not a finished run.
        InputError: If there are too few or too many, or a file of theirs cannot be read.
    """
    if not 2 <= len(names) <= _MOST_RUNS:
        raise InputError(f"compare takes 2 to {_MOST_RUNS} runs, got {len(names)}: visiontasks compare RUN RUN")
    runs = dict(zip(ascii_uppercase, map(_finished, names), strict=False))
    results = [read_result(run, needed=_NEEDED) for run in runs.values()]
    tests, untested = _tests(runs, results)
    return Comparison(
        runs=runs,
        metrics=_rows([_metrics(result) for result in results]),
        recipe=differing_keys([read_recipe(run / RECIPE) for run in runs.values()]),
        facts=_rows([dict(_facts(result)) for result in results]),
        tests=tests,
        untested=untested,
    )


def differing_keys(recipes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Dotted keys in which recipes differ, with the value of each as text."""
    rows = _rows([dict(_flat(recipe)) for recipe in recipes])
    return [row for row in rows if len({_value(value) for value in row[1]}) > 1]


def compare_pair(
    first: str,
    second: str,
    ours: Samples,
    theirs: Samples,
    *,
    by_score: bool,
    matches: tuple[Path, Path] | None = None,
) -> PairTest:
    """Test whether two runs differ on the same samples, in any order.

    Args:
        first: Letter or name of the one run.
        second: Of the other.
        ours: The first's samples.
        theirs: The second's.
        by_score: Whether the scores themselves are to be compared.
        matches: Tables of both runs by which their average precision is compared instead; they may be missing.

    Raises:
        InputError: If the samples are not the same ones, or a table is damaged.
    """
    places = {key: i for i, key in enumerate(theirs.keys)}
    common = [places[key] for key in ours.keys if key in places]
    if not len(common) == len(ours) == len(theirs):
        raise InputError(
            f"{first} and {second} were not measured on the same samples ({len(common):,} in common, {len(ours):,} and "
            f"{len(theirs):,} in all), so they are not tested"
        )
    difference = matches_difference(*matches, common) if matches else None
    if difference is not None:
        return PairTest(first, second, len(ours), difference=difference, metric="map")
    if by_score:
        pairs = [(score, theirs.score[i]) for score, i in zip(ours.score, common, strict=True)]
        known = [(a, b) for a, b in pairs if a == a and b == b]
        difference = paired_difference([a for a, _ in known], [b for _, b in known])
    if ours.is_right is None or theirs.is_right is None:
        return PairTest(first, second, len(ours), difference=difference)
    their_right = theirs.is_right
    right = [(a, their_right[i]) for a, i in zip(ours.is_right, common, strict=True)]
    only_first, only_second = (sum(pair == wanted for pair in right) for wanted in ((True, False), (False, True)))
    p = mcnemar(only_first, only_second)
    return PairTest(first, second, len(ours), only_first, only_second, p, difference)


def _finished(name: str) -> Path:
    run = find_run(name, has_weights=False)
    if not is_finished(run):
        raise MissingFileError(
            f"no finished run in {name}: give another, or go on with it: visiontasks finetune --resume {run}"
        )
    return run


def _tests(runs: Mapping[str, Path], results: Sequence[Mapping[str, Any]]) -> tuple[list[PairTest], list[str]]:
    """Test each pair of runs, or give the reason why not."""
    tests: list[PairTest] = []
    untested: list[str] = []
    for (first, ours), (second, theirs) in combinations(zip(runs, results, strict=True), 2):
        if ours["split"] != theirs["split"] or ours["task"] != theirs["task"]:
            what = [f"{name}: {r['task']} on the {r['split']} split" for name, r in ((first, ours), (second, theirs))]
            untested.append(f"{' and '.join(what)}: not the same, so they are not tested")
            continue
        try:
            both = [read_samples(runs[letter] / table_name(ours["split"])) for letter in (first, second)]
            by_score, table = score_of(ours).measures, matches_name(ours["split"])
            matches = (runs[first] / table, runs[second] / table)
            tests.append(compare_pair(first, second, both[0], both[1], by_score=by_score, matches=matches))
        except InputError as error:
            untested.append(str(error))
    return tests, untested


def _metrics(result: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, entry in result["metrics"].items():
        low_high = entry.get("interval95")
        interval = f" ({low_high[0]:.4f} - {low_high[1]:.4f})" if low_high else ""
        found[name] = f"{entry['value']:.4f}{interval}"
    samples = result["samples"]
    return found | {"samples evaluated": f"{samples['evaluated']:,}/{samples['of']:,}"}


def _facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "training, s", f"{result['fit_s']:,.1f}"
    for part, seconds in (result.get("time") or {}).items():
        yield f"  {part}, s", f"{seconds:,.1f}"
    yield "finished", str(result["finished"])
    yield "machine", ", ".join(result["hardware"]["gpus"]) or f"{result['hardware']['threads']} threads"
    for package, version in result["versions"].items():
        yield package, str(version)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The ends of a recipe by their dotted keys; a list is one value."""
    if isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from _flat(entry, f"{key}.{name}" if key else str(name))
    else:
        yield key, yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _value(text: str) -> str:
    """A key that an older version did not have is one that is not set."""
    return "null" if text == ABSENT else text


def _rows(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, ABSENT) for column in columns]) for name in names]
