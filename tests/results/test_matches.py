"""matches_<split>.csv: two runs of detection compared image by image, with the difference worked out by hand."""

from pathlib import Path

import pytest

from visiontasks.commands.printing import describe_test
from visiontasks.errors import InputError
from visiontasks.results.compare import compare_pair
from visiontasks.results.matches import matches_difference, matches_name, write_matches
from visiontasks.results.samples import Samples
from visiontasks.tasks.metrics.match_rows import MatchRow

RIGHT, WRONG = "1" * 10, "0" * 10


def detection(image: int, outcome: str, score: float) -> MatchRow:
    return MatchRow(image=image, label="=cat", score=score, outcome=outcome)  # a spreadsheet would run such a name


def an_object(image: int) -> MatchRow:
    return MatchRow(image=image, label="=cat", score=None, outcome="")


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """An object in each of two images: the first run finds one of them, the second, whose order is reversed, both."""
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    objects = [an_object(0), an_object(1)]
    write_matches(paths[0], [detection(0, RIGHT, 0.9), detection(1, WRONG, 0.8), *objects])
    write_matches(paths[1], [detection(1, RIGHT, 0.9), detection(0, RIGHT, 0.8), *objects])
    return paths


def test_the_difference_is_that_of_average_precision(tables: tuple[Path, Path]) -> None:
    found = matches_difference(*tables, [1, 0])
    assert found is not None
    # of 101 recalls the first run reaches 0 to 0.50, 51, with a precision of 1
    assert found[0] == pytest.approx(1 - 51 / 101)
    assert (found[1], found[2]) == (0, 1)  # a resample may have the first image alone, or the second


def test_runs_are_paired_by_the_names_of_their_images(tables: tuple[Path, Path]) -> None:
    ours, theirs = Samples(["a", "b"], [1.0, 0.0]), Samples(["b", "a"], [1.0, 1.0])
    test = compare_pair("A", "B", ours, theirs, by_score=True, matches=tables)
    assert (test.metric, test.n, test.p) == ("map", 2, None)
    assert "map of B higher by +0.4950 (95 % interval +0.0000 to +1.0000)" in describe_test(test)


def test_a_run_without_the_table_is_compared_by_its_scores(tables: tuple[Path, Path]) -> None:
    tables[1].unlink()
    ours, theirs = Samples(["a", "b"], [0.5, 0.0]), Samples(["b", "a"], [1.0, 1.0])
    test = compare_pair("A", "B", ours, theirs, by_score=True, matches=tables)
    assert test.metric is None
    assert test.difference is not None
    assert test.difference[0] == pytest.approx((0.5 + 1) / 2)


def test_without_matches_those_of_an_earlier_measurement_go(tables: tuple[Path, Path]) -> None:
    write_matches(tables[0], [])
    assert not tables[0].exists()
    assert matches_name("test", "_street") == "matches_test_street.csv"


@pytest.mark.parametrize(
    "content", ["", "image,label\n0,cat\n", "image,label,score,outcome\n0,cat,0.5,111\n", "a,b\n1\n"]
)
def test_a_damaged_table_is_named(content: str, tables: tuple[Path, Path]) -> None:
    tables[1].write_text(content)
    with pytest.raises(InputError, match=r"b.csv is not a table of matches \(.*\): visiontasks evaluate RUN writes it"):
        matches_difference(*tables, [1, 0])
