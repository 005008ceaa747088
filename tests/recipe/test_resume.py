"""A training that was killed or stopped at any moment and resumed ends with the same bits as one that never was."""

import shutil
import signal
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from bench.reliability import content, differing
from visiontasks.commands import finetune as run
from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.main import main
from visiontasks.errors import InputError, MissingFileError, Stopped
from visiontasks.recipe import cli as recipe_cli
from visiontasks.recipe import find_recipe
from visiontasks.runs.folder import BEST, LAST, RESULT
from visiontasks.training.interruptions import BestCheckpoint, LastCheckpoint

# A frozen epoch, then two of everything, gradients of two batches together, averaged weights: 3 steps an epoch.
OPTIONS = [
    *("--trainer.max_epochs", "3", "--trainer.limit_train_batches", "6", "--trainer.accumulate_grad_batches", "2"),
    *("--trainer.limit_val_batches", "3", "--trainer.limit_test_batches", "2", "--data.num_workers", "0"),
    *("--data.batch_size", "8", "--data.image_size", "16", "--finetune.freeze_epochs", "1", "--model.ema_decay", "0.9"),
]
TERM, INT = signal.SIGTERM, signal.SIGINT
KILL = 0

Moment = tuple[str, int, int, int] | tuple[str, int, int, int, int]
Train = Callable[..., tuple[Path, dict[str, Any]]]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
]


class KilledError(BaseException):
    """Stands for SIGKILL: nobody handles it, and what is on the disk stays as it is."""


class At(Callback):
    """Sends a signal, or kills, in a hook at one training batch, when the hook is called there for the n-th time."""

    def __init__(self, hook: str, epoch: int, batch: int, signum: int, nth: int = 1) -> None:
        calls = [0]

        def act(trainer: Trainer, *_: Any) -> None:
            here = (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx)
            calls[0] += here == (epoch, batch) and not trainer.sanity_checking
            if here == (epoch, batch) and calls[0] == nth:
                if signum == KILL:
                    raise KilledError
                signal.raise_signal(signum)

        setattr(self, hook, act)


@pytest.fixture(scope="module")
def train() -> Iterator[Train]:
    """`train(runs, moment, every_s=600, resume=run_dir)`: trains digits_resnet, interrupted at a moment."""
    patch = pytest.MonkeyPatch()
    patch.setattr(run, "write_measured", lambda *_, **__: None)
    patch.setattr(run, "log_picture", lambda *_, **__: None)
    whole = recipe_cli.RecipeCLI.instantiate_trainer

    def trained(
        runs: Path,
        moment: Moment | None = None,
        *more: str,
        every_s: float = 600.0,
        resume: Path | None = None,
        recipe: str = "digits_resnet",
    ) -> tuple[Path, dict[str, Any]]:
        def instantiate(self: recipe_cli.RecipeCLI, **options: Any) -> Trainer:
            trainer = whole(self, **options)
            callbacks: list[Callback] = trainer.callbacks
            callbacks[:0] = [At(*moment)] if moment else []
            for callback in callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.every_s = every_s
            return trainer

        patch.setattr(recipe_cli.RecipeCLI, "instantiate_trainer", instantiate)
        given = str(resume) if resume else None
        return run.finetune(find_recipe(recipe), [*OPTIONS, *more], runs=runs, resume=given)

    yield trained
    patch.undo()


def interrupted(train: Train, runs: Path, moment: Moment, **options: Any) -> Path:
    with pytest.raises((Stopped, KilledError)):
        train(runs, moment, **options)
    (run_dir,) = (runs / "digits_resnet").iterdir()
    return run_dir


@pytest.fixture(scope="module")
def uninterrupted(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run_dir, _ = train(tmp_path_factory.mktemp("whole"))
    found = content(run_dir)
    assert sum(isinstance(value, torch.Tensor) for value in found.values()) > 300
    return found


@pytest.mark.parametrize(
    ("moment", "every_s", "steps"),
    [
        (("on_train_batch_start", 1, 1, TERM), 600.0, 4),  # between two batches whose gradients belong together
        (("on_train_batch_start", 0, 0, TERM), 600.0, 0),
        (("on_train_batch_end", 0, 5, INT), 600.0, 3),  # the last frozen step: stopped in the validation
        (("on_validation_batch_end", 2, 5, TERM), 600.0, 9),
        (("on_validation_batch_end", 1, 5, TERM, 2), 600.0, 6),  # behind the second of its three batches
        (("on_train_epoch_end", 0, 5, TERM), 600.0, 3),
        (("on_train_batch_end", 1, 4, KILL), 600.0, 3),
        (("on_train_batch_end", 1, 4, KILL), 0.0, 5),
        (("on_validation_batch_end", 1, 5, KILL), 0.0, 6),
        (("on_train_epoch_end", 2, 5, KILL), 600.0, 6),
    ],
)
def test_an_interrupted_training_ends_as_one_that_was_not(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path, moment: Moment, every_s: float, steps: int
) -> None:
    run_dir = interrupted(train, tmp_path, moment, every_s=every_s)
    assert torch.load(run_dir / LAST, weights_only=True)["global_step"] == steps
    train(tmp_path, resume=run_dir)
    assert differing(content(run_dir), uninterrupted) == []
    assert len((run_dir / "metrics.csv").read_text().splitlines()) == 4  # header and three epochs


def test_a_training_stopped_within_an_epoch_of_smaller_images_ends_as_one_that_was_not(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    sizes = ("--finetune.image_sizes", "[12, 16]")
    whole, result = train(tmp_path / "whole", None, *sizes)
    assert [(phase["epochs"], phase.get("image_side")) for phase in result["phases"]] == [
        ([1, 1], None),
        ([2, 2], 12),
        ([3, 3], None),
    ]
    with pytest.raises(KilledError):
        train(tmp_path, ("on_train_batch_end", 1, 4, KILL), *sizes, every_s=0.0)
    (run_dir,) = (tmp_path / "digits_resnet").iterdir()
    train(tmp_path, None, *sizes, resume=run_dir)
    assert differing(content(run_dir), content(whole)) == []
    assert differing(content(whole), uninterrupted) != []


def test_max_steps_that_is_never_reached_leaves_out_no_epoch(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    limit = ("--trainer.max_steps", "1000")
    with pytest.raises(KilledError):
        train(tmp_path, ("on_train_batch_end", 2, 0, KILL), *limit)  # behind the save of the second epoch
    (run_dir,) = (tmp_path / "digits_resnet").iterdir()
    assert torch.load(run_dir / LAST, weights_only=True)["global_step"] == 6
    train(tmp_path, None, *limit, resume=run_dir)
    assert differing(content(run_dir), uninterrupted) == []


def test_a_run_can_be_interrupted_again_and_moved(train: Train, uninterrupted: dict[str, Any], tmp_path: Path) -> None:
    run_dir = interrupted(train, tmp_path, ("on_train_batch_start", 1, 2, TERM))
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    run_dir.rename(moved)
    with pytest.raises(KilledError):
        train(tmp_path, ("on_train_batch_end", 2, 3, KILL), resume=moved)
    train(tmp_path, resume=moved)
    assert differing(content(moved), uninterrupted) == []


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = interrupted(train, tmp_path, ("on_train_batch_end", 0, 3, KILL))
    assert not (run_dir / LAST).exists()
    with pytest.raises(InputError, match="trainer.max_epochs was 3 and is 30"):
        train(tmp_path, None, "--trainer.max_epochs", "30", resume=run_dir)
    train(tmp_path, resume=run_dir)
    assert f"{run_dir} has no checkpoint yet: training from the start" in capsys.readouterr().out
    assert differing(content(run_dir), uninterrupted) == []


def test_a_run_that_started_from_another_goes_on_without_it(train: Train, tmp_path: Path) -> None:
    first, _ = train(tmp_path / "first")
    start = ("--init_from", str(first), "--model.backbone_lr_scale", "0.5")
    whole, _ = train(tmp_path / "whole", None, *start)
    assert f"init_from: {first}" in (whole / "recipe.yaml").read_text()
    with pytest.raises(Stopped):
        train(tmp_path, ("on_train_batch_start", 1, 2, TERM), *start)
    (run_dir,) = (tmp_path / "digits_resnet").iterdir()
    shutil.rmtree(first)
    train(tmp_path, None, *start, resume=run_dir)
    assert differing(content(run_dir), content(whole)) == []
    with pytest.raises(InputError, match="init_from was 'elsewhere' and is|init_from was .* and is 'elsewhere'"):
        train(tmp_path, None, *start, "--init_from", "elsewhere", resume=run_dir / LAST)


def test_a_damaged_last_checkpoint_names_the_best_which_goes_on_to_the_same_end(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    run_dir = interrupted(train, tmp_path, ("on_train_batch_end", 2, 3, KILL))
    (run_dir / LAST).write_bytes((run_dir / LAST).read_bytes()[:-100])
    with pytest.raises(InputError, match=r"last.ckpt cannot be read.*best.ckpt beside it is whole \(--resume takes it"):
        train(tmp_path, resume=run_dir)
    train(tmp_path, resume=run_dir / BEST)
    assert differing(content(run_dir), uninterrupted) == []


def test_the_best_checkpoint_of_a_finished_run_starts_new_runs_only(train: Train, tmp_path: Path) -> None:
    run_dir, _ = train(tmp_path)
    (run_dir / RESULT).unlink()
    with pytest.raises(InputError, match=r"best.ckpt: the run is finished, and .* without the optimizer.*--init_from"):
        train(tmp_path, resume=run_dir / BEST)
    _, again = train(tmp_path, resume=run_dir)  # the last one has all
    assert again["resumed_at_step"] > 0


def test_a_signal_ends_with_its_status_and_the_line_that_resumes(
    train: Train, uninterrupted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for signum, status in ((TERM, 143), (INT, 130)):
        handlers = signal.getsignal(TERM), signal.getsignal(INT)
        monkeypatch.setattr(run, "find_interrupted", lambda name: pytest.fail(name))

        def send(self: Any, trainer: Any, *_: Any, number: int = signum) -> None:
            if trainer.current_epoch == 1:
                signal.raise_signal(number)

        monkeypatch.setattr(LastCheckpoint, "on_train_epoch_start", send)
        assert main(["finetune", "digits_resnet", *OPTIONS]) == status
        assert (signal.getsignal(TERM), signal.getsignal(INT)) == handlers
        error = capsys.readouterr().err
        command = error.strip().splitlines()[-1]
        assert (
            f"stopped by {signal.Signals(signum).name}; to go on:\nvisiontasks finetune --resume runs/digits_resnet/"
            in error
        )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "write_measured", lambda *_, **__: None)
    monkeypatch.setattr(run, "log_picture", lambda *_, **__: None)
    assert main(command.split()[1:]) == 0
    assert differing(content(Path(command.split()[-1])), uninterrupted) == []


def test_a_second_ctrl_c_does_not_wait(train: Train, tmp_path: Path) -> None:
    class Twice(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            signal.raise_signal(INT)
            with pytest.raises(Stopped):
                signal.raise_signal(INT)
            raise KilledError

    whole = recipe_cli.RecipeCLI.instantiate_trainer
    patch = pytest.MonkeyPatch()

    def instantiate(self: recipe_cli.RecipeCLI, **options: Any) -> Trainer:
        trainer = whole(self, **options)
        trainer.callbacks.append(Twice())
        return trainer

    patch.setattr(recipe_cli.RecipeCLI, "instantiate_trainer", instantiate)
    with pytest.raises(KilledError):
        run.finetune(find_recipe("digits_resnet"), OPTIONS, runs=tmp_path)
    patch.undo()


@pytest.fixture(scope="module")
def stopped(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second epoch, to read only."""
    return interrupted(train, tmp_path_factory.mktemp("stopped"), ("on_train_batch_start", 1, 2, TERM))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--model.optimizer.lr", "0.5"], r"optimizer.init_args.lr was 0.05 and is 0.5\); go on with the run's own: "),
        (["--data.batch_size", "4"], "data.init_args.batch_size was 8 and is 4"),
        (["--seed_everything", "7"], "seed_everything was 0 and is 7"),
        (["--finetune.freeze_epochs", "2"], "finetune.freeze_epochs was 1 and is 2"),
        (["--trainer.max_epochs", "9"], "trainer.max_epochs was 3 and is 9"),
    ],
)
def test_another_recipe_is_refused(train: Train, stopped: Path, more: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        train(stopped.parent.parent, None, *more, resume=stopped)


def test_another_number_of_processes_is_refused(train: Train, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "world_size", property(lambda self: 2))
    with pytest.raises(InputError, match=r"had 1 process\(es\) of 8 images a step, now there are 2: set trainer.dev"):
        train(stopped.parent.parent, resume=stopped)


def test_what_cannot_be_resumed_is_named(train: Train, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="--resume .*nowhere: no run there"):
        train(tmp_path, resume=tmp_path / "nowhere")
    run_dir, _ = train(tmp_path)
    more = f"more epochs are a new run.*finetune {run_dir}/recipe.yaml --init_from {run_dir} --trainer.max_epochs"
    with pytest.raises(InputError, match=f"the run is finished, .*result.json has its result.*{more}"):
        train(tmp_path, resume=run_dir)
    with pytest.raises(InputError, match=rf"trainer.max_epochs was 3 and is 5\).*{more}"):
        train(tmp_path, None, "--trainer.max_epochs", "5", resume=run_dir / LAST)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (["--data.image_size", "24"], "data.init_args.image_size was 16 in the training and is 24"),
        (["--data.resize", "squash"], "data.init_args.resize was 'crop' in the training and is 'squash'"),
    ],
)
def test_a_measurement_that_contradicts_the_training_is_refused(
    stopped: Path, override: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        evaluate(stopped, override)


def test_a_checkpoint_knows_what_it_was_made_by(stopped: Path) -> None:
    known = torch.load(stopped / LAST, weights_only=True)["visiontasks"]
    assert known["class_names"] == [str(digit) for digit in range(10)]
    assert known["preprocessing"]["image_size"] == [16, 16]
    assert known["preprocessing"]["resize"] == "crop"
    assert known["processes"] == 1
    assert known["threads"] == torch.get_num_threads()
    assert "class_path" in known["recipe"]
    assert known["versions"]["torch"] == version("torch")


def test_the_best_checkpoint_goes_on_with_all_that_it_knew(tmp_path: Path) -> None:
    known = BestCheckpoint(tmp_path, "val/top1", "max")
    known.current_score, known.best_model_score = torch.tensor(0.5), torch.tensor(0.75)
    known.best_model_path = known.kth_best_model_path = str(tmp_path / BEST)
    known.best_k_models = {str(tmp_path / BEST): torch.tensor(0.75)}
    other = BestCheckpoint(tmp_path, "val/top1", "max")
    other.load_state_dict(known.state_dict())
    assert other.state_dict() == known.state_dict()
    assert other.current_score == 0.5


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_a_stop_is_one_also_where_lightning_fails_to_put_away_half_made_loaders(
    signum: signal.Signals, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fit(*_: Any, **__: Any) -> None:
        try:
            raise Stopped(signum)
        finally:
            raise RuntimeError("Please call `iter(combined_loader)` first.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "fit", fit)
    assert main(["finetune", "digits_lenet", "--trainer.max_epochs", "1"]) == status
    assert capsys.readouterr().err.strip() == f"stopped by {signum.name} before anything was to be saved"
    assert not list(tmp_path.rglob("result.json"))
