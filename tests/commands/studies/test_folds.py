"""`visiontasks study folds` as a user types it."""

import json
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.main import EXIT_SIGNAL, main
from visiontasks.commands.studies import folds
from visiontasks.csv_tables import read_csv
from visiontasks.data import sample_name
from visiontasks.errors import Stopped
from visiontasks.recipe.cli import recipe_data

COMMAND = "study folds images --backbone resnet20_cifar.vt_cifar10 --image-size 32 --workers 0"


@pytest.fixture
def images(in_tmp: Path, class_folders: Callable[..., Path]) -> Path:
    return class_folders(in_tmp / "images", {"cat": 10, "dog": 10})


class Trainer:
    """In place of a training: writes what a finished run has, and stops in the trainings that are named."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.stops_in: set[str] = set()

    def __call__(self, recipe: Path, overrides: Sequence[str], **options: Any) -> tuple[Path, dict[str, Any]]:
        folder = Path(options.get("folder") or options["resume"])
        self.trained.append(("resumed " if "resume" in options else "") + folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text("")
        if folder.name in self.stops_in:
            raise Stopped(signal.SIGTERM)
        data = recipe_data(recipe, overrides)
        data.setup()
        source = data.source("test")
        names = [sample_name(source, row) for row in range(len(source))]
        (folder / "predictions_test.csv").write_text("sample,label\n" + "".join(f"{name},cat\n" for name in names))
        n, right = len(names), len(names) - len(self.trained) % 2
        content = {"metrics": {"test/top1": {"value": right / n, "n": n, "count": right}}, "hardware": {"threads": 2}}
        (folder / "result.json").write_text(json.dumps(content))
        return folder, content


@pytest.fixture
def trainer(images: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(folds, "finetune", made)
    return made


def test_an_interrupted_study_goes_on_and_trains_no_fold_twice(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.stops_in = {"fold2of3"}
    command = f"{COMMAND} --folds 3"
    assert main(command.split()) == EXIT_SIGNAL + signal.SIGTERM
    assert "stopped in fold 2 of 3; the same command goes on from there" in capsys.readouterr().err
    assert trainer.trained == ["fold1of3", "fold2of3"]
    trainer.stops_in, trainer.trained = set(), []
    assert main(command.split()) == 0
    assert trainer.trained == ["resumed fold2of3", "fold3of3"]
    out = capsys.readouterr().out
    assert re.search(r"fold 1 of 3: test/top1 0\.8\d+ \(n = [67]\)", out)
    assert "visiontasks predict studies/images/folds/fold*of3/ IMAGES" in out
    with Path("studies/images/folds/out_of_fold.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = read_csv(file)
    assert header == ["file", "fold", "repeat", "label"]
    assert sorted(row[0] for row in rows) == sorted(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(10))
    content = json.loads(Path("studies/images/folds.json").read_text(encoding="utf-8"))["folds"]
    assert (content["images"], content["metrics"][0]["n"], len(content["runs"])) == (20, 20, 3)
    assert "Nadeau and Bengio" in Path("studies/images/index.html").read_text(encoding="utf-8")


def test_repeats_divide_the_images_again(trainer: Trainer) -> None:
    assert main(f"{COMMAND} --folds 2 --repeats 2".split()) == 0
    assert trainer.trained == ["fold1of2", "fold2of2", "fold1of2_repeat2", "fold2of2_repeat2"]
    with Path("studies/images/folds/out_of_fold.csv").open(newline="", encoding="utf-8") as file:
        rows = list(read_csv(file))[1:]
    held = {(fold, repeat): {row[0] for row in rows if row[1:3] == [fold, repeat]} for fold in "12" for repeat in "12"}
    assert held["1", "1"] | held["2", "1"] == held["1", "2"] | held["2", "2"]
    assert held["1", "1"] not in (held["1", "2"], held["2", "2"])


def test_another_recipe_or_other_images_do_not_go_on(trainer: Trainer, images: Path, refused: Any) -> None:
    assert main(f"{COMMAND} --folds 2".split()) == 0
    assert "folds/ has trainings of other options: give --out" in refused(f"{COMMAND} --folds 2 --epochs 3")
    (images / "cat/0.png").rename(images / "cat/90.png")
    assert "of other 2 parts of the images" in refused(f"{COMMAND} --folds 2")


def test_seeds_are_trained_on_the_recipe_s_splits(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"{COMMAND} --seeds 3 --seed 4".split()) == 0
    assert trainer.trained == ["seed4", "seed5", "seed6"]
    assert "# measured: test/top1 0.8333, standard deviation 0.1443, n=3 seeds (4, 5, 6; " in capsys.readouterr().out
    assert main(f"{COMMAND} --folds 2".split()) == 0
    content = json.loads(Path("studies/images/folds.json").read_text(encoding="utf-8"))
    assert content["seeds"]["seeds"] == [4, 5, 6]
    assert content["folds"]["folds"] == 2


def test_wrong_options_are_answered_before_a_training(trainer: Trainer, refused: Any) -> None:
    assert "give one of them" in refused(f"{COMMAND} --seeds 2 --folds 3")
    assert "expected 2 or more" in refused(f"{COMMAND} --seeds 1")
    assert "leave it out" in refused(f"{COMMAND} --data.fold 1/5")
    assert "into 11 folds: cat (10), dog (10)" in refused(f"{COMMAND} --folds 11")
    assert trainer.trained == []


@pytest.mark.slow
def test_the_networks_of_the_folds_predict_as_one(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"{COMMAND} --folds 2 --epochs 1".split()) == 0
    runs = ["studies/images/folds/fold1of2", "studies/images/folds/fold2of2"]
    for run in runs:
        result = json.loads(Path(run, "result.json").read_text(encoding="utf-8"))
        assert result["data"]["splits"] == {"train": 8, "val": 2, "test": 10}
    capsys.readouterr()
    assert main(["predict", *runs, "images/cat/0.png"]) == 0
    assert "images/cat/0.png" in capsys.readouterr().out
