"""Segmentation by the commands: from a recipe and a folder of masks to measured and drawn predictions, and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.errors import InputError
from visiontasks.results.confusion import read_confusion
from visiontasks.results.report import report

VALUES = (0, 40, 128)  # of the classes in the mask files; without classes.txt they are their names too
RECIPE = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    "model": {
        "class_path": "SegmentationTask",
        "init_args": {
            "backbone": "test_resnet",
            "weights": "none",
            "head": {"class_path": "UNetHead", "init_args": {"finest_width": 2}},
            "loss": {"cross_entropy": 1.0, "dice": 0.5},
            "class_weights": "balanced",
        },
    },
    "data": {
        "class_path": "MaskFolder",
        "init_args": {"root": "", "image_size": [24, 32], "batch_size": 4, "resize": "letterbox", "num_workers": 0},
    },
    "finetune": {"freeze_epochs": 0},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*TensorBoardLogger"),
]


def write_masks(root: Path, number: int, values: tuple[int, ...] = VALUES) -> Path:
    """Images of 20x30 pixels and their masks, in stripes of each value."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(number):
        generator = np.random.default_rng(i)
        mask = np.repeat(np.array(values, np.uint8), 30 // len(values))[None].repeat(20, 0)
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), np.uint8)).save(root / f"images/{i}.png")
        Image.fromarray(mask).save(root / f"masks/{i}.png")
    return root


def write_recipe(folder: Path, root: Path, **loss: Any) -> Path:
    recipe = json.loads(json.dumps(RECIPE))
    recipe["data"]["init_args"]["root"] = str(root)
    recipe["model"]["init_args"] |= loss
    path = folder / "stripes.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A short training, only to be read."""
    folder = tmp_path_factory.mktemp("masks")
    root = write_masks(folder / "stripes", 10)
    (root / "masks/3.png").unlink()
    return finetune(
        write_recipe(folder, root), ["--data.on_bad_sample", "skip", "--data.split_seed", "1"], runs=folder / "runs"
    )


def test_a_run_has_metrics_by_class_the_skipped_and_a_picture(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, result = trained
    assert result["data"]["classes"] == ["0", "40", "128"]
    assert sum(result["data"]["splits"].values()) == 9
    assert sum(result["data"]["skipped"].values()) == 1
    assert result["metrics"].keys() == {"test/miou", "test/pixel_accuracy", "test/loss"}
    assert result["class_metrics"]["test/class_iou"].keys() == {"0", "40", "128"}
    assert result["chosen_by"]["monitor"] == "val/miou"
    with Image.open(run_dir / "predictions_test.png") as image:
        assert image.format == "PNG"
    assert not [
        key
        for key in torch.load(run_dir / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        if "class_w" in key
    ]


def test_measuring_again_gives_the_same_though_the_classes_values_have_gaps(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    run_dir, result = trained
    again = evaluate(run_dir, [])
    assert again["metrics"] == result["metrics"]
    assert again["class_metrics"] == result["class_metrics"]


def test_pixels_by_class_are_kept_with_the_run_and_shown_in_its_report(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run_dir, result = trained
    confusion = read_confusion(run_dir / "confusion_test.csv")
    counts = confusion.counts
    assert confusion.class_names == ["0", "40", "128"]
    number = result["metrics"]["test/miou"]["n"]
    assert [sum(row) for row in counts] == [20 * 10 * number] * 3  # each a third of the 20x30 pixels
    right = sum(counts[k][k] for k in range(3))
    assert result["metrics"]["test/pixel_accuracy"]["value"] == pytest.approx(right / (600 * number))
    assert "Confusion matrix" in (run_dir / "report.html").read_text()
    earlier = Path(shutil.copytree(run_dir, tmp_path / "earlier"))
    (earlier / "confusion_test.csv").unlink()
    assert "Confusion matrix" not in report(str(earlier), []).read_text()
    evaluate(earlier, [])
    assert (earlier / "confusion_test.csv").read_bytes() == (run_dir / "confusion_test.csv").read_bytes()
    assert "Confusion matrix" in (earlier / "report.html").read_text()


def test_a_folder_that_lacks_a_class_is_measured_by_the_names(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    root = write_masks(tmp_path / "other", 2, (128, 0))
    found = evaluate(trained[0], ["--data.root", str(root)])
    assert found["metrics"]["test/miou"]["n"] == 2
    assert found["class_metrics"]["test/class_iou"].keys() == {"0", "40", "128"}
    other = write_masks(tmp_path / "unknown", 2, (0, 7))
    with pytest.raises(InputError, match=r"masks/0\.png: value\(s\) 7, expected .* 0, 40, 128, 255"):
        evaluate(trained[0], ["--data.root", str(other), "--data.on_bad_sample", "error"])


def test_classes_are_balanced_by_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    balanced: list[Any] = []
    monkeypatch.setattr(
        "visiontasks.tasks.class_weights.ClassWeights.balance", lambda self, counts, number: balanced.append(counts)
    )
    root = write_masks(tmp_path / "stripes", 5, (0, 0, 40))
    with pytest.raises(InputError, match="call task.balance"):  # it got no counts
        finetune(write_recipe(tmp_path, root), ["--data.batch_size", "3"], runs=tmp_path / "runs")
    assert balanced == [[3 * 400, 3 * 200]]


def test_a_wrong_loss_term_is_named(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "stripes", 5)
    with pytest.raises(InputError, match=r"model\.init_args\.loss must .* to cross_entropy, dice, focal; got \{'dyce'"):
        finetune(write_recipe(tmp_path, root, loss={"dyce": 1.0}), [], runs=tmp_path / "runs")


def test_masks_of_0_and_255_are_refused_by_what_is_wrong_with_them(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "stripes", 5, (0, 255))
    with pytest.raises(
        InputError, match=r"^data\.init_args\.root: the masks of .* hold no two classes, only .* 0, 255 "
    ):
        finetune(write_recipe(tmp_path, root), [], runs=tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("*.yaml"))
