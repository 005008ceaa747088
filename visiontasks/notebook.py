"""What a notebook shows: pages in a frame of their own, and the curves of a training while it runs."""

import sys
from collections.abc import Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.report.charts import Line, line_chart
from visiontasks.report.html import page
from visiontasks.training.progress import History, Row

CURVES_PX = 360


def in_notebook() -> bool:
    """Whether cells are run by a kernel that shows HTML (Jupyter, VS Code, Colab), not by a terminal or a script."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def framed(document: str, *, height_px: int) -> str:
    """A page as an element of another one: its styles reach nothing outside, and nothing outside reaches it.

    Args:
        document: HTML of the whole page.
        height_px: Of the frame, within which it scrolls; the width is that of what is around it.
    """
    style = f"width: 100%; height: {height_px}px; border: 1px solid #d9dce1; background: #fff"
    return f'<iframe srcdoc="{escape(document)}" style="{style}"></iframe>'


class ShownPage:
    """A page on the disk that a notebook shows.

    Args:
        path: The HTML file.
        height_px: Of the frame that it is shown in.
    """

    def __init__(self, path: Path, *, height_px: int = 800) -> None:
        self.path = path
        self.height_px = height_px

    def __repr__(self) -> str:
        return f"report: {self.path.resolve().as_uri()}"

    def _repr_html_(self) -> str:
        return framed(self.path.read_text(encoding="utf-8"), height_px=self.height_px)


class Curves:
    """Curves of a training that a notebook shows.

    Args:
        document: HTML of the page that they are on.
    """

    def __init__(self, document: str) -> None:
        self.document = document

    def __repr__(self) -> str:
        return "curves of the training"

    def _repr_html_(self) -> str:
        return framed(self.document, height_px=CURVES_PX)


class LiveCurves(Checkpoint):
    """Draws a training's curves after each epoch, in one place of the notebook.

    It is a Checkpoint so that Lightning calls it after `History`, whose rows it draws.

    Args:
        history: Of the training.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._shown: Any = None

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them anew."""
        shown: Any = import_module("IPython.display")  # there is a notebook
        document = curves_page(self.history.rows, self.history.names)
        if not document:
            return
        if self._shown is None:
            self._shown = shown.display(Curves(document), display_id=True)
        else:
            self._shown.update(Curves(document))


def curves_page(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Losses in one chart, the metric that the best epoch is chosen by in another; empty without a value.

    Args:
        rows: Of metrics.csv.
        names: Of the losses and the metric.
    """
    losses = [name for name in names if name.endswith("loss")]
    others = [name for name in names if name not in losses]
    charts = [
        line_chart(title, [_line(rows, name) for name in each], x_name="epoch")
        for title, each in (("Loss", losses), (", ".join(others), others))
    ]
    shown = "".join(chart for chart in charts if chart)
    return page("Training", [f'<div class="cards">{shown}</div>']) if shown else ""


def _line(rows: Sequence[Row], name: str) -> Line:
    return Line(name, [(row["epoch"], row[name]) for row in rows if name in row])
