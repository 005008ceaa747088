"""Images unlike the training's are called unknown: what is needed is computed once, stored, and promised in counts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.errors import InputError
from visiontasks.predict.known_images import known_images
from visiontasks.predict.predictor import Predictor
from visiontasks.recipe.open_run import KNOWN_IMAGES_FILE, open_run
from visiontasks.tasks import ClassificationTask, LocalizationTask

SavedRun = Callable[..., Path]
LENET = {"backbone": "lenet5", "in_chans": 3}
CLASSES = ["dark", "pale"]


@pytest.fixture
def run(saved_run: SavedRun, tmp_path: Path) -> Path:
    """A run of dark and pale grey images, 20 of each to train and 10 to validate."""
    for split, count in (("train", 20), ("val", 10)):
        for k, name in enumerate(CLASSES):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([k, i, count]).integers(0, 40, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(noise + np.uint8(150 * k)).save(tmp_path / "photos" / split / name / f"{i}.png")
    torch.manual_seed(0)
    task = ClassificationTask(**LENET, weights="none", num_classes=2)
    folder = saved_run(tmp_path / "run", task, LENET, CLASSES)
    recipe = (folder / "recipe.yaml").read_text()
    data = f"init_args:\n    batch_size: 4\n    image_size: 32\n    root: {tmp_path / 'photos'}\n    resize: squash\n"
    (folder / "recipe.yaml").write_text(recipe.replace("init_args:\n    batch_size: 4\n", data, 1))
    return folder


def odd_image() -> Any:
    """Unlike the grey ones: coarse stripes of pure colours."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[::8, :, 0] = image[1::8, :, 0] = image[:, ::8, 2] = 255
    return image


def test_an_odd_image_is_unknown_and_a_validation_image_is_not(run: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run, unknown=0.05)
    (odd,) = predictor(odd_image())
    assert odd.label == "unknown"
    assert odd.output is not None
    assert odd.output.rows(CLASSES, top=1)[0]["p_known"] == pytest.approx(1 / 21, abs=1e-6)
    known = predictor(str(tmp_path / "photos" / "val"))
    assert sum(each.label == "unknown" for each in known) <= 1  # 20 / 21 of the images are nearer than the farthest
    assert predictor.columns(1) == ["predicted", "probability", "p_known"]


def test_what_is_needed_is_computed_once_and_stored(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = known_images(open_run(run))
    assert "looking at 40 training and 20 validation images, once for this run" in capsys.readouterr().err
    assert (run / KNOWN_IMAGES_FILE).is_file()
    shutil.rmtree(run.parent / "photos")
    again = known_images(open_run(run))
    assert capsys.readouterr().err == ""
    assert torch.equal(first.distances, again.distances)
    assert len(first.distances) == 20


@pytest.mark.parametrize("how", ["weights", "cut"])
def test_what_is_of_other_weights_or_damaged_is_computed_again(
    how: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_images(open_run(run))
    path, trained = run / KNOWN_IMAGES_FILE, open_run(run)
    if how == "weights":
        trained.task.head.linear.bias.data += 1
    else:
        path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    known_images(trained)
    assert "looking at 40 training" in capsys.readouterr().err


def test_without_the_data_the_message_names_what_is_needed(run: Path) -> None:
    shutil.rmtree(run.parent / "photos")
    with pytest.raises(
        InputError, match="--unknown: the training and validation images of .* are needed once, but are not here"
    ):
        Predictor.load(run, unknown=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknown": 0.04}, r"--unknown: 0\.04 needs at least 24 validation images, the run has 20"),
        ({"unknown": 5}, r"--unknown: 5, expected above 0 and below 1, such as 0\.05"),
        ({"unknown": 0.05, "tta": "flip"}, "--unknown: the promise is of one run's own .* not with --tta flip"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(options: Any, message: str, run: Path) -> None:
    with pytest.raises(InputError, match=message):
        Predictor.load(run, **options)


def test_a_class_of_that_name_is_refused(saved_run: SavedRun, tmp_path: Path) -> None:
    task = ClassificationTask(**LENET, weights="none", num_classes=2)
    run = saved_run(tmp_path / "other", task, LENET, ["known", "unknown"])
    with pytest.raises(InputError, match="--unknown: .*other has a class 'unknown' already"):
        Predictor.load(run, unknown=0.05)


def test_other_tasks_have_no_unknown(saved_run: SavedRun, tmp_path: Path) -> None:
    options = {**LENET, "box_grid": 0}
    run = saved_run(tmp_path / "box", LocalizationTask(**options, weights="none", num_classes=2), options, CLASSES)
    with pytest.raises(InputError, match="--unknown: .*box predicts no class of a whole image: leave it out"):
        Predictor.load(run, unknown=0.05)
