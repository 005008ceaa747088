"""What a notebook shows stands in a frame of its own, and curves are drawn in one place."""

import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from visiontasks import notebook
from visiontasks.notebook import Curves, LiveCurves, ShownPage, curves_page, framed, in_notebook
from visiontasks.training.progress import History

PAGE = "<style>body { color: \"red\" }</style><p title='a'>R&amp;D < 1</p>"
ROWS = [
    {"epoch": 1, "train/loss": 2.0, "val/loss": 2.5, "val/top1": 0.25},
    {"epoch": 2, "val/loss": 1.5},  # of a validation in the middle of an epoch
    {"epoch": 2, "train/loss": 1.0, "val/loss": 1.25, "val/top1": 0.5},
]
NAMES = ("train/loss", "val/loss", "val/top1")


class Elements(HTMLParser):
    """Names of the elements, and attributes of the last one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.last: dict[str, str | None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.last = dict(attrs)


def test_a_page_is_in_a_frame_of_its_own() -> None:
    shown = Elements(framed(PAGE, height_px=123))
    assert shown.names == ["iframe"]  # none of the page's elements is the notebook's
    assert shown.last["srcdoc"] == PAGE
    assert "height: 123px" in str(shown.last["style"])


def test_a_page_of_the_disk_is_shown_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a report.html"
    path.write_text(PAGE, encoding="utf-8")
    shown = ShownPage(path)
    assert Elements(shown._repr_html_()).last["srcdoc"] == PAGE
    assert repr(shown) == f"report: file://{tmp_path}/a%20report.html"


def test_curves_are_of_losses_and_of_the_metric() -> None:
    page = curves_page(ROWS, NAMES)
    assert page.count("<svg") == 2
    assert all(name in page for name in NAMES)
    assert "<h3>Loss" in page or ">Loss<" in page
    assert curves_page([], NAMES) == ""
    assert curves_page([{"epoch": 1}], NAMES) == ""
    assert curves_page(ROWS[:1], ("train/loss", "val/loss", "val/loss")).count("<svg") == 1  # chosen by a loss


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for shell, expected in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=1), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))  # type: ignore[arg-type]
        assert in_notebook() is expected


def test_curves_are_drawn_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    places: list[list[Curves]] = []

    class Place:
        def __init__(self, content: Curves) -> None:
            self.contents = [content]
            places.append(self.contents)

        def update(self, content: Curves) -> None:
            self.contents.append(content)

    def display(content: Curves, *, display_id: bool) -> Place:
        assert display_id
        return Place(content)

    monkeypatch.setattr(notebook, "import_module", lambda name: SimpleNamespace(display=display))
    history = History(tmp_path / "metrics.csv", "val/top1")
    curves = LiveCurves(history)
    trainer: Any = None
    curves.on_train_epoch_end(trainer, trainer)
    assert places == []  # nothing was measured yet
    for row in ROWS:
        history.rows.append(row)
        curves.on_train_epoch_end(trainer, trainer)
    assert [len(contents) for contents in places] == [3]
    assert places[0][2].document == curves_page(ROWS, NAMES)
    assert repr(places[0][0]) == "curves of the training"
    assert unescape(places[0][0]._repr_html_()).count("<svg") == 2
