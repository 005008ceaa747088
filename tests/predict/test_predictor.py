"""Predictions of files, arrays and streams: those of the evaluation, as plain values, an error where there is none."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.data import ImageFolder, MaskFolder, VOCBoxes
from visiontasks.data.pipeline.sources import sample_path
from visiontasks.errors import InputError, MissingFileError
from visiontasks.predict.predictor import Box, ClassProbability, Prediction, Predictor, chosen_device
from visiontasks.recipe.open_run import open_run
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask
from visiontasks.tasks.calibration import Calibration

SavedRun = Callable[..., Path]
CLASSES = ["cat", "dog", "owl"]
LENET = {"backbone": "lenet5", "in_chans": 3}


def spread(task: Any) -> Any:
    """Weights large enough for answers that differ from image to image."""
    generator = torch.Generator().manual_seed(1)
    for parameter in task.parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.data.copy_(2 * torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return task.eval()


@pytest.fixture
def classifier(saved_run: SavedRun, tmp_path: Path) -> Path:
    task = spread(ClassificationTask(**LENET, weights="none", num_classes=3))
    return saved_run(tmp_path / "classifier", task, LENET, CLASSES, resize="crop")


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """Class folders of JPEGs large enough to be decoded at half or a quarter of their size, and one that is not."""
    for k, name in enumerate(CLASSES):
        for split in ("train", "test"):
            (tmp_path / "jpegs" / split / name).mkdir(parents=True)
        for i in range(6):
            size = [(150, 140), (301, 202), (64, 90), (33, 500), (256, 256), (40, 40)][i]
            noise = np.random.default_rng(10 * k + i).integers(0, 256, (5, 5, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
            for split in ("train", "test"):
                image.save(tmp_path / "jpegs" / split / name / f"{i}.jpg")
    return tmp_path / "jpegs"


def paths_of(data: Any, split: str = "test") -> list[str]:
    return [sample_path(data.source(split), i) for i in range(len(data.source(split)))]


def test_the_images_of_an_evaluation_get_its_probabilities_to_the_last_bit(classifier: Path, jpegs: Path) -> None:
    data = ImageFolder(str(jpegs), image_size=32, batch_size=4, resize="crop", num_workers=0)
    data.setup()
    task = open_run(classifier).task
    with torch.no_grad():
        expected = [output.class_probability() for batch in data.test_dataloader() for output in task.predict(batch)]
    predictions = Predictor.load(classifier)(paths_of(data))
    assert len(predictions) == 18
    assert len({prediction.classes[0].name for prediction in predictions}) > 1
    for prediction, row in zip(predictions, expected, strict=True):
        assert row is not None
        named = dict(zip(CLASSES, row.tolist(), strict=True))
        assert {each.name: each.probability for each in prediction.classes} == named


def test_other_batches_change_a_probability_by_rounding_only(classifier: Path, jpegs: Path) -> None:
    files = sorted(map(str, jpegs.glob("test/*/*.jpg")))
    four, seven = (Predictor.load(classifier, batch_size=size)(files) for size in (4, 7))
    data = ImageFolder(str(jpegs), image_size=32, batch_size=4, resize="crop", num_workers=0)
    data.setup()
    task = open_run(classifier).task
    with torch.no_grad():
        logits = [task(task.normalize(batch["image"])) for batch in data.test_dataloader()]
    largest_logit = float(torch.cat(logits).abs().max())
    # LeNet's 5 layers each round by about eps of what they give, and a probability changes by at most a quarter of what
    # the difference of two logits does: how far that goes depends on the processor's order of sums
    rounding = 5 * torch.finfo(torch.float32).eps * 2 * largest_logit / 4
    assert rounding < 1e-4
    for one, other in zip(four, seven, strict=True):
        for first, second in zip(one.classes, other.classes, strict=True):
            assert first.name == second.name
            assert first.probability == pytest.approx(second.probability, abs=rounding)


@pytest.mark.parametrize("resize", ["crop", "squash", "letterbox"])
def test_boxes_of_an_evaluation_come_in_pixels_of_the_image(
    resize: Any, saved_run: SavedRun, write_scenes: Callable[..., None], tmp_path: Path
) -> None:
    write_scenes(tmp_path / "scenes", "VOCBoxes")
    data = VOCBoxes(str(tmp_path / "scenes"), image_size=(16, 16), batch_size=4, resize=resize, num_workers=0)
    data.setup()
    options = {**LENET, "box_grid": 2}
    task = spread(LocalizationTask(**options, weights="none", num_classes=2))
    run = saved_run(tmp_path / "run", task, options, ["cat", "dog"], image_size=(16, 16), resize=resize)
    with torch.no_grad():
        box = torch.cat([task.raw_output(batch)[1][:, 0] for batch in data.test_dataloader()])
    scale, shift = {
        "squash": ((40, 32), (0, 0)),
        "crop": ((32, 32), (4, 0)),
        "letterbox": ((40, 16 * 32 / 13), (0, -32 / 13)),  # 40x32 becomes 16x13, with one row of padding above
    }[resize]
    expected = (box.view(-1, 2, 2) * torch.tensor(scale) + torch.tensor(shift)).view(-1, 4)
    expected = expected.clip(torch.zeros(4), torch.tensor([40.0, 32, 40, 32]))
    for prediction, row in zip(Predictor.load(run)(paths_of(data)), expected.tolist(), strict=True):
        (found,) = prediction.boxes
        assert [found.x1, found.y1, found.x2, found.y2] == pytest.approx(row, abs=1e-3)
        assert found.classes == prediction.classes
        assert {each.name for each in found.classes} == {"cat", "dog"}


@pytest.mark.parametrize("resize", ["squash", "letterbox", "keep"])
def test_masks_of_an_evaluation_have_the_size_of_the_image(
    resize: Any, saved_run: SavedRun, write_scenes: Callable[..., None], tmp_path: Path
) -> None:
    write_scenes(tmp_path / "scenes", "MaskFolder")
    data = MaskFolder(
        str(tmp_path / "scenes"), image_size=(16, 24), batch_size=4, resize=resize, num_workers=0, classes=CLASSES
    )
    data.setup()
    options = {"backbone": "resnet20_cifar"}
    task = spread(SegmentationTask(**options, weights="none", num_classes=3))
    run = saved_run(tmp_path / "run", task, options, CLASSES, image_size=(16, 24), resize=resize)
    with torch.no_grad():
        outputs: list[Any] = [output for batch in data.test_dataloader() for output in task.predict(batch)]
    masks = [output.mask for output in outputs]
    predictions = Predictor.load(run)(paths_of(data))
    assert len({value for mask in masks for value in np.unique(mask)}) > 1
    for prediction, mask in zip(predictions, masks, strict=True):
        assert prediction.mask is not None
        assert prediction.mask.shape == prediction.size == (32, 40)
        assert np.array_equal(prediction.mask, mask)
        assert (prediction.classes, prediction.boxes) == ((), ())


def test_a_predictor_shows_its_run_classes_and_device(classifier: Path) -> None:
    predictor = Predictor.load(classifier, device="cpu")
    assert repr(predictor) == f"Predictor({classifier}: ClassScores, 3 classes, cpu)"


def test_predictions_are_plain_values_with_the_most_probable_class_first(classifier: Path) -> None:
    (prediction,) = Predictor.load(classifier, top=2)(np.full((30, 50, 3), 90, np.uint8))
    assert isinstance(prediction, Prediction)
    assert (prediction.name, prediction.size, prediction.error) == ("0", (30, 50), None)
    first, second = prediction.classes
    assert first.probability >= second.probability
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.probability = 1.0  # type: ignore[misc]
    assert dataclasses.asdict(Box(1, 2, 3, 4, (ClassProbability("cat", 0.5),)))["classes"] == (
        {"name": "cat", "probability": 0.5},
    )


def test_the_label_is_the_most_probable_class(classifier: Path) -> None:
    (prediction,) = Predictor.load(classifier)(np.full((30, 50, 3), 90, np.uint8))
    probability = dict(zip(CLASSES, prediction.output.class_probability(), strict=True))  # type: ignore[union-attr]
    assert prediction.label == max(probability, key=lambda name: probability[name])
    assert prediction.probability == max(probability.values())
    assert repr(prediction).startswith(f"Prediction('0': {prediction.label} {prediction.probability:.3f}  ")
    lost = Prediction("a.jpg", error="no such image file")
    assert (lost.label, lost.probability) == (None, None)
    assert repr(lost) == "Prediction('a.jpg': no such image file)"


def test_a_folder_and_a_tensor_get_the_predictions_of_their_images(classifier: Path, tmp_path: Path) -> None:
    pixels = [np.full((20, 30, 3), value, np.uint8) for value in (10, 200)]
    (tmp_path / "new").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "new" / f"{i}.png")
    predictor = Predictor.load(classifier)
    expected = [prediction.probability for prediction in predictor(pixels)]
    of_files = predictor(tmp_path / "new")
    assert [prediction.name for prediction in of_files] == [f"{tmp_path}/new/{i}.png" for i in (0, 1)]
    batch = torch.from_numpy(np.stack(pixels)).movedim(-1, 1)
    for found in (of_files, predictor(batch), predictor(batch / 255)):
        assert [prediction.probability for prediction in found] == expected
    with pytest.raises(MissingFileError, match="nowhere: no such file or folder"):
        predictor("nowhere")


def test_several_objects_have_a_box_with_classes_each(saved_run: SavedRun, tmp_path: Path) -> None:
    options = {**LENET, "box_grid": 0, "num_objects": 2}
    run = saved_run(tmp_path / "run", LocalizationTask(**options, weights="none", num_classes=3), options, CLASSES)
    (prediction,) = Predictor.load(run)(np.zeros((20, 40, 3), np.uint8))
    assert prediction.classes == ()
    assert len(prediction.boxes) == 2
    for box in prediction.boxes:
        assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((10, 5, 30, 15))  # where boxes start
        assert len(box.classes) == 3


def test_boxes_alone_have_no_classes(saved_run: SavedRun, tmp_path: Path) -> None:
    options = {**LENET, "box_grid": 0, "class_weight": 0.0}
    run = saved_run(tmp_path / "run", LocalizationTask(**options, weights="none", num_classes=3), options, CLASSES)
    (prediction,) = Predictor.load(run)(np.zeros((20, 40, 3), np.uint8))
    (box,) = prediction.boxes
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((10, 5, 30, 15))
    assert box.classes == ()
    assert prediction.classes == ()


def test_what_cannot_be_read_is_an_error_among_the_others(classifier: Path, tmp_path: Path) -> None:
    grey = np.full((9, 9, 3), 128, np.uint8)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    images = [
        grey,
        tmp_path / "broken.jpg",
        grey,
        "nowhere.png",
        np.zeros((2, 2), np.uint8),
        Image.new("L", (9, 9), 128),
    ]
    said = Predictor.load(classifier)(images)
    assert [prediction.error is None for prediction in said] == [True, False, True, False, False, True]
    assert said[1].error == "not an image that PIL can read; convert it to PNG or JPEG, or remove it"
    assert (said[1].name, said[1].size, said[1].classes) == (f"{tmp_path}/broken.jpg", None, ())
    for other in (said[2], said[5]):
        assert [each.name for each in other.classes] == [each.name for each in said[0].classes]
        assert other.classes[0].probability == pytest.approx(said[0].classes[0].probability, abs=1e-6)
    only_broken = Predictor.load(classifier)(["nowhere.png"] * 9)
    assert len(only_broken) == 9


def test_a_single_image_is_a_list_of_one_and_none_is_an_empty_one(classifier: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    predictor = Predictor.load(classifier)
    for single in (
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        np.zeros((9, 9, 3), np.uint8),
        Image.new("RGB", (9, 9)),
    ):
        assert len(predictor(single)) == 1
    assert len(predictor(np.zeros((5, 9, 9, 3), np.uint8))) == 5
    assert predictor([]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_images_of_one_pixel_and_of_one_long_line_are_predicted(size: tuple[int, int], classifier: Path) -> None:
    (prediction,) = Predictor.load(classifier)(np.full((*size, 3), 50, np.uint8))
    assert prediction.size == size
    assert sum(each.probability for each in prediction.classes) == pytest.approx(1)


def test_a_stream_takes_only_what_it_needs(classifier: Path) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Any]:
        frame = np.zeros((9, 9, 3), np.uint8)
        while True:
            frame[:] = 10 * next(taken)  # one array for all, as a camera may give
            yield frame

    predictor = Predictor.load(classifier, batch_size=2)
    stream = predictor.stream(endless())
    said = [next(stream) for _ in range(5)]
    stream.close()
    assert next(taken) <= 6 + 4  # three batches, and two that are decoded ahead
    expected = predictor([np.full((9, 9, 3), 10 * i, np.uint8) for i in range(6)])[:5]
    for one, other in zip(said, expected, strict=True):
        assert one.classes[0].probability == pytest.approx(other.classes[0].probability, abs=1e-6)
    assert len({prediction.classes[0].probability for prediction in said}) == 5


def test_a_mask_that_would_not_fit_into_memory_is_an_error(
    saved_run: SavedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": "resnet20_cifar"}
    run = saved_run(tmp_path / "run", SegmentationTask(**options, weights="none", num_classes=3), options, CLASSES)
    predictor = Predictor.load(run)
    monkeypatch.setattr("visiontasks.predict.predictor.available_memory", lambda: 4 * 5 * 100)
    small, large, again = predictor([np.zeros(shape, np.uint8) for shape in ((10, 10, 3), (11, 10, 3), (10, 10, 3))])
    assert small.error is None
    assert large.error is not None
    assert large.error.startswith("10x11 pixels, which take 0.0 GB of memory, but 0.0 GB are free; shrink ")
    monkeypatch.setattr("visiontasks.predict.predictor.available_memory", lambda: 0)
    assert again.error is predictor(np.zeros((10, 10, 3), np.uint8))[0].error is None  # its memory was kept


def test_running_out_of_memory_names_the_batch_size(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(ClassificationTask, "predict", fill)
    with pytest.raises(InputError, match=r"out of memory with batches of 4: make them smaller \(--batch-size\)"):
        Predictor.load(classifier)(np.zeros((9, 9, 3), np.uint8))


def test_a_fault_of_the_network_is_not_taken_for_one_of_an_image(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*args: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ClassificationTask, "predict", fault)
    with pytest.raises(RuntimeError, match="^a bug$"):
        Predictor.load(classifier)(np.zeros((9, 9, 3), np.uint8))


def test_wrong_options_are_refused(classifier: Path) -> None:
    with pytest.raises(InputError, match="expected at least one run"):
        Predictor.load()
    with pytest.raises(MissingFileError, match="no run in nowhere"):
        Predictor.load(classifier, "nowhere")
    with pytest.raises(InputError, match="--batch-size: 0, expected at least 1"):
        Predictor.load(classifier, batch_size=0)
    with pytest.raises(InputError, match="--top: 0, expected at least 1"):
        Predictor.load(classifier, top=0)
    with pytest.raises(InputError, match="--device warp: cannot be used here .*; expected auto, cpu, or cuda:0"):
        Predictor.load(classifier, device="warp")
    with pytest.raises(MissingFileError, match=r"^no checkpoint nowhere.ckpt$"):
        Predictor.load("nowhere.ckpt")
    given: Any
    for given in (str(classifier), [str(classifier)]):
        with pytest.raises(InputError, match=r'^Predictor takes a list of opened runs; Predictor.load\("runs/'):
            Predictor(given)


def test_the_device_is_the_cpu_where_there_is_nothing_else() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    if not torch.accelerator.is_available():
        assert chosen_device("auto") == torch.device("cpu")
        with pytest.raises(InputError, match="--device cuda:0: cannot be used here"):
            chosen_device("cuda:0")


def calibrated(saved_run: SavedRun, folder: Path, calibration: Calibration) -> Path:
    torch.manual_seed(0)
    task = spread(ClassificationTask(**LENET, weights="none", num_classes=3))
    task.calibration = calibration
    return saved_run(folder, task, LENET, CLASSES, resize="crop")


def test_probabilities_are_those_of_the_temperature_and_answers_stay(
    saved_run: SavedRun, jpegs: Path, tmp_path: Path
) -> None:
    """p / (1 - p) of two classes is exp of the logits' difference, whose half is the square root of it."""
    runs = [calibrated(saved_run, tmp_path / str(t), Calibration(t, torch.tensor([0.5]))) for t in (1.0, 2.0)]
    for plain, warm in zip(*(Predictor.load(run)(str(jpegs)) for run in runs), strict=True):
        assert [each.name for each in warm.classes] == [each.name for each in plain.classes]
        roots = np.sqrt([each.probability for each in plain.classes])
        np.testing.assert_allclose([each.probability for each in warm.classes], roots / roots.sum(), rtol=1e-3)


def test_coverage_gives_all_classes_that_reach_the_limit(saved_run: SavedRun, jpegs: Path, tmp_path: Path) -> None:
    """Of 19 validation images a coverage of 0.95 needs the probability of all of them, and 0.9 that of 18."""
    known = Calibration(1.0, torch.tensor([0.125, *[0.25] * 18]))
    run = calibrated(saved_run, tmp_path / "run", known)
    sizes = []
    for coverage, least in ((0.95, 0.125), (0.9, 0.25)):
        predictions = Predictor.load(run, coverage=coverage)(str(jpegs))
        for prediction in predictions:
            expected = [each for each in prediction.classes if each.probability >= least]
            assert list(prediction.class_set) == (expected or [prediction.classes[0]])
        sizes.append(sum(len(prediction.class_set) for prediction in predictions))
    assert sizes[0] > sizes[1] >= len(predictions)
    assert Predictor.load(run)(str(jpegs))[0].class_set == ()
    assert Predictor.load(run, coverage=0.9).columns(2)[-1] == "set"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": 0.96}, r"--coverage: 0\.96 needs at least 24 validation images, the run has 19"),
        ({"coverage": 95}, r"--coverage: 95, expected above 0 and below 1, such as 0\.95"),
        ({"coverage": 0.9, "tta": "flip"}, "--coverage: the promise is of one run's own .* not with --tta flip"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(
    options: Any, message: str, saved_run: SavedRun, tmp_path: Path
) -> None:
    run = calibrated(saved_run, tmp_path / "run", Calibration(1.0, torch.full((19,), 0.5)))
    with pytest.raises(InputError, match=message):
        Predictor.load(run, **options)
    with pytest.raises(InputError, match="--coverage: the promise .* not with several runs"):
        Predictor.load(run, run, coverage=0.9)


def test_runs_without_validated_probabilities_promise_nothing(
    classifier: Path, saved_run: SavedRun, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--coverage: .*classifier stores no probabilities .* train it again"):
        Predictor.load(classifier, coverage=0.9)
    options = {**LENET, "box_grid": 0}
    run = saved_run(tmp_path / "box", LocalizationTask(**options, weights="none", num_classes=3), options, CLASSES)
    with pytest.raises(InputError, match="--coverage: .*box predicts no class of a whole image: leave it out"):
        Predictor.load(run, coverage=0.9)
