"""From whatever save a training is resumed, it ends with the bits of one that was never interrupted."""

import os
import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, WeightAveraging

from bench.reliability import NO_RESULT, differing, leaves
from visiontasks.data import DataModule, Source
from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.runs.checkpoint import CheckpointFiles
from visiontasks.runs.folder import BEST, LAST
from visiontasks.tasks import ClassificationTask, Plateau
from visiontasks.training import loop_state
from visiontasks.training.interruptions import BestCheckpoint, Interruptions, LastCheckpoint
from visiontasks.training.progress import History

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
Fit = Callable[..., dict[str, Any]]


class FewImages(DataModule):
    """5 batches of 4 noisy images of two classes, and 2 of validation images."""

    class_names = ["even", "odd"]  # noqa: RUF012  a property in the base

    def load_sources(self) -> dict[str, Source]:
        noise = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
        return {"train": ArraySource(noise, np.arange(21) % 2), "val": ArraySource(noise[:6], np.arange(6) % 2)}


class KeepsSaves(LastCheckpoint):
    """Saves wherever a signal, or the time, lets it save; keeps a copy of each save and goes on."""

    def __init__(self, run_dir: Path, folder: Path, *, signum: int) -> None:
        super().__init__(run_dir, Interruptions(), every_s=1e9 if signum else -1.0)
        self.folder = folder
        self.by_signal = signum
        self.trainer: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.trainer, self.interruptions.signum = trainer, self.by_signal

    def _save(self, trainer: Trainer, moment: str) -> None:
        super()._save(trainer, moment)
        epochs, batches = trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx
        number = len(list(self.folder.iterdir())) if self.folder.exists() else 0
        copy = self.folder / f"{number:03d} epoch {epochs} batch {batches} {moment}"
        shutil.copytree(self.path.parent, copy)

    def _stop(self) -> None:
        for callback in self.trainer.callbacks if self.trainer.validating else ():
            if isinstance(callback, WeightAveraging):  # its hook for the end of a validation was called
                callback.on_validation_epoch_start(self.trainer, self.trainer.lightning_module)


class AsFinetune(Callback):
    """The entry of a run's checkpoints."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["visiontasks"] = {}


def stops_early(**options: Any) -> Callable[[], Callback]:
    """Early stopping that finds every validation but the first bad: the loss on noise is wished to rise."""
    return lambda: EarlyStopping("val/loss", mode="max", min_delta=10.0, **options)


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """`fit(folder, from_checkpoint, keep, ...)`: trains LeNet for 3 epochs; all that is left, as leaves by name."""
    monkeypatch.setattr(os, "fsync", lambda file: None)

    def trained(
        folder: str,
        start: Path | None = None,
        keep: LastCheckpoint | None = None,
        *,
        extra: tuple[Callable[[], Callback], ...] = (),
        schedule: dict[str, Any] | None = None,
        freeze: int = 1,
        **options: Any,
    ) -> dict[str, Any]:
        run_dir = tmp_path / folder
        run_dir.mkdir(exist_ok=True)
        torch.manual_seed(0)
        data = FewImages(image_size=32, batch_size=4, seed=0, num_workers=0)
        task = ClassificationTask("lenet5", weights="none", num_classes=2, ema_decay=0.9, **(schedule or {}))
        callbacks = [
            *(AsFinetune(), FinetuneSchedule(freeze), *(make() for make in extra)),
            *(History(run_dir / "metrics.csv", "val/top1"), BestCheckpoint(run_dir, "val/top1", "max")),
            keep or LastCheckpoint(run_dir, Interruptions()),
        ]
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
            plugins=[CheckpointFiles()],
            **{"max_epochs": 3, **options},
        )
        trainer.fit(task, datamodule=data, ckpt_path=start, weights_only=True)
        return content(run_dir)

    return trained


def content(run_dir: Path) -> dict[str, Any]:
    left = {name: torch.load(run_dir / name, weights_only=True) for name in (BEST, LAST)}
    return {key: value for key, value in leaves(left) if not any(part in key for part in NO_RESULT)}


def saves(fit: Fit, tmp_path: Path, signum: int, **options: Any) -> list[Path]:
    folder = tmp_path / f"saves {signum}"
    fit(f"run {signum}", keep=KeepsSaves(tmp_path / f"run {signum}", folder, signum=signum), **options)
    return sorted(folder.iterdir())


def resumed(fit: Fit, tmp_path: Path, save: Path, name: str = "last.ckpt", **options: Any) -> dict[str, Any]:
    shutil.rmtree(tmp_path / "resumed", ignore_errors=True)
    shutil.copytree(save, tmp_path / "resumed" / "checkpoints")
    return fit("resumed", tmp_path / "resumed" / "checkpoints" / name, **options)


def kinds() -> list[Any]:
    accumulating = {"accumulate_grad_batches": 3}
    known: dict[str, dict[str, Any]] = {
        "max_steps that is never reached": {"max_steps": 1000},
        "max_steps within an epoch": {"max_steps": 8},
        "max_steps at the end of an epoch": {"max_steps": 10},
        "max_steps alone": {"max_steps": 12, "max_epochs": None},
        "max_steps with validations within epochs": {"max_steps": 8, "val_check_interval": 2},
        "max_steps with gradients of several batches": {"max_steps": 5, **accumulating},
        "a validation cuts gradients of several batches": {"val_check_interval": 2, **accumulating},
        "a validation after every batch": {"val_check_interval": 1, **accumulating},
        "validations within an epoch": {"val_check_interval": 0.5},
        "validations across epochs": {"val_check_interval": 7, "check_val_every_n_epoch": None},
        "validations by the clock": {"val_check_interval": timedelta(microseconds=1), **accumulating},
        "a validation every second epoch": {"check_val_every_n_epoch": 2, "max_epochs": 4},
        "a part of the batches": {"limit_train_batches": 0.5},
        "the same batches": {"overfit_batches": 2},
        "new loaders in each epoch": {"reload_dataloaders_every_n_epochs": 1, "val_check_interval": 2},
        "new loaders every second epoch": {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 5},
        "no sanity check": {"num_sanity_val_steps": 0},
        "a sanity check of all": {"num_sanity_val_steps": -1},
        "a plateau": {"schedule": {"schedule": Plateau(patience_epochs=0)}, "val_check_interval": 2},
        "early stopping": {"extra": (stops_early(patience=1),), "max_epochs": 5},
        "early stopping within an epoch": {"extra": (stops_early(patience=2),), "val_check_interval": 2},
        "early stopping before min_epochs": {"extra": (stops_early(patience=1),), "max_epochs": 6, "min_epochs": 4},
        "early stopping before min_steps": {"extra": (stops_early(patience=1),), "max_epochs": 6, "min_steps": 18},
        "early stopping by a former validation": {
            "extra": (stops_early(patience=3, check_on_train_epoch_end=True, strict=False),),
            "max_epochs": 6,
            "check_val_every_n_epoch": 2,
        },
        "other numbers of batches by epoch": {
            "extra": (lambda: GradientAccumulationScheduler({1: 2, 2: 3}),),
            "val_check_interval": 2,
        },
    }
    return [pytest.param(options, id=name) for name, options in known.items()]


@pytest.mark.slow
@pytest.mark.parametrize("options", kinds())
def test_every_save_goes_on_to_the_same_end(fit: Fit, tmp_path: Path, options: dict[str, Any]) -> None:
    whole = fit("whole", **options)
    tried = set()
    for signum in (signal.SIGTERM, 0):
        for save in saves(fit, tmp_path, signum, **options):
            for name in ("last.ckpt", "best.ckpt"):
                written = save / name
                known = written.read_bytes() if name == "best.ckpt" and written.exists() else str(save)
                if not written.exists() or known in tried:
                    continue
                tried.add(known)
                assert differing(resumed(fit, tmp_path, save, name, **options), whole) == [], (save.name, name)
    assert len(tried) > 5


@pytest.mark.parametrize(
    ("options", "moment", "steps"),
    [
        ({"max_steps": 1000, "max_epochs": 2}, "epoch 0 batch 4 after epoch", 10),
        ({"max_steps": 3, "val_check_interval": 2}, "epoch 0 batch 2 between batches", 3),
        ({"extra": (stops_early(patience=1),)}, "epoch 1 batch 4 after epoch", 10),
        (
            {"extra": (lambda: GradientAccumulationScheduler({0: 2}),), "max_epochs": 1, "freeze": 0},
            "epoch 0 batch 2 between batches",
            3,
        ),
    ],
    ids=["max_steps", "max_steps within an epoch", "early stopping", "gradients of 2 batches by a callback"],
)
def test_a_killed_training_goes_on_to_the_same_end(
    fit: Fit, tmp_path: Path, options: dict[str, Any], moment: str, steps: int
) -> None:
    (save,) = [save for save in saves(fit, tmp_path, signal.SIGTERM, **options) if save.name.endswith(moment)]
    left = resumed(fit, tmp_path, save, **options)
    assert left[f".{LAST}.global_step"] == steps
    assert differing(left, content(tmp_path / f"run {signal.SIGTERM.value}")) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, 0], ids=["signal", "time"])
def test_a_validation_within_a_step_is_not_broken_off(fit: Fit, tmp_path: Path, signum: int) -> None:
    options = {"val_check_interval": 2, "accumulate_grad_batches": 3, "max_epochs": 1, "freeze": 0}
    names = [save.name.partition(" ")[2] for save in saves(fit, tmp_path, signum, num_sanity_val_steps=0, **options)]
    # The validations come behind batches 1 and 3, the steps behind 2 and 4.
    starts = ["epoch 0 batch 0 between batches", "epoch 0 batch 3 between batches"]
    assert names == [*starts, "epoch 0 batch 4 after epoch"]


def test_the_validation_after_the_last_step_is_not_interrupted(fit: Fit, tmp_path: Path) -> None:
    names = [save.name for save in saves(fit, tmp_path, signal.SIGTERM, max_steps=5, max_epochs=2, freeze=0)]
    assert not any("validation" in name for name in names)
    assert names[-1].endswith("epoch 0 batch 4 after epoch")


def test_a_checkpoint_without_the_gradients_of_several_processes_is_refused() -> None:
    trainer: Any = SimpleNamespace(should_stop=False)
    with pytest.raises(InputError, match=r"within a step of trainer.accumulate_grad_batches.*last.ckpt \(--resume"):
        loop_state.load(trainer, {loop_state.STATE: {"gradients": None}})
