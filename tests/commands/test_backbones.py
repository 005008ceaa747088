"""`visiontasks backbones`: the selection from its table, others by name, their figures and where their weights are."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from visiontasks.commands import backbones as command
from visiontasks.commands.backbones import SELECTION, computed, read_selection, to_csv
from visiontasks.commands.main import main
from visiontasks.summary.backbones import figures, find_backbones

Lines = Callable[..., list[str]]
QUICK = ("resnet20_cifar.vt_cifar10", "mobilenetv3_small_100.lamb_in1k")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Lines of a command in a terminal of some width (None: in a pipe), with nothing downloaded."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def printed(*arguments: str, columns: int | None = None) -> list[str]:
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["backbones", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return printed


def fresh(names: list[str]) -> list[dict[str, object]]:
    """Rows of the table as they are computed now."""
    rows = []
    for facts in find_backbones(names):
        known = figures(facts)
        assert known is not None
        rows.append({"name": facts.name, **known._asdict(), "source": facts.source})
    return rows


def shipped(names: list[str]) -> list[dict[str, object]]:
    return [dict(vars(each)) for each in read_selection() if each.name in names]


def test_rows_of_the_shipped_table_are_what_the_networks_give() -> None:
    assert fresh(list(QUICK)) == shipped(list(QUICK))


@pytest.mark.slow
def test_every_row_of_the_shipped_table_is_what_its_network_gives() -> None:
    names = [each.name for each in read_selection()]
    assert fresh(names) == shipped(names)


def test_csv_writes_the_shipped_table_again(lines: Lines) -> None:
    first, *rows = SELECTION.read_text().splitlines()
    again = to_csv(computed([each for each in read_selection() if each.name in QUICK])).splitlines()
    assert [line.rpartition(",")[0] for line in again] == [
        first,
        *(row for name in QUICK for row in rows if row.startswith(f"{name},")),
    ]
    assert lines(*QUICK, "--format", "csv") == again
    assert [line.rpartition(",")[0] for line in lines("--format", "csv")] == [first, *rows]


def test_whole_names_of_the_shipped_table_are_answered_without_timm(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "visiontasks.summary.backbones", None)  # importing it is an error
    name, other = (each.name for each in read_selection()[1:3])
    assert [line.split()[0] for line in lines(other, name, other)[1:]] == [other, name]


def test_a_pattern_builds_only_networks_that_the_shipped_table_does_not_have(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr("visiontasks.summary.backbones.figures", lambda facts: built.append(facts.name))
    shown = lines("mobilenetv3_small_1*")
    assert "mobilenetv3_small_100.lamb_in1k" not in built
    assert any(
        line.startswith("mobilenetv3_small_100.lamb_in1k 2.54M") for line in map(" ".join, map(str.split, shown))
    )


def test_the_shipped_table_is_sorted_by_multiply_adds() -> None:
    costs = [each.multiply_adds or 0 for each in read_selection()]
    assert costs == sorted(costs)


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_each_backbone_is_one_line_within_the_terminal(columns: int, lines: Lines) -> None:
    shown = lines(columns=columns)
    assert max(map(len, shown)) <= columns
    header, *rows = shown[: shown.index("")]
    assert [row.split()[0] for row in rows] == [each.name for each in read_selection()]
    wanted = ["backbone", "params", *(["size"] if columns > 80 else []), "mult-adds", "image", "stages"]
    assert header.split() == [*wanted, *(["strides"] if columns == 120 else []), "weights"]
    assert shown[-1].startswith("all of timm: visiontasks backbones '*'") or columns == 80


def test_a_pipe_gets_whole_lines_of_eight_words_and_no_notes(lines: Lines) -> None:
    shown = lines()
    assert {len(line.split()) for line in shown} == {8}
    assert len(shown) == 1 + len(read_selection())
    assert shown[1].split() == [
        *("resnet20_cifar.vt_cifar10", "270K", "1.08MB", "40.6M", "32", "3", "1,2,4", "shipped"),
    ]


def test_weights_are_here_once_they_were_downloaded(lines: Lines, tmp_path: Path) -> None:
    assert {line.split()[-1] for line in lines()} == {"weights", "shipped", "online"}
    snapshot = tmp_path / "huggingface/hub/models--timm--resnet18.a1_in1k/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints/googlenet-1378be20.pth").touch()
    assert [line.split()[0] for line in lines() if line.endswith(" here")] == ["googlenet.tv_in1k", "resnet18.a1_in1k"]


def test_json_has_exact_figures(lines: Lines) -> None:
    (found,) = json.loads("\n".join(lines("lenet5", "--format", "json")))
    assert found == {
        "name": "lenet5",
        "parameters": 61_706,
        "multiply_adds": 416_520,
        "image": [1, 32, 32],
        "stages": 3,
        "strides": [1, 2, 4],
        "source": "",
        "weights": "none",
    }


def test_many_matches_have_the_figures_of_the_shipped_table_only(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MOST_BUILT", 1)
    shown = lines("mobilenetv3_small_*", columns=120)
    assert len(shown) > 4
    known = {line.split()[0] for line in shown if "56.5M" in line}
    assert known == {"mobilenetv3_small_100.lamb_in1k"}
    (other,) = [line for line in shown if line.startswith("mobilenetv3_small_050.lamb_in1k")]
    assert other.split()[1:] == ["-", "-", "-", "224", "-", "-", "online"]
    assert shown[-1].endswith("names; figures are computed for 1 at most: narrow the pattern")
    rows = csv.DictReader(io.StringIO("\n".join(lines("mobilenetv3_small_*", "--format", "csv"))))
    assert {row["image"] for row in rows} == {"3x224x224"}


def test_a_pattern_without_a_match_is_answered_with_near_names(refused: Callable[[str], str]) -> None:
    assert "no backbone matches 'resnt18'; did you mean resnet18" in refused("backbones resnt18")
