"""What the terminal shows, at the widths that terminals have."""

import pytest

from visiontasks.commands.printing import print_recipes
from visiontasks.recipe import Recipe, list_recipes

MEASURED = "test/top1 0.9930 (mean of 3 seeds, 0.9900 to 0.9950), test/top5 1.0000, 25 s on 2 cores, visiontasks 0.1.0"
RECIPES = [
    Recipe("cifar10_resnet20_scratch", "classification", "resnet20_cifar", "CIFAR10", True, ""),
    Recipe("digits_resnet", "classification", "resnet20_cifar.vt_cifar10", "Digits", False, MEASURED),
    Recipe("folder_resnet", "classification", "resnet18.a1_in1k", "ImageFolder", True, ""),
]


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
