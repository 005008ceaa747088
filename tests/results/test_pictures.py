"""The picture grid of a measured split, for each kind of task on made data."""

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from visiontasks.data import DataModule, Source
from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.data.targets import TARGETS
from visiontasks.report import Picture
from visiontasks.results import pictures
from visiontasks.results.pictures import draw_predictions, picture_of
from visiontasks.results.samples import Samples, read_samples, write_samples
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask, Task

Sections = Mapping[str, Sequence[Picture]]


class Made(DataModule):
    """30 test images of 20x16 pixels, with labels, boxes or masks."""

    def __init__(self, target: Any) -> None:
        super().__init__(
            target=TARGETS[target], image_size=(16, 24), resize="squash", batch_size=7, num_workers=0, seed=0
        )

    @property
    def class_names(self) -> list[str]:
        return ["ant", "bee", "cow"]

    def load_sources(self) -> dict[str, Source]:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (30, 16, 20, 3), np.uint8)
        labels = np.arange(30) % 3
        if self.target.name == "mask":
            masks = generator.integers(0, 3, (30, 16, 20)).astype(np.uint8)
            masks[4] = 255
            return {"test": ArraySource(images, np.zeros(30, np.int64), masks=masks)}
        boxes = np.tile(np.array([2, 4, 12, 12], np.float32), (30, 1))
        boxes[:, 2] += np.arange(30) % 8
        boxes[5] = np.nan
        return {"test": ArraySource(images, labels, boxes=boxes if self.target.name == "box" else None)}


def make_task(kind: type[Any], **options: Any) -> Task:
    torch.manual_seed(0)
    task: Task = kind("test_resnet", weights="none", num_classes=3, **options)
    return task


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was given to `draw_grid`, which draws it all the same."""
    given: dict[str, Any] = {}
    draw_grid = pictures.draw_grid

    def note(sections: Sections, path: Path, **options: Any) -> None:
        given.update(options, sections=sections)
        draw_grid(sections, path, **options)

    monkeypatch.setattr(pictures, "draw_grid", note)
    return given


def measure(task: Task, data: DataModule, folder: Path) -> tuple[Samples, list[int]]:
    """The samples of the test split as they are stored, and their rows."""
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", **silent).test(task, data, verbose=False)
    table = task.sample_table("test")
    write_samples(folder / "table.csv", table, data, "test")
    return read_samples(folder / "table.csv"), table["index"].tolist()


def measure_and_draw(task: Task, data: DataModule, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    draw_predictions(task, data, "test", *measure(task, data, path.parent), path)


@pytest.mark.parametrize(
    ("kind", "target"), [(ClassificationTask, "label"), (LocalizationTask, "box"), (SegmentationTask, "mask")]
)
def test_twelve_worst_and_twelve_others_are_drawn(kind: Any, target: str, drawn: Any, tmp_path: Path) -> None:
    task, data = make_task(kind), Made(target)
    measure_and_draw(task, data, tmp_path / "run" / "predictions.png")
    with Image.open(tmp_path / "run" / "predictions.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 400
    assert list(drawn["sections"]) == ["the 12 worst", "12 random others"]
    worst, others = drawn["sections"].values()
    shown = [int(picture.name) for picture in [*worst, *others]]
    assert len(set(shown)) == 24
    table = task.sample_table("test")
    index, score = table["index"].tolist(), table["score"].tolist()
    assert index == list(range(30))
    expected = sorted(value for value in score if value == value)[:12]
    assert [picture.score for picture in worst] == pytest.approx(expected, abs=1e-8)  # as the table rounds them
    assert drawn["class_names"] == ["ant", "bee", "cow"]
    assert drawn["score_name"] == task.score_name


def test_a_classified_picture_has_both_labels_and_the_probability(drawn: Any, tmp_path: Path) -> None:
    task, data = make_task(ClassificationTask), Made("label")
    measure_and_draw(task, data, tmp_path / "a.png")
    picture = drawn["sections"]["the 12 worst"][0]
    row = int(picture.name)
    assert picture.true_label == data.class_names[row % 3]
    assert picture.image.shape == (16, 24, 3)  # as the network gets it
    batch = next(batch for batch in data.test_dataloader() if row in batch["index"])
    with torch.no_grad():
        probability = list(task.eval().predict(batch))[batch["index"].tolist().index(row)].class_probability()
    assert probability is not None
    assert picture.predicted_label == data.class_names[int(probability.argmax())]
    assert picture.probability == pytest.approx(probability.max(), abs=1e-5)
    assert (picture.truth, picture.prediction) == (None, None)


def test_a_localized_picture_has_boxes_of_the_original_image(drawn: Any, tmp_path: Path) -> None:
    measure_and_draw(make_task(LocalizationTask), Made("box"), tmp_path / "a.png")
    picture = drawn["sections"]["the 12 worst"][0]
    row = int(picture.name)
    assert picture.image.shape == (16, 20, 3)  # the original
    assert picture.truth.boxes.tolist() == [[2, 4, 12 + row % 8, 12]]
    assert picture.prediction.boxes.shape == (1, 4)
    assert picture.true_label == ["ant", "bee", "cow"][row % 3]


@pytest.mark.parametrize(("kind", "target"), [(ClassificationTask, "label"), (LocalizationTask, "box")])
def test_what_was_measured_is_drawn_without_predicting_again(
    kind: Any, target: str, drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = make_task(kind), Made(target)
    samples, rows = measure(task, data, tmp_path)
    draw_predictions(task, data, "test", samples, rows, tmp_path / "a.png")
    first = drawn["sections"]["the 12 worst"][0]
    if target == "box":
        batch = data.batch("test", [(0, int(first.name))])
        with torch.no_grad():
            (again,) = task.eval().predict(batch)
        np.testing.assert_allclose(again.boxes, first.prediction.boxes, atol=0.01)  # as the table rounds them
    monkeypatch.setattr(task, "predict", None)
    draw_predictions(task, data, "test", samples, rows, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_sample_whose_prediction_is_nan_is_labelled_nothing() -> None:
    data = Made("label")
    data.setup("test")
    samples = Samples(["4"], [0.0], label=["bee"], predicted=[""], probability=[nan])
    picture = picture_of(make_task(ClassificationTask), data, "test", 4, samples, 0)
    assert (picture.true_label, picture.predicted_label, picture.probability) == ("bee", "nothing", None)


def test_a_segmented_picture_has_its_original_size_and_both_masks(drawn: Any, tmp_path: Path) -> None:
    task, data = make_task(SegmentationTask), Made("mask")
    measure_and_draw(task, data, tmp_path / "a.png")
    picture = drawn["sections"]["the 12 worst"][0]
    sample = data.source("test")[int(picture.name)]
    np.testing.assert_array_equal(picture.image, sample["image"])
    np.testing.assert_array_equal(picture.truth.mask, sample["mask"])
    assert picture.prediction.mask.shape == (16, 20)


def test_drawing_leaves_the_mode_of_the_task_as_it_was(tmp_path: Path) -> None:
    task, data = make_task(SegmentationTask), Made("mask")
    measured = measure(task, data, tmp_path)
    for mode in (True, False):
        task.train(mode)
        draw_predictions(task, data, "test", *measured, tmp_path / "a.png")
        assert task.training == mode


def test_drawing_again_gives_the_same_file(tmp_path: Path) -> None:
    task, data = make_task(SegmentationTask), Made("mask")
    measured = measure(task, data, tmp_path)
    for name in ("a.png", "b.png"):
        draw_predictions(task, data, "test", *measured, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
