"""The end of a training and of a measurement on the terminal."""

import os
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.outcome import headline, predict_command, print_finished, print_result

METRICS: dict[str, dict[str, Any]] = {
    "test/top1": {"value": 0.99, "n": 1000, "count": 990, "interval95": [0.98171, 0.99456]},
    "test/loss": {"value": 0.03125, "n": 1000, "lower_is_better": True},
    "test/top1_error": {"value": 0.01, "n": 1000, "count": 10, "is_detail": True},
}
RESULT: dict[str, Any] = {
    "recipe": "digits",
    "split": "test",
    "headline": "top1",
    "samples": {"evaluated": 1000, "of": 1000},
    "metrics": METRICS,
    "class_metrics": {},
    "chosen_by": {"monitor": "val/top1", "value": 0.98, "epoch": 7},
    "phases": [{"epochs": [1, 2]}, {"epochs": [3, 8]}],
}
BASELINE = {"name": "majority class (3)", "meaning": "answers 3 for every image", "metrics": {"test/top1": 0.1031}}


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_measurement_shows_each_value_with_its_interval_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(RESULT, title="digits: test split")
    assert lines_of(capsys) == [
        "",
        "digits: test split",
        "metric           value   95 % interval    n",
        "test/top1        0.9900  0.9817 - 0.9946  990 / 1,000",
        "test/loss        0.0312                   1,000",
        "test/top1_error  0.0100                   10 / 1,000",
    ]


def test_the_baseline_is_a_column_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({**RESULT, "baseline": BASELINE}, title="digits: test split")
    assert lines_of(capsys)[2:] == [
        "metric           value   95 % interval    baseline  n",
        "test/top1        0.9900  0.9817 - 0.9946  0.1031    990 / 1,000",
        "test/loss        0.0312                             1,000",
        "test/top1_error  0.0100                             10 / 1,000",
        "baseline: majority class (3), answers 3 for every image",
    ]


def test_metrics_of_classes_are_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    by_class = {"test/class_iou": {"[sky]": 0.5, "pole": None}}
    print_result({**RESULT, "class_metrics": by_class}, title="t")
    assert lines_of(capsys)[-4:] == ["", "class  test/class_iou", "[sky]  0.5000", "pole   absent"]


def test_a_training_ends_with_result_report_and_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.html").touch()
    print_finished({**RESULT, "baseline": BASELINE}, tmp_path)
    assert lines_of(capsys) == [
        "",
        "digits: test split",
        "metric     value   95 % interval    baseline  n",
        "test/top1  0.9900  0.9817 - 0.9946  0.1031    990 / 1,000",
        "test/loss  0.0312                             1,000",
        "baseline: majority class (3), answers 3 for every image",
        "",
        "top1 0.9900 (990 of 1,000, 95 % interval 0.982 to 0.995; baseline 0.103)",
        f"weights of epoch 7 of 8, best val/top1; report: file://{tmp_path}/report.html",
        f"visiontasks predict {tmp_path} IMAGE_OR_FOLDER",
    ]


def test_in_a_terminal_the_link_is_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / ("x" * 60)
    run_dir.mkdir()
    (run_dir / "report.html").touch()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    monkeypatch.setenv("COLUMNS", "80")
    print_finished(RESULT, run_dir)
    assert f"  file://{run_dir}/report.html" in lines_of(capsys)


def test_all_metrics_are_shown_where_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = {f"c{number}": 0.5 for number in range(11)}
    for verbose, shown in ((False, False), (True, True)):
        print_finished({**RESULT, "class_metrics": {"test/recall": many}}, tmp_path, verbose=verbose)
        printed = capsys.readouterr().out
        assert ("test/top1_error" in printed) is shown
        assert ("c10" in printed) is shown


def test_a_part_of_the_samples_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_finished({**RESULT, "samples": {"evaluated": 64, "of": 1000}}, tmp_path)
    assert "measured on 64 of 1,000 samples" in lines_of(capsys)


def test_without_a_test_split_the_title_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_finished({**RESULT, "split": "val"}, tmp_path)
    assert lines_of(capsys)[1] == (
        "digits: val split (the data has no test split; the best epoch was chosen on this one)"
    )


def test_a_training_that_does_not_beat_its_baseline_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {**BASELINE, "metrics": {"test/top1": 0.985}}  # within the interval of 0.982 to 0.995
    print_finished({**RESULT, "baseline": good}, tmp_path, history=[{"train/loss": 2.0}, {"train/loss": 1.9}])
    printed = lines_of(capsys)
    start = printed.index("warning: top1 is not clearly better than the baseline. Likely causes:")
    assert printed[start + 1].startswith("- little was learned (train/loss 2 in the first epoch, 1.9 in the last)")
    assert printed[start + 2].startswith("- annotations that do not fit the images")
    assert printed[start + 3] == ""


def test_a_quick_run_shows_the_baseline_and_which_images_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {**RESULT, "samples": {"evaluated": 16, "of": 1000}}
    print_finished({**result, "baseline": {**BASELINE, "metrics": {"test/top1": 1.0}}}, tmp_path, quick=True)
    printed = capsys.readouterr().out
    assert "baseline 1.000)" in printed
    assert "measured on 16 of 1,000 samples, taken evenly over the split\n" in printed
    assert "warning" not in printed


def test_a_metric_without_count_interval_and_baseline_is_a_headline_too() -> None:
    result = {**RESULT, "headline": "loss"}
    assert headline(result) == "loss 0.0312 (n = 1,000)"


def test_a_run_folder_with_a_space_can_be_pasted() -> None:
    assert predict_command(Path("my runs/a")) == "visiontasks predict 'my runs/a' IMAGE_OR_FOLDER"
