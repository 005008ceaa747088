"""Made batches, and a trainer that prints and writes nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.utils.data import DataLoader

Batch = dict[str, Tensor]


class Saves(Checkpoint):
    """Checkpoints at given places, made behind all other callbacks as Lightning's own are."""

    def __init__(self, folder: Path, *places: str) -> None:
        self.folder = folder
        self.places = places

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self.save(trainer, f"step{trainer.global_step}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer, f"epoch{trainer.current_epoch + 1}")

    def save(self, trainer: Trainer, place: str) -> None:
        if place in self.places:
            trainer.save_checkpoint(self.folder / f"{place}.ckpt")


@pytest.fixture
def saves() -> Callable[..., Callback]:
    """`saves(folder, "step3", "epoch1")`: a callback that writes step3.ckpt and epoch1.ckpt."""
    return Saves


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """`make_batch(4, 10)`: 4 random images with labels 0, 1, ... of 10 classes, at their own size."""

    def make(size: int, num_classes: int, *, side_px: int = 8) -> Batch:
        generator = torch.Generator().manual_seed(size)
        image = torch.randint(256, (size, 3, side_px, side_px), dtype=torch.uint8, generator=generator)
        index = torch.arange(size)
        geometry = torch.tensor([side_px] * 6 + [0, 0]).expand(size, 8)
        return {"image": image, "label": index % num_classes, "index": index, "geometry": geometry}

    return make


@pytest.fixture
def fit() -> Callable[..., Trainer]:
    """`fit(task, batches, val=batches, epochs=2, ...)`: the trainer after the training."""

    def run(
        task: LightningModule,
        batches: Sequence[Batch],
        *callbacks: Callback,
        val: Sequence[Batch] | None = None,
        epochs: int = 1,
        ckpt_path: Path | None = None,
        **options: Any,
    ) -> Trainer:
        silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        silent |= {"accelerator": "cpu", "num_sanity_val_steps": 0}
        silent["enable_checkpointing"] = any(isinstance(callback, Checkpoint) for callback in callbacks)
        trainer = Trainer(max_epochs=epochs, callbacks=list(callbacks), **{**silent, **options})
        train, validation = (DataLoader(part, batch_size=None) for part in (batches, val or batches[:1]))
        trainer.fit(task, train, validation, ckpt_path=ckpt_path)
        return trainer

    return run
