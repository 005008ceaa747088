"""Runs with boxes, end to end through the commands: results, pictures, bad samples, boxes on a trained classifier."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from visiontasks.commands.finetune import evaluate, finetune
from visiontasks.commands.main import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
]

WriteScenes = Callable[..., None]
SHORT = ["--trainer.max_epochs", "1", "--finetune.freeze_epochs", "0", "--data.image_size", "32"]
SHORT += ["--data.batch_size", "4", "--data.num_workers", "0", "--trainer.precision", "32-true"]
SMALL = ["--model.backbone", "resnet20_cifar", "--model.weights", "none"]


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(recipe: str, *overrides: str) -> tuple[Path, dict[str, Any]]:
    path = Path(__file__).parents[2] / "recipes" / f"{recipe}.yaml"
    return finetune(path, [*SMALL, *SHORT, *overrides])


def test_a_run_with_boxes_has_metrics_intervals_and_pictures(in_tmp: Path, write_scenes: WriteScenes) -> None:
    write_scenes(Path("scenes"), "VOCBoxes")
    run_dir, result = train("folder_localize", "--data.root", "scenes")
    names = {"iou", "iou50", "iou75", "top1", "localization_error_top1"}
    assert set(result["metrics"]) >= {f"test/{name}" for name in names}
    iou = result["metrics"]["test/iou"]
    low, high = iou["interval95"]
    assert low <= iou["value"] <= high
    assert result["metrics"]["test/iou50"]["count"] <= iou["n"] == result["data"]["splits"]["test"]
    assert (run_dir / "predictions_test.png").stat().st_size > 1000
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]


def test_bad_samples_are_listed_whole_or_skipped_and_counted(
    in_tmp: Path, write_scenes: WriteScenes, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(Path("scenes"), "VOCBoxes")
    bad = sorted(Path("scenes/annotations").glob("*.xml"))[:8]
    for file in bad:
        file.write_text(file.read_text().replace("<xmax>30", "<xmax>?30"))  # many boxes beyond images are misread
    folder = [*SMALL, *SHORT, "--data.root", "scenes"]
    assert main(["finetune", "folder_localize", *folder]) == 2
    headline, *problems = capsys.readouterr().err.splitlines()
    assert "8 problem(s) in 8 of 24 samples" in headline
    assert len(problems) == 8
    assert all(str(file) in " ".join(problems) for file in bad)
    assert not list(Path("runs").glob("*/*"))
    _, result = train("folder_localize", "--data.root", "scenes", "--data.on_bad_sample", "skip")
    assert sum(result["data"]["skipped"].values()) == 8
    assert sum(result["data"]["splits"].values()) == 16


def test_boxes_are_trained_on_a_classifier_that_stays_as_it_is(in_tmp: Path, write_scenes: WriteScenes) -> None:
    write_scenes(Path(), "OxfordPets")
    pets = ["--data", "OxfordPets", "--data.root", "."]
    overrides = [*pets, "--data.target", "label", "--model.label_smoothing", "0"]
    classifier, _ = train("folder_resnet", *overrides)
    alone = ["--model.classifier", str(classifier), "--model.class_weight", "0", "--finetune.unfreeze", "never"]
    run_dir, result = train("folder_localize", *pets, "--data.target", "box", *alone)
    states = [
        torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"] for run in (classifier, run_dir)
    ]
    for name, tensor in states[0].items():
        assert tensor.equal(states[1][name.replace("head.", "head.classes.")]), name
    shutil.rmtree(classifier)
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]
    assert json.loads((run_dir / "result.json").read_text())["phases"] == [
        {"epochs": [1, 1], "trained_stages": 0, "wall_s": result["phases"][0]["wall_s"]}
    ]


def test_a_classifier_of_other_classes_is_refused(
    in_tmp: Path, write_scenes: WriteScenes, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scenes(Path("pets"), "OxfordPets")
    pets = ["--data", "OxfordPets", "--data.root", "pets"]
    classifier, _ = train("folder_resnet", *pets, "--model.label_smoothing", "0")
    write_scenes(Path("other"), "VOCBoxes")
    for file in Path("other/annotations").glob("*.xml"):
        file.write_text(file.read_text().replace("cat", "cow"))
    folder = [*SMALL, *SHORT, "--data.root", "other", "--model.classifier", str(classifier)]
    assert main(["finetune", "folder_localize", *folder]) == 2
    said = capsys.readouterr().err
    assert "was trained on the classes dog, cat, but the data has cow, dog" in said
