"""`visiontasks recipes`: one line a recipe at every width, and a recipe's header."""

from collections.abc import Callable
from pathlib import Path

import pytest

from visiontasks.commands.main import main
from visiontasks.recipe import find_recipe, list_recipes

WIDTHS = (60, 80, 100, 120)
Lines = Callable[[str, int | None], list[str]]

RECIPE = """\
# Cats and dogs, ResNet-18: head
# first, then everything.
#   make finetune RECIPE=cats ARGS="--data.root my_images"     your own
#   visiontasks check-data cats     what is wrong with them
# measured: test/top1 0.9875 (79 of 80), 40 s;
#   visiontasks 0.1.0, 2026-11-21
# Fewer than 16 images: a smaller batch.
model: {class_path: ClassificationTask, init_args: {backbone: resnet18.a1_in1k, weights: none}}
# not of the header
data: {class_path: ImageFolder, init_args: {root: images}}
"""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Lines of a command in a terminal of some width; None: in a pipe."""

    def printed(command: str, columns: int | None) -> list[str]:
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        assert main(command.split()) == 0
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_recipe_is_one_line_within_the_terminal(columns: int, lines: Lines) -> None:
    shown = lines("recipes", columns)
    assert max(map(len, shown)) <= columns
    table, notes = shown[: shown.index("")], shown[shown.index("") :]
    assert [line.split()[0] for line in table[1:]] == [recipe.name for recipe in list_recipes()]
    assert len({len(line.split()) for line in table}) == 1
    assert "test/top1 of classification" in " ".join(notes)


@pytest.mark.parametrize("columns", [80, 120, None])
def test_a_line_has_task_backbone_data_and_the_headline_number(columns: int | None, lines: Lines) -> None:
    (line,) = [line for line in lines("recipes", columns) if line.startswith("digits_resnet ")]
    assert {"classification", "Digits", "0.9870"} <= set(line.split())
    assert ("resnet20_cifar" if columns == 80 else "resnet20_cifar.vt_cifar10") in line.split()


def test_a_pipe_gets_whole_lines_of_seven_words_and_no_notes(lines: Lines) -> None:
    shown = lines("recipes", None)
    assert shown[0].split() == ["recipe", "task", "backbone", "data", "download", "metric", "measured"]
    assert len(shown) == 1 + len(list_recipes())
    assert {len(line.split()) for line in shown} == {7}
    assert not any("\t" in line for line in shown)


def test_a_name_shows_the_header_in_paragraphs_with_whole_commands(tmp_path: Path, lines: Lines) -> None:
    path = tmp_path / "cats.yaml"
    path.write_text(RECIPE)
    assert lines(f"recipes {path}", 60) == [
        "cats",
        "classification, backbone resnet18.a1_in1k, data ImageFolder;",
        "works without a network",
        "",
        "Cats and dogs, ResNet-18: head first, then everything.",
        '  make finetune RECIPE=cats ARGS="--data.root my_images"     your own',
        "  visiontasks check-data cats     what is wrong with them",
        "measured: test/top1 0.9875 (79 of 80), 40 s; visiontasks",
        "0.1.0, 2026-11-21",
        "Fewer than 16 images: a smaller batch.",
        "",
        f"file: {path}",
    ]


def test_a_recipe_without_a_header_has_facts_and_file(tmp_path: Path, lines: Lines) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text(RECIPE[RECIPE.index("model:") :])
    assert lines(f"recipes {path}", None) == [
        "bare",
        "classification, backbone resnet18.a1_in1k, data ImageFolder; works without a network",
        "",
        f"file: {path}",
    ]


@pytest.mark.parametrize("name", [recipe.name for recipe in list_recipes()])
def test_every_shipped_header_has_its_command(name: str, lines: Lines) -> None:
    shown = lines(f"recipes {name}", 80)
    assert any(f"RECIPE={name}" in line for line in shown)
    assert shown[-1] == f"file: {find_recipe(name)}"
    assert max(len(line) for line in shown[:-1] if not line.startswith("  ")) <= 80


def test_a_wrong_name_gets_the_near_ones(refused: Callable[[str], str]) -> None:
    assert "no recipe 'folder_resnt': did you mean folder_resnet" in refused("recipes folder_resnt")
