"""`visiontasks study search` as a user types it."""

import json
import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from visiontasks.commands.main import EXIT_SIGNAL, main
from visiontasks.commands.studies import search
from visiontasks.data import DataModule
from visiontasks.errors import InputError, Stopped
from visiontasks.finetuning.feature_folders import features_folder
from visiontasks.recipe import read_recipe
from visiontasks.tasks import ClassificationTask

COMMAND = "study search images --backbone resnet20_cifar.vt_cifar10 --image-size 32 --workers 0"
LR = "model.init_args.optimizer.init_args.lr"


@pytest.fixture
def images(in_tmp: Path, class_folders: Callable[..., Path]) -> Path:
    return class_folders(in_tmp / "images", {"cat": 10, "dog": 10})


class Trainer:
    """In place of a training: its value falls with the distance of the learning rate from 0.01 in powers of ten."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.stops_at: set[int] = set()
        self.fails_at: set[int] = set()
        self.is_infinite_at: set[int] = set()

    def __call__(self, recipe: Path, overrides: Sequence[str], **options: Any) -> tuple[Path, dict[str, Any]]:
        assert options["measures"] is False
        folder: Path = options["folder"]
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(f"words: {list(overrides)[-4:]}\n")
        options["prepare"](
            SimpleNamespace(trainer=SimpleNamespace(world_size=1, callbacks=[]), model=ClassificationTask)
        )
        rate = float(overrides[list(overrides).index(f"--{LR}") + 1])
        if len(self.rates) in self.stops_at:
            self.stops_at.remove(len(self.rates))
            raise Stopped(signal.SIGTERM)
        self.rates.append(rate)
        if len(self.rates) in self.fails_at:
            raise InputError("the loss is NaN")
        if len(self.rates) in self.is_infinite_at:
            return folder, {"chosen_by": {"monitor": "val/top1", "value": math.inf}}
        value = 1 - abs(math.log10(rate / 0.01)) / 10
        return folder, {"chosen_by": {"monitor": "val/top1", "value": value}}


@pytest.fixture
def trainer(images: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(search, "finetune", made)
    return made


def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("studies/images/search.json").read_text(encoding="utf-8"))
    return found


def test_a_search_interrupted_twice_loses_no_finished_trial(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    """And trains the values again that were interrupted: 5 trials, of which 5 different rates are trained."""
    trainer.stops_at = {2, 3}
    for trial in (3, 5):  # the interrupted one has a number too
        assert main(f"{COMMAND} --trials 5".split()) == EXIT_SIGNAL + signal.SIGTERM
        assert f"stopped in trial {trial}; the same command goes on" in capsys.readouterr().err
    assert main(f"{COMMAND} --trials 5".split()) == 0
    assert len(trainer.rates) == len(set(trainer.rates)) == 5
    found = content()
    assert [each["values"][LR] for each in found["trials"]] == pytest.approx(trainer.rates, rel=1e-3)
    best = max(found["trials"], key=lambda each: each["value"])
    assert found["best"] == best["number"]
    out = capsys.readouterr().out
    assert "5 trials, 0 stopped early, 0 failed; n = 4 validation images; test images were not looked at" in out
    text = Path("studies/images/search/best.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Best of 5 trials of visiontasks study search, ")
    assert yaml.safe_load(text)["words"][1] == f"{best['values'][LR]:.4g}"
    assert "<svg" in Path("studies/images/index.html").read_text(encoding="utf-8")
    assert not list(Path("studies/images/search").glob("trial*/checkpoints"))
    assert main(f"{COMMAND} --trials 5".split()) == 0
    assert len(trainer.rates) == 5


def test_a_failed_trial_is_told_and_the_first_one_ends_the_search(
    trainer: Trainer, capsys: pytest.CaptureFixture[str], refused: Any
) -> None:
    trainer.fails_at, trainer.is_infinite_at = {1, 3}, {4}
    assert "the loss is NaN" in refused(f"{COMMAND} --trials 4")
    assert main(f"{COMMAND} --trials 4".split()) == 0
    out = capsys.readouterr().out
    assert "of 4: failed: the loss is NaN" in out
    assert "of 4: failed: val/top1 is inf" in out
    assert "4 trials, 0 stopped early, 2 failed" in out
    assert len(trainer.rates) == 5


def test_values_that_were_tried_are_not_trained_again(trainer: Trainer) -> None:
    """Two choices, six trials."""
    assert main(f"{COMMAND} --trials 6 --vary {LR}=0.1,0.01".split()) == 0
    assert sorted(trainer.rates) == [0.01, 0.1]
    assert len(content()["trials"]) == 6


def test_processes_that_share_a_search_draw_different_values(trainer: Trainer, images: Path) -> None:
    """Three of them take trials in turn, before any is finished; by one seed they would draw the same."""
    space = [search.Varied(LR, 1e-4, 1.0)]
    folder = Path("shared")
    folder.mkdir()
    sharing = [search.Search(folder, Path("recipe.yaml"), [], space, 6, 4) for _ in range(3)]
    taken = [each._take() for _ in range(2) for each in sharing]
    drawn = [trial.params[LR] for trial, _ in filter(None, taken)]
    assert len(set(drawn)) == 6
    assert sharing[0]._take() is None  # no more than asked for
    for _, lock in filter(None, taken[:2]):
        lock.close()  # as a process does that is killed
    again = sharing[0]._take()
    assert again is not None
    assert again[0].params[LR] in drawn[:2]
    for _, lock in filter(None, [*taken, again]):
        lock.close()


def test_wrong_options_are_answered_before_a_training(
    trainer: Trainer, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--vary lr: expected KEY=LOW..HIGH" in refused(f"{COMMAND} --vary lr")
    assert "nonsense" in refused(f"{COMMAND} --vary model.init_args.nonsense=0..0.5")
    assert "names a key twice" in refused(f"{COMMAND} --vary model.head.dropout=0..1 --vary model.head.dropout=1,2")
    monkeypatch.setattr(search, "find_spec", lambda _: None)
    assert "study search needs Optuna: pip install 'visiontasks[search]'" in refused(COMMAND)
    assert trainer.rates == []


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_a_trial_that_is_worse_than_the_others_is_stopped(mode: str, sign: int) -> None:
    """The value is reported so that more is better, not in the sanity check, and not where it is no number."""
    reported: list[tuple[float, int]] = []
    trial: Any = SimpleNamespace(report=lambda *pair: reported.append(pair), should_prune=lambda: len(reported) == 2)
    pruning = search.Pruning(trial)
    pruning.monitor, pruning.mode = "val/x", mode
    trainer: Any = SimpleNamespace(
        sanity_checking=True, callback_metrics={"val/x": 0.5}, current_epoch=0, should_stop=False
    )
    pruning.on_validation_end(trainer, Any)
    trainer.sanity_checking = False
    for epoch, value in enumerate((0.5, math.nan, 0.25)):
        assert not pruning.is_pruned
        trainer.current_epoch, trainer.callback_metrics = epoch, {"val/x": value}
        pruning.on_validation_end(trainer, Any)
    assert reported == [(sign * 0.5, 0), (sign * 0.25, 2)]
    assert pruning.is_pruned
    assert trainer.should_stop


@pytest.mark.slow
def test_a_trial_is_a_training_that_reads_no_test_image(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def read(_: DataModule) -> None:
        raise AssertionError("test images were read")

    monkeypatch.setattr(DataModule, "test_dataloader", read)

    def cached() -> set[Path]:
        return {path.parent for path in features_folder().glob("*/val")}

    before = cached()
    assert main(f"{COMMAND} --trials 2 --epochs 2 --finetune.unfreeze never".split()) == 0
    assert [each["state"] for each in content()["trials"]] == ["finished", "finished"]
    assert len(cached() - before) == 1  # both trials share the features of the frozen backbone
    best = read_recipe(Path("studies/images/search/best.yaml"))
    values = next(each["values"] for each in content()["trials"] if each["number"] == content()["best"])
    rate = best["model"]["init_args"]["optimizer"]["init_args"]["lr"]
    assert rate == pytest.approx(values[LR], rel=1e-3)
