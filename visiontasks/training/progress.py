"""A line for each epoch on the terminal, and a row in metrics.csv."""

import io
import time
from math import inf, isnan, nan
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.csv_tables import CSVWriter
from visiontasks.runs.checkpoint import write_text
from visiontasks.training.interruptions import TIE_BREAKER

DIGITS = 6
"""Columns of a number in an epoch's line."""

Row = dict[str, float]


class History(Checkpoint):
    """Prints a line at the end of each epoch and writes a row of metrics.csv, which a resumed training continues.

    A row has the epoch, the optimizer's steps, the seconds it took, the learning rates at its start by group, and every
    metric. A validation in the middle of an epoch has a row without training loss.

    It is a Checkpoint so that Lightning calls it after the module's own `on_train_epoch_end`.

    Args:
        path: The CSV file.
        monitor: Name of the metric that the best epoch is chosen by.
        mode: "min" or "max".

    Attributes:
        rows: Those of the file.
    """

    def __init__(self, path: Path, monitor: str, mode: Literal["min", "max"] = "max") -> None:
        self.path = path
        self.monitor = monitor
        self.mode = mode
        self.names = tuple(dict.fromkeys(("train/loss", "val/loss", monitor)))
        self.rows: list[Row] = []
        self._rates: Row = {}
        self._validation: Row = {}
        self._start = 0.0

    @property
    def epoch_s(self) -> list[float]:
        """Seconds of each epoch, validation included."""
        return [row["seconds"] for row in self.rows if "seconds" in row]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._validation = {}
        self._rates = {
            "lr/" + str(group.get("name", f"group {i}")).removesuffix(".no_decay"): float(group["lr"])
            for optimizer in trainer.optimizers
            for i, group in enumerate(optimizer.param_groups)
        }

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the metrics; those of an earlier validation in the same epoch become a row."""
        if trainer.sanity_checking:
            return
        if self._validation:
            self.rows.append(self._validation)
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._validation = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, **values}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, write and print."""
        known = ("val/", "lr-")  # the second is the LearningRateMonitor's
        values = {name: float(v) for name, v in trainer.callback_metrics.items() if not name.startswith(known)}
        seconds = time.monotonic() - self._start
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "seconds": round(seconds, 4)}
        self.rows.append({**row, **self._rates, **values, **self._validation})
        self._validation = {}
        self._write()
        self._print(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Rows and clock, for a resumed training."""
        elapsed_s = time.monotonic() - self._start
        return {"rows": self.rows, "validation": self._validation, "rates": self._rates, "elapsed_s": elapsed_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore rows and clock; rows of epochs that are trained again are removed from the file."""
        self.rows, self._validation = state_dict["rows"], state_dict["validation"]
        self._rates = state_dict["rates"]
        self._start = time.monotonic() - state_dict["elapsed_s"]
        self._write()

    @rank_zero_only
    def _write(self) -> None:
        names = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        writer = CSVWriter(text)
        for cells in (names, *([row.get(name) for name in names] for row in self.rows)):
            writer.write(cells)
        write_text(self.path, text.getvalue())

    @rank_zero_only
    def _print(self, trainer: Trainer) -> None:
        row = self.rows[-1]
        known = [name for name in self.names if any(name in each for each in self.rows)]
        columns = [f"{name} {_number(row[name])}" if name in row else " " * (len(name) + 1 + DIGITS) for name in known]
        last = trainer.max_epochs if trainer.max_epochs not in (None, -1) else None
        of = f"/{last}" if last else ""  # without, it is limited by trainer.max_steps alone
        epoch = f"epoch {row['epoch']:>{len(str(last or ''))}}{of}"
        best = "  best" if self._is_best(row) else ""
        print("  ".join([epoch, *columns, f"{_seconds(row['seconds']):>7}"]) + best, flush=True)

    def _is_best(self, row: Row) -> bool:
        """Whether a row is better than all before, by `BestCheckpoint`'s rule."""
        known = [each for each in self.rows if not isnan(each.get(self.monitor, nan))]
        return row in known and all(self._rank(row) > self._rank(each) for each in known if each is not row)

    def _rank(self, row: Row) -> tuple[float, float]:
        """What is larger for a better row."""
        sign = 1 if self.mode == "max" else -1
        return sign * row[self.monitor], -row.get(TIE_BREAKER, inf)


def _number(value: float) -> str:
    """Four decimals as far as there is room, in columns of one width."""
    text = f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"
    return text.rjust(DIGITS)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 600 else f"{value / 60:.1f} min"
