"""Lines in a terminal's width."""

import os

import pytest

from visiontasks.terminal import print_wrapped, wrapped

LINE = "2 classes: ants 149, bees 150. train 179, val 60"


def test_a_line_is_broken_between_words_and_goes_on_indented() -> None:
    assert wrapped(LINE, 30) == ["2 classes: ants 149, bees 150.", "  train 179, val 60"]


def test_a_line_as_long_as_the_terminal_is_wide_stays_whole() -> None:
    assert wrapped(LINE, len(LINE)) == [LINE]


def test_a_path_is_never_broken() -> None:
    path = "/a-b/" + "c" * 40
    assert wrapped(f"report: {path}", 20) == ["report:", f"  {path}"]


def test_an_empty_line_stays() -> None:
    assert wrapped("", 20) == [""]


@pytest.mark.parametrize(("terminal", "printed"), [(True, ["a b c", "  d"]), (False, ["a b c d"])])
def test_only_a_terminal_has_a_width(
    terminal: bool, printed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((5, 24)))
    print_wrapped(["a b c d"])
    assert capsys.readouterr().out.splitlines() == printed


def test_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_wrapped([])
    assert capsys.readouterr().out == ""
