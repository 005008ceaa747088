"""Trainings as a newcomer types them: what the run's recipe.yaml, folder and first lines are."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from visiontasks.commands.main import main

SHIPPED = "--backbone resnet20_cifar.vt_cifar10 --workers 0"

pytestmark = pytest.mark.filterwarnings("ignore:.*Experiment logs directory")


def recipe_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text())
    return content


def test_a_quick_run_of_a_folder_with_short_options_is_one_epoch_and_its_recipe_has_only_keys(
    in_tmp: Path, class_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(in_tmp / "my_images", {"cat": 5, "dog": 5})
    words = f"train my_images --quick {SHIPPED} imgsz=32 --lr 1e-3 --seed 5 --device cpu --name mine"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "my_images/: class folders (cat, dog), so classification with the recipe folder_resnet\n"
        "note: augmentation at 32x32 pixels too (RandomResizedCrop)\n"
    )
    (run,) = Path("runs/mine_quick").iterdir()
    recipe = recipe_of(run)
    assert recipe["seed_everything"] == 5
    assert recipe["trainer"]["max_epochs"] == 1
    assert recipe["trainer"]["accelerator"] == "cpu"
    assert recipe["model"]["init_args"]["backbone"] == "resnet20_cifar.vt_cifar10"
    assert recipe["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.001
    options = recipe["data"]["init_args"]
    assert (options["root"], options["image_size"], options["num_workers"]) == ("my_images", 32, 0)
    assert options["augment"][0]["init_args"]["size"] == [32, 32]
    assert options["batch_size"] == 6  # of 5 images a class 3 are trained on; the recipe has 8 in a quick run
    assert "batches of 6, not 8: train has 6 image(s)" in printed


def test_a_quick_run_measures_images_of_all_classes_and_its_report_has_the_warnings(
    in_tmp: Path, class_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(in_tmp / "many/train", dict.fromkeys("abcd", 2))
    class_folders(in_tmp / "many/val", dict.fromkeys("abcd", 5))
    class_folders(in_tmp / "many/test", dict.fromkeys("abcd", 5))
    assert main(f"finetune many --quick {SHIPPED} --image-size 32 --batch-size 2 --device cpu --out run".split()) == 0
    with Path("run/predictions_test.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == list("abcd")
    (warning,) = json.loads(Path("run/result.json").read_text())["data"]["warnings"]
    assert warning.startswith("in two splits the same file: many/val/a/0.png and many/train/a/0.png")
    assert warning in " ".join(capsys.readouterr().out.split())
    assert f"I{warning[1:]}." in Path("run/report.html").read_text()


def test_masks_are_trained_at_another_size_in_a_folder_of_the_users(
    in_tmp: Path, write_scenes: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(in_tmp / "my_masks", "MaskFolder")
    words = f"finetune my_masks --quick {SHIPPED} --image-size 32x64 --output deep/run"
    assert main(words.split()) == 0
    assert "note: augmentation at 32x64 pixels too (RandomCrop)" in capsys.readouterr().out
    recipe = recipe_of(Path("deep/run"))
    crop = recipe["data"]["init_args"]["augment"][1]["init_args"]
    assert (crop["height"], crop["width"]) == (32, 64)
    assert (Path("deep/run") / "report.html").is_file()
    assert not Path("runs").exists()


def test_a_refused_start_leaves_no_folder_that_was_not_there(in_tmp: Path, class_folders: Callable[..., Path]) -> None:
    class_folders(in_tmp / "my_images", {"cat": 5, "dog": 5})
    (in_tmp / "my_images/cat/0.png").write_bytes(b"no image")
    (in_tmp / "there").mkdir()
    for place in ("--name mine", "--out there/deep/run", "--out there", ""):
        assert main(f"finetune my_images {SHIPPED} --image-size 32 {place}".split()) == 2
    assert {path.name for path in in_tmp.iterdir()} <= {"my_images", "there"}
    assert {path.name for path in (in_tmp / "there").iterdir()} == set()
