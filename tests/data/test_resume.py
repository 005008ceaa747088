"""The order of samples through Lightning: uninterrupted, resumed from any kind of checkpoint, continued."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import albumentations as A
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from visiontasks.data import DataModule
from visiontasks.data.pipeline.sampler import epoch_order
from visiontasks.errors import InputError

MakeData = Callable[..., DataModule]
Seen = dict[tuple[int, int], list[int]]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Recorder(LightningModule):
    """Notes the indices and pixels of every training batch by (epoch, batch)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: Seen = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        assert (self.current_epoch, batch_idx) not in self.seen
        content = [*batch["index"].tolist(), int(batch["image"].long().sum())]
        self.seen[self.current_epoch, batch_idx] = content
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Shared(Recorder):
    """Sums over all processes what they see."""

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        total = batch["index"].sum().float()
        self.log("train/indices", total, on_step=False, on_epoch=True, reduce_fx="sum", sync_dist=True)
        return self.layer(torch.ones(1, 1)).sum()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        count = torch.tensor(float(len(batch["index"])))
        self.log("test/count", count, on_step=False, on_epoch=True, reduce_fx="sum", sync_dist=True)


class SaveAt(Callback):
    """Saves a checkpoint in one hook at one batch, and then the training dies."""

    def __init__(self, hook: str, epoch: int, batch: int, path: Path) -> None:
        self.path = path

        def save(trainer: Trainer, *args: Any) -> None:
            if (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx) == (epoch, batch):
                trainer.save_checkpoint(path)
                raise KeyboardInterrupt

        setattr(self, hook, save)


def data_of(make_data: MakeData, **options: Any) -> DataModule:
    return make_data(batch_size=4, augment=[A.RandomCrop(5, 5)], seed=0, **options)


def trainer(epochs: int = 3, **options: Any) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        **options,
    )


def killed_and_resumed(
    make_data: MakeData, save: SaveAt, trainer_options: dict[str, Any] | None = None, **options: Any
) -> tuple[Seen, Seen]:
    killed = Recorder()
    engine = trainer(callbacks=[save], **(trainer_options or {}))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        engine.fit(killed, datamodule=data_of(make_data, **options))
    data = data_of(make_data, **options)
    return killed.seen, fitted(data, ckpt_path=save.path, **(trainer_options or {}))


def fitted(data: DataModule, ckpt_path: Path | None = None, epochs: int = 3, **options: Any) -> Seen:
    recorder = Recorder()
    trainer(epochs, **options).fit(recorder, datamodule=data, ckpt_path=ckpt_path)
    return recorder.seen


@pytest.fixture(scope="module")
def uninterrupted(make_data: MakeData) -> Seen:
    return fitted(data_of(make_data))


def test_epochs_are_complete_and_their_orders_differ(uninterrupted: Seen) -> None:
    assert sorted(uninterrupted) == [(epoch, batch) for epoch in range(3) for batch in range(5)]
    orders = [[index for batch in range(5) for index in uninterrupted[epoch, batch][:-1]] for epoch in range(3)]
    assert all(len(set(order)) == 20 for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_persistent_workers_see_each_epoch_as_none_do(make_data: MakeData, uninterrupted: Seen) -> None:
    assert fitted(data_of(make_data, num_workers=2)) == uninterrupted


@pytest.mark.parametrize(
    ("hook", "epoch", "batch"),
    [
        ("on_train_batch_start", 1, 2),
        ("on_train_batch_start", 1, 4),
        ("on_train_batch_start", 2, 0),
        ("on_before_zero_grad", 1, 3),
        ("on_train_batch_end", 0, 0),
        ("on_train_batch_end", 1, 2),
        ("on_train_batch_end", 1, 4),
        ("on_validation_start", 1, 4),
        ("on_validation_batch_end", 1, 4),
        ("on_validation_end", 1, 4),
        ("on_train_epoch_end", 1, 4),
        ("on_train_epoch_end", 0, 4),
    ],
)
def test_resumed_training_sees_the_tail_of_the_uninterrupted(
    make_data: MakeData, uninterrupted: Seen, tmp_path: Path, hook: str, epoch: int, batch: int
) -> None:
    killed, resumed = killed_and_resumed(make_data, SaveAt(hook, epoch, batch, tmp_path / "killed.ckpt"))
    assert killed | resumed == uninterrupted
    assert len(killed) + len(resumed) <= len(uninterrupted) + 1  # the batch that was begun, and no other, again


@pytest.mark.parametrize(("hook", "batch"), [("on_train_batch_end", 2), ("on_train_epoch_end", 4)])
def test_resumed_workers_see_the_tail_of_the_uninterrupted(
    make_data: MakeData, uninterrupted: Seen, tmp_path: Path, hook: str, batch: int
) -> None:
    save = SaveAt(hook, 1, batch, tmp_path / "killed.ckpt")
    killed, resumed = killed_and_resumed(make_data, save, num_workers=2)
    assert killed | resumed == uninterrupted
    assert len(killed) + len(resumed) == len(uninterrupted)


@pytest.mark.parametrize(
    ("hook", "batch", "options"),
    [
        ("on_train_batch_end", 2, {"limit_train_batches": 3}),
        ("on_validation_end", 2, {"limit_train_batches": 3}),
        ("on_validation_end", 1, {"val_check_interval": 2}),
        ("on_train_batch_end", 2, {"accumulate_grad_batches": 2}),
        ("on_train_batch_end", 2, {"reload_dataloaders_every_n_epochs": 1}),
    ],
)
def test_resume_is_exact_with_trainer_options(
    make_data: MakeData, tmp_path: Path, hook: str, batch: int, options: dict[str, Any]
) -> None:
    save = SaveAt(hook, 1, batch, tmp_path / "killed.ckpt")
    killed, resumed = killed_and_resumed(make_data, save, trainer_options=options)
    assert killed | resumed == fitted(data_of(make_data), **options)


def test_a_second_fit_goes_on_with_the_next_epoch(make_data: MakeData, uninterrupted: Seen) -> None:
    data, recorder, engine = data_of(make_data), Recorder(), trainer(epochs=2)
    engine.fit(recorder, datamodule=data)
    engine.fit_loop.max_epochs = 3
    engine.fit(recorder, datamodule=data)
    assert recorder.seen == uninterrupted


def test_overfitting_takes_the_same_batches_each_epoch(make_data: MakeData) -> None:
    seen = fitted(data_of(make_data), overfit_batches=2)
    rows = {place: content[:-1] for place, content in seen.items()}
    assert sorted(rows) == [(epoch, batch) for epoch in range(3) for batch in range(2)]
    assert rows[0, 0] == rows[1, 0] == rows[2, 0]
    assert rows[0, 1] == rows[1, 1] == rows[2, 1] != rows[0, 0]


def test_prediction_gets_every_test_image_once(make_data: MakeData) -> None:
    class Indices(Recorder):
        def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> list[int]:
            indices: list[int] = batch["index"].tolist()
            return indices

    batches = trainer().predict(Indices(), datamodule=make_data(test=7, batch_size=4))
    assert batches == [[0, 1, 2, 3], [4, 5, 6]]


def test_a_checkpoint_of_other_classes_is_refused(make_data: MakeData, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    engine = trainer(epochs=1)
    engine.fit(Recorder(), datamodule=data_of(make_data))
    engine.save_checkpoint(path)
    other = data_of(make_data, class_names=["odd", "even"])
    with pytest.raises(InputError, match="the order differs"):
        trainer().fit(Recorder(), datamodule=other, ckpt_path=path)


@pytest.mark.slow
def test_two_processes_share_each_batch_and_evaluate_each_image_once(make_data: MakeData) -> None:
    data = make_data(train=23, val=5, test=21, batch_size=2)
    engine = trainer(strategy="ddp_fork", devices=2, use_distributed_sampler=False)
    engine.fit(Shared(), datamodule=data)
    assert engine.callback_metrics["train/indices"] == sum(epoch_order(23, seed=0, epoch=2)[:20])
    engine.test(Shared(), datamodule=data)
    assert engine.callback_metrics["test/count"] == 21


@pytest.mark.soak
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"val_check_interval": 2},
        {"limit_train_batches": 3},
        {"accumulate_grad_batches": 2},
        {"check_val_every_n_epoch": 2},
        {"reload_dataloaders_every_n_epochs": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "hook",
    [
        # Not on_train_epoch_start: Lightning 2.6.6 leaves out a whole epoch after a checkpoint saved there.
        "on_train_batch_start",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
        "on_before_zero_grad",
        "on_train_batch_end",
        "on_validation_start",
        "on_validation_epoch_start",
        "on_validation_batch_start",
        "on_validation_batch_end",
        "on_validation_epoch_end",
        "on_validation_end",
        "on_train_epoch_end",
    ],
)
def test_resume_is_exact_from_every_place(
    make_data: MakeData, tmp_path: Path, hook: str, options: dict[str, Any]
) -> None:
    whole = fitted(data_of(make_data), **options)
    for epoch, batch in sorted(whole):
        killed = Recorder()
        save = SaveAt(hook, epoch, batch, tmp_path / f"{epoch}{batch}.ckpt")
        with suppress(KeyboardInterrupt, SystemExit):
            trainer(callbacks=[save], **options).fit(killed, datamodule=data_of(make_data))
        if save.path.exists():  # a hook of validation has no place at every batch
            resumed = fitted(data_of(make_data), ckpt_path=save.path, **options)
            assert killed.seen | resumed == whole, (epoch, batch)
            assert len(killed.seen) + len(resumed) <= len(whole) + 1
