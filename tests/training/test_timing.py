"""Where the time of a training goes: each second is one part's, and what is much is named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from visiontasks.training import timing
from visiontasks.training.timing import NAMES, Seconds, TimeSpent, advice, describe

DATA_S, STEP_S, VALIDATION_S, CHECKPOINT_S = 1.0, 10.0, 100.0, 1000.0


class Clock:
    """Advances only where something takes time."""

    def __init__(self) -> None:
        self.now = 5.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


class Samples(torch.utils.data.Dataset[Tensor]):
    def __init__(self, clock: Clock, n: int) -> None:
        self.clock = clock
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Tensor:
        self.clock.now += DATA_S
        return torch.ones(1)


class Slow(LightningModule):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.body = torch.nn.Linear(1, 1)
        self.head = torch.nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.clock.now += STEP_S
        loss: Tensor = self.head(self.body(batch)).sum()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += VALIDATION_S

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.0)


class Unfreeze(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.get_submodule("body").requires_grad_(trainer.current_epoch >= 2)


class Save(timing.Checkpoint):
    """As slow as a network file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        pl_module.clock.now += CHECKPOINT_S  # type: ignore[operator,union-attr]


def train(clock: Clock, path: Path, spent: TimeSpent, *, epochs: int = 4, **options: Any) -> Trainer:
    """Two samples to train and three to validate in each epoch."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[Unfreeze(), Save(path), spent],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=True,
        **options,
    )
    loaders = [DataLoader(Samples(clock, n), batch_size=1) for n in (2, 3)]
    trainer.fit(Slow(clock), *loaders, weights_only=True)
    return trainer


EPOCH: Seconds = {
    "steps": 2 * STEP_S,
    "data": 5 * DATA_S,
    "validation": 3 * VALIDATION_S,
    "checkpoints": CHECKPOINT_S,
    "other": 0.0,
}


def times(seconds: Seconds, n: int) -> Seconds:
    return {part: n * value for part, value in seconds.items()}


def test_each_second_is_one_parts(clock: Clock, tmp_path: Path) -> None:
    spent = TimeSpent()
    train(clock, tmp_path / "last.ckpt", spent)  # its sanity check is not part of the training
    assert spent.total == times(EPOCH, 4)


def test_a_validation_within_an_epoch_is_one(clock: Clock, tmp_path: Path) -> None:
    spent = TimeSpent()
    train(clock, tmp_path / "last.ckpt", spent, val_check_interval=1, num_sanity_val_steps=0)
    assert spent.total == times(EPOCH | {"data": 8 * DATA_S, "validation": 6 * VALIDATION_S}, 4)


@pytest.mark.parametrize("verbose", [True, False])
def test_the_first_epoch_of_each_phase_gets_a_line(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    train(clock, tmp_path / "last.ckpt", TimeSpent(verbose=verbose))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("time: ", "note: "))]
    described = ["time: forward and backward 2%, validation 23%, checkpoints 75%"] if verbose else []  # of 1,325 s
    advised = "note: 75% of an epoch is checkpoints: write runs/ to a faster disk to save up to"
    # 1,000 s less a fifth of 1,325 s, in the three epochs that follow, and in the last; the body is frozen in two
    assert lines == [*described, f"{advised} 37 min", *described, f"{advised} 12 min"]


def test_an_evaluation_after_the_training_is_not_counted(clock: Clock, tmp_path: Path) -> None:
    spent = TimeSpent()
    trainer = train(clock, tmp_path / "last.ckpt", spent, epochs=1)
    before = dict(spent.total)
    trainer.validate(Slow(clock), DataLoader(Samples(clock, 3), batch_size=1), verbose=False)
    assert spent.total == before


def test_a_resumed_training_goes_on_adding(clock: Clock, tmp_path: Path) -> None:
    first = TimeSpent()
    train(clock, tmp_path / "last.ckpt", first, epochs=1)
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["TimeSpent"]
    assert stored["seconds"] == EPOCH | {"checkpoints": 0.0}  # it is being saved
    again = TimeSpent()
    again.load_state_dict(stored)
    train(clock, tmp_path / "other.ckpt", again, epochs=2)
    assert again.total == times(EPOCH, 3) | {"checkpoints": 2 * CHECKPOINT_S}


@pytest.mark.parametrize(("is_done", "part"), [(True, "data"), (False, "steps")])
def test_on_a_gpu_what_it_computes_while_data_is_read_is_no_waiting(clock: Clock, is_done: bool, part: str) -> None:
    spent = TimeSpent()
    trainer: Any = SimpleNamespace()
    module: Any = None
    spent.on_train_start(trainer, module)
    spent._last_step = SimpleNamespace(query=lambda: is_done)
    clock.now += 3
    spent.on_train_batch_start(trainer, module, None, 1)
    assert spent.total == dict.fromkeys(NAMES, 0.0) | {part: 3.0}


def parts(**seconds: float) -> Seconds:
    return {part: seconds.get(part, 0.0) for part in NAMES}


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (parts(steps=54, data=46), "time: forward and backward 54%, waiting for data 46%"),
        (
            parts(steps=50, validation=45, checkpoints=5),
            "time: forward and backward 50%, validation 45%, checkpoints 5%",
        ),
        (parts(steps=99.8, other=0.2), "time: forward and backward 100%"),
    ],
)
def test_an_epoch_is_described_by_its_parts(seconds: Seconds, line: str) -> None:
    assert describe(seconds) == line


MORE_WORKERS = "note: 46% of an epoch is waiting for data: raise --data.num_workers (now 0) to save up to"
LESS = "note: 46% of an epoch is waiting for data: scale the files to about --data.image_size once, or augment less"


@pytest.mark.parametrize(
    ("seconds", "epochs_left", "workers", "cores", "lines"),
    [
        (parts(steps=54, data=46), 10, 0, 2, [f"{MORE_WORKERS} 4 min 20 s"]),  # 46 - 20 % of 100 s, ten times
        (parts(steps=54, data=46), 10, 1, 2, [f"{LESS} to save up to 4 min 20 s"]),
        (parts(steps=81, data=19), 1000, 0, 2, []),
        (parts(steps=54, data=46), 0, 0, 2, []),  # nothing is left to save
        (parts(steps=5.4, data=4.6), 7, 0, 2, []),  # 2.6 s seven times: 18 s
        (parts(steps=5.4, data=4.6), 8, 0, 2, [f"{MORE_WORKERS} 21 s"]),
        (
            parts(steps=5, validation=65, checkpoints=30),
            1,
            0,
            2,
            [
                "note: 65% of an epoch is validation: validate less often (--trainer.check_val_every_n_epoch) to "
                "save up to 25 s"
            ],
        ),
    ],
)
def test_advice_is_given_where_it_saves_much(
    seconds: Seconds, epochs_left: int, workers: int, cores: int, lines: list[str]
) -> None:
    assert advice(seconds, epochs_left=epochs_left, num_workers=workers, cores=cores) == lines
