"""Runs side by side: same samples in any order, a test by hand, refusal of others."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from visiontasks.commands.main import main
from visiontasks.commands.printing import describe_test
from visiontasks.errors import InputError, MissingFileError
from visiontasks.results.compare import compare, compare_pair
from visiontasks.results.samples import Samples

LABELS = ["ant", "bee", "ant", "bee", "ant", "bee"]


def samples(predicted: list[str], names: str = "abcdef", labels: list[str] = LABELS) -> Samples:
    return Samples(list(names), [0.5] * len(names), labels, predicted, [0.9] * len(names))


def write_run(
    folder: Path, *, value: float = 0.5, lr: float = 0.1, rows: str = "a,ant,ant,0.9,0.9\n", **changes: Any
) -> Path:
    folder.mkdir(parents=True)
    optimizer = {"class_path": "SGD", "init_args": {"lr": lr}}
    model = {"class_path": "ClassificationTask", "init_args": {"backbone": "lenet5", "weights": "none"}}
    model["init_args"] |= {"optimizer": optimizer, "mean": [0.5, 0.5]}  # type: ignore[operator]  # it is a dict
    recipe = {"model": model, "data": {"class_path": "Digits"}, "trainer": {"max_epochs": None}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    result = {
        "task": "ClassificationTask",
        "split": "test",
        "samples": {"evaluated": 6, "of": 6},
        "metrics": {"test/top1": {"value": value, "n": 6, "count": 3, "interval95": [0.25, 0.75]}},
        "fit_s": 12.5,
        "time": {"steps": 10.0},
        "finished": "2026-11-21T17:01:23+00:00",
        "versions": {"torch": "2.15.0"},
        "hardware": {"gpus": [], "threads": 2},
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "predictions_test.csv").write_text("sample,label,predicted,probability,score\n" + rows)
    return folder


def test_samples_are_matched_by_name_whatever_their_order() -> None:
    ours = samples(["ant", "bee", "ant", "ant", "ant", "bee"])  # d is wrong
    theirs = samples(["ant", "ant", "ant", "bee", "ant", "ant"], names="fedcba", labels=LABELS[::-1])
    # theirs has e and a right, ours all but d
    found = compare_pair("A", "B", ours, theirs, by_score=False)
    assert (found.n, found.only_first, found.only_second) == (6, 3, 0)
    assert found.p == pytest.approx(2 * 1 / 8)
    assert found.difference is None


def test_scores_of_boxes_and_masks_are_compared_in_pairs() -> None:
    ours, theirs = Samples(["a", "b", "c"], [0.1, 0.5, float("nan")]), Samples(["b", "a", "c"], [0.7, 0.2, 1.0])
    found = compare_pair("A", "B", ours, theirs, by_score=True)
    assert found.p is None
    assert found.difference is not None
    assert found.difference[0] == pytest.approx((0.1 + 0.2) / 2)


@pytest.mark.parametrize(
    "theirs",
    [
        samples(["ant"] * 5, names="abcde", labels=LABELS[:5]),
        samples(["ant"] * 6, names="abcdeg"),
        samples(["ant"] * 6, labels=LABELS[::-1]),
        samples(["ant"] * 7, names="abcdeff", labels=[*LABELS, "bee"]),
    ],
    ids=["fewer", "other", "other labels", "more"],
)
def test_other_samples_are_not_compared(theirs: Samples) -> None:
    with pytest.raises(InputError, match=r"A and B were not measured on the same samples \(\d in common"):
        compare_pair("A", "B", samples(["ant"] * 6), theirs, by_score=False)


def test_runs_are_put_side_by_side(tmp_path: Path) -> None:
    right, wrong = "a,ant,ant,0.9,0.9\nb,bee,bee,0.9,0.9\n", "a,ant,bee,0.9,0.1\nb,bee,bee,0.9,0.9\n"
    runs = [write_run(tmp_path / "1", rows=right), write_run(tmp_path / "2", value=0.75, lr=0.2, rows=wrong)]
    found = compare([str(run) for run in runs])
    assert dict(found.runs) == {"A": runs[0], "B": runs[1]}
    assert found.metrics == [
        ("test/top1", ["0.5000 (0.2500 - 0.7500)", "0.7500 (0.2500 - 0.7500)"]),
        ("samples evaluated", ["6/6", "6/6"]),
    ]
    assert found.recipe == [("model.init_args.optimizer.init_args.lr", ["0.1", "0.2"])]
    assert ("torch", ["2.15.0", "2.15.0"]) in found.facts
    assert [(test.first, test.second, test.only_first, test.only_second, test.p) for test in found.tests] == [
        ("A", "B", 1, 0, 1.0)
    ]
    assert found.untested == []


def test_each_pair_is_tested_or_told_why_not(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "1"),
        write_run(tmp_path / "2"),
        write_run(tmp_path / "3", rows="z,ant,ant,0.9,0.9\n"),
        write_run(tmp_path / "4", split="val"),
        write_run(tmp_path / "5"),
    ]
    (runs[4] / "predictions_test.csv").unlink()
    found = compare([str(run) for run in runs])
    assert [(test.first, test.second) for test in found.tests] == [("A", "B")]
    assert len(found.untested) == 9
    assert any("A and C were not measured on the same samples (0 in common" in line for line in found.untested)
    assert any("D: ClassificationTask on the val split: not the same" in line for line in found.untested)
    assert any("no " in line and "predictions_test.csv: visiontasks evaluate" in line for line in found.untested)


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / "1"), write_run(tmp_path / "[b]2", lr=0.2)]
    assert main(["compare", *map(str, runs)]) == 0
    said = capsys.readouterr().out
    assert f"B: {tmp_path}/[b]2" in said
    assert "0.5000 (0.2500 - 0.7500)" in said
    assert "model.init_args.optimizer.init_args.lr" in said
    assert "only A right 0, only B right 0, McNemar's exact test p = 1: no difference is shown" in said


def test_a_difference_that_is_no_chance_is_called_one() -> None:
    ours, theirs = samples(LABELS), samples(["bee", "ant", "bee", "ant", "bee", "ant"])
    line = describe_test(compare_pair("A", "B", ours, theirs, by_score=False))
    assert line == (
        "A and B on the same 6 samples: only A right 6, only B right 0, McNemar's exact test p = 0.0312: they differ"
    )


def test_wrong_arguments_are_answered(tmp_path: Path, refused: Any) -> None:
    run = write_run(tmp_path / "1")
    assert "compare takes 2 to 26 runs, got 1" in refused(f"compare {run}")
    assert "no run in nowhere" in refused(f"compare {run} nowhere")
    (run / "result.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        compare([str(run), str(run)])
    (run / "result.json").unlink()
    with pytest.raises(MissingFileError, match="no finished run"):
        compare([str(run), str(run)])


def test_a_key_that_an_older_version_did_not_have_is_one_that_is_not_set(tmp_path: Path) -> None:
    old, new = write_run(tmp_path / "old"), write_run(tmp_path / "new", lr=0.2)
    recipe = yaml.safe_load((new / "recipe.yaml").read_text())
    (new / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "init_from": None}))
    found = compare([str(old), str(new)])
    assert [name for name, _ in found.recipe] == ["model.init_args.optimizer.init_args.lr"]
