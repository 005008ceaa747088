"""What the terminal shows, at the widths that terminals have."""

from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.printing import print_recipes, print_result
from visiontasks.recipe import Recipe, list_recipes

MEASURED = "test/top1 0.9930 (mean of 3 seeds, 0.9900 to 0.9950), test/top5 1.0000, 25 s on 2 cores, visiontasks 0.1.0"
RECIPES = [
    Recipe("cifar10_resnet20_scratch", "classification", "resnet20_cifar", "CIFAR10", True, ""),
    Recipe("digits_resnet", "classification", "resnet20_cifar.vt_cifar10", "Digits", False, MEASURED),
    Recipe("folder_resnet", "classification", "resnet18.a1_in1k", "ImageFolder", True, ""),
]
METRICS: dict[str, dict[str, Any]] = {
    "test/top1": {"value": 0.99, "n": 1000, "count": 990, "interval95": [0.98171, 0.99456]},
    "test/loss": {"value": 0.03125, "n": 1000},
}
RESULT: dict[str, Any] = {"samples": {"evaluated": 1000, "of": 1000}, "metrics": METRICS, "class_metrics": {}}


def printed(columns: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    print_recipes(RECIPES)
    return capsys.readouterr().out.splitlines()


def test_recipes_are_a_table_with_what_was_measured_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(120, monkeypatch, capsys) == [
        "recipe                    task            backbone                   data         download",
        "cifar10_resnet20_scratch  classification  resnet20_cifar             CIFAR10      yes",
        "digits_resnet             classification  resnet20_cifar.vt_cifar10  Digits       no",
        f"    {MEASURED}",
        "folder_resnet             classification  resnet18.a1_in1k           ImageFolder  yes",
    ]


def test_in_80_columns_recipe_names_stay_whole_and_the_tag_goes_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(80, monkeypatch, capsys) == [
        "recipe                    task            backbone         data         download",
        "cifar10_resnet20_scratch  classification  resnet20_cifar   CIFAR10      yes",
        "digits_resnet             classification  resnet20_cifar.  Digits       no",
        "                                          vt_cifar10",
        "    test/top1 0.9930 (mean of 3 seeds, 0.9900 to 0.9950), test/top5 1.0000, ...",
        "folder_resnet             classification  resnet18.        ImageFolder  yes",
        "                                          a1_in1k",
    ]


def test_in_a_pipe_every_recipe_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(None, monkeypatch, capsys)
    assert [line.split()[0] for line in lines if line[0] != " "] == ["recipe", *(recipe.name for recipe in RECIPES)]
    assert f"    {MEASURED}" in lines


@pytest.mark.parametrize("columns", [80, 120])
def test_shipped_recipes_fit_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_recipes(list_recipes())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == [recipe.name for recipe in list_recipes()]


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
