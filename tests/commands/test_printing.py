"""What the terminal shows, at the widths that terminals have."""

from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.printing import print_result

METRICS: dict[str, dict[str, Any]] = {
    "test/top1": {"value": 0.99, "n": 1000, "count": 990, "interval95": [0.98171, 0.99456]},
    "test/loss": {"value": 0.03125, "n": 1000},
}
RESULT: dict[str, Any] = {"samples": {"evaluated": 1000, "of": 1000}, "metrics": METRICS, "class_metrics": {}}


def test_a_result_shows_each_value_with_its_interval_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, title="digits: test split")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "",
        "digits: test split",
        "metric             value   95 % interval    n",
        "test/top1          0.9900  0.9817 - 0.9946  990 / 1,000",
        "test/loss          0.0312                   1,000",
        "samples evaluated                           1,000/1,000",
    ]


def test_metrics_of_classes_are_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    by_class = {"test/class_iou": {"[sky]": 0.5, "pole": None}}
    print_result({**RESULT, "class_metrics": by_class}, title="t")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()][-4:] == [
        "",
        "class  test/class_iou",
        "[sky]  0.5000",
        "pole   absent",
    ]


def test_a_run_is_named_with_the_next_command_on_lines_that_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run = tmp_path / ("[run] " + "x" * 80)
    print_result(RESULT, title="t", run_dir=run)
    assert capsys.readouterr().out.splitlines()[-2:] == [f"run folder: {run}", f"next: visiontasks evaluate '{run}'"]
