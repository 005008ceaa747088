"""The line that changes at the bottom of a terminal: nothing that is printed is torn, and it is gone in the end."""

import io
import os
import sys

import pytest

from visiontasks.training.status_line import ERASE, WIDTH, StatusLine, display


class Terminal(io.StringIO):
    """Takes what is written, as a terminal of a width would."""

    encoding = "ascii"

    def isatty(self) -> bool:
        return True


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in the place of both streams; no fixture, since pytest replaces them after those are made."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def columns(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(StatusLine, "_columns", lambda self: number)


def last_line(stream: Terminal) -> str:
    return stream.getvalue().rpartition(ERASE)[2]


def test_the_bar_stands_between_two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    line = StatusLine("terminal")
    line.show(0.4, "epoch 2/5", "40%  210 images/s")
    assert last_line(terminal) == "epoch 2/5 " + "#" * 10 + "." * 15 + " 40%  210 images/s"
    line.close()


def test_printed_lines_go_above_and_the_line_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    line = StatusLine("terminal")
    line.show(0, "epoch 1", "0%")
    shown = last_line(terminal)
    before = len(terminal.getvalue())
    print("note")
    print("warning", file=sys.stderr)
    assert terminal.getvalue()[before:] == f"{ERASE}note\n{shown}{ERASE}warning\n{shown}"
    line.close()


def test_half_a_line_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    line = StatusLine("terminal")
    line.show(0, "epoch 1", "0%")
    before = len(terminal.getvalue())
    print("half", end=" ", flush=True)
    assert terminal.getvalue()[before:] == ""
    print("whole")
    assert "half whole\n" in terminal.getvalue()[before:]
    print("the last", end="")
    line.close()
    assert "the last\n" in terminal.getvalue()


def test_the_line_is_gone_in_the_end_and_the_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    line = StatusLine("terminal")
    assert sys.stdout is not terminal
    line.show(0.5, "epoch 1", "50%")
    line.close()
    assert terminal.getvalue().endswith(ERASE)
    assert sys.stdout is terminal
    assert sys.stderr is terminal


def test_a_stream_that_was_replaced_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    line = StatusLine("terminal")
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    line.close()
    assert sys.stdout is other


@pytest.mark.parametrize("number", [*range(1, 100, 7), 79, 119])
def test_the_line_is_never_wider_than_the_terminal(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    columns(monkeypatch, number)
    line = StatusLine("terminal")
    line.show(1.0, "epoch 12/100 validation", "62%  1,234 images/s  1 h 20 min left")
    assert len(last_line(terminal)) <= number
    line.close()


def test_a_narrow_terminal_gets_a_shorter_bar_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    for number, bar in ((40, "#" * 25), (20, "#" * 12), (12, "")):  # 8 for the texts and the gaps
        columns(monkeypatch, number)
        line = StatusLine("terminal")
        line.show(1.0, "ab", "100%")
        assert last_line(terminal) == (f"ab {bar} 100%" if bar else "ab 100%")
        line.close()


def test_the_width_is_the_terminals_and_at_most_79(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    monkeypatch.setattr(terminal, "fileno", lambda: 1)
    found = {}
    for number in (0, 40, 80, 120):
        monkeypatch.setattr(os, "get_terminal_size", lambda _, number=number: os.terminal_size((number, 24)))
        line = StatusLine("terminal")
        found[number] = line._columns()
        line.close()
    assert found == {0: WIDTH, 40: 39, 80: 79, 120: 79}


def test_a_notebook_overwrites_with_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    line = StatusLine("notebook")
    line.show(0, "epoch 10", "0%")
    line.show(0, "epoch 9", "0%")
    bar = "." * 25
    assert stream.getvalue() == f"\repoch 10 {bar} 0%\repoch 9 {bar} 0% "
    line.close()
    assert "\x1b" not in stream.getvalue()


def test_colours_only_where_the_encoding_can_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = in_terminal(monkeypatch)
    terminal.encoding = "utf-8"  # type: ignore[misc]
    line = StatusLine("terminal")
    line.show(1.0, "epoch 1", "100%")
    assert "━" * 25 in last_line(terminal)
    line.close()


def test_a_log_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert display() == "terminal"
    monkeypatch.setenv("TERM", "dumb")
    assert display() == "none"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("TERM", "xterm-256color")
    assert display() == "none"
