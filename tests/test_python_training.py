"""A training in a process that goes on afterwards leaves it as it was, and its end is one that Python knows."""

import argparse
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visiontasks import notebook, python_training
from visiontasks.commands.finetune import finetune as as_command
from visiontasks.errors import InputError, Stopped
from visiontasks.notebook import LiveCurves
from visiontasks.python_training import train_here
from visiontasks.recipe import find_recipe
from visiontasks.training.progress import History

ARGUMENTS = argparse.Namespace(recipe="digits_lenet", reasons=["chosen because"], resume=None)
SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8", "--data.num_workers", "0"]
PHOTOS = Path("runs/digits_lenet/a")


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """`doing(act)`: what happens in place of a training."""

    def replace(act: Callable[[], object]) -> None:
        def train(*_: object, **__: object) -> Path:
            act()
            return PHOTOS

        monkeypatch.setattr(python_training, "train", train)
        monkeypatch.setattr(python_training, "Run", lambda folder: folder)

    return replace


def test_what_was_chosen_is_printed_first(doing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    doing(lambda: print("training"))
    assert train_here(ARGUMENTS, []) == PHOTOS  # type: ignore[comparison-overlap]
    assert capsys.readouterr().out == "chosen because\ntraining\n"


def stop(signum: int, folder: Path | None = None) -> Callable[[], None]:
    def act() -> None:
        stopped = Stopped(signum)
        stopped.message, stopped.folder = "stopped; to go on:\nvisiontasks finetune a --resume b", folder
        raise stopped

    return act


def test_the_stop_button_raises_how_to_go_on(doing: Any) -> None:
    doing(stop(signal.SIGINT, PHOTOS))
    with pytest.raises(KeyboardInterrupt) as caught:
        train_here(ARGUMENTS, [])
    assert str(caught.value).splitlines() == [
        "stopped; to go on:",
        "visiontasks finetune a --resume b",
        'in Python: visiontasks.finetune(resume="runs/digits_lenet/a")',
    ]
    doing(stop(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="--resume b$"):
        train_here(ARGUMENTS, [])


def test_another_signal_is_delivered_again_when_all_is_saved(doing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    received: list[int] = []
    doing(stop(signal.SIGTERM, PHOTOS))
    before = signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
    try:
        with pytest.raises(SystemExit) as end:
            train_here(ARGUMENTS, [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert end.value.code == 143
    assert "in Python: visiontasks.finetune(resume=" in capsys.readouterr().err


def prepared(world_size: int, callbacks: Sequence[object] = ()) -> Any:
    cli: Any = SimpleNamespace(run_dir=PHOTOS, trainer=SimpleNamespace(world_size=world_size, callbacks=[*callbacks]))
    python_training._prepare(cli)
    return cli.trainer.callbacks


def test_several_processes_start_from_a_script_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(python_training.sys.modules, "__main__", SimpleNamespace(__file__="train.py", __spec__=None))  # type: ignore[arg-type]
    assert prepared(2) == []
    monkeypatch.setitem(python_training.sys.modules, "__main__", SimpleNamespace(__file__=None, __spec__=None))  # type: ignore[arg-type]
    assert prepared(1) == []
    with pytest.raises(InputError, match=r'^2 processes start from a script, not from a notebook .*device="cuda:0"'):
        prepared(2)


def test_a_notebook_gets_curves_of_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    monkeypatch.setattr(python_training, "in_notebook", lambda: True)
    history = History(tmp_path / "metrics.csv", "val/top1")
    first, last = prepared(1, [history])
    assert first is history
    assert isinstance(last, LiveCurves)
    assert last.history is history


@pytest.mark.slow
def test_it_gives_the_numbers_of_the_command(in_tmp: Path) -> None:
    import visiontasks

    _, result = as_command(find_recipe("digits_lenet"), SHORT, runs=in_tmp / "command")
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    run = visiontasks.finetune("digits_lenet", epochs=2, workers=0, **{"trainer.limit_train_batches": 8})
    assert torch.rand(()) == expected
    assert run.folder.parent == Path("runs/digits_lenet")
    assert run.metrics.entries == result["metrics"]
    assert sorted(path.name for path in run.folder.iterdir() if "tfevents" not in path.name) == sorted(
        path.name for path in next((in_tmp / "command").glob("*/*")).iterdir() if "tfevents" not in path.name
    )
    with pytest.raises(InputError, match="the run is finished"):
        visiontasks.finetune(resume=run)
