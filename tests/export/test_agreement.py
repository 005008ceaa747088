"""When the predictions of an exported file agree with the run's, on numbers worked out by hand."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export.agreement import Agreement, Reference, compare, evaluate
from visiontasks.export.graph import Runner
from visiontasks.export.samples import Sample, folder_samples
from visiontasks.outputs import ClassScores, Detections, SemanticMask
from visiontasks.predict.predictor import Predictor
from visiontasks.recipe.open_run import FinishedRun

Answer = Callable[[FinishedRun, UInt8Array], dict[str, Any]]


def classes(*probability: float) -> ClassScores:
    return ClassScores(np.array(probability, np.float32))


def box(*corners: float, probability: Any = None) -> Detections:
    """One box in an image of 1000x1000 pixels."""
    of_classes = None if probability is None else np.array([probability], np.float32)
    return Detections((1000, 1000), np.array([corners], np.float32), of_classes)


def test_the_largest_difference_is_stored_with_its_image() -> None:
    agreement = Agreement()
    agreement.add("a", classes(0.702, 0.298), Reference(classes(0.7, 0.3), 1.0))
    agreement.add("b", classes(0.4, 0.6), Reference(classes(0.395, 0.605), 1.0))
    assert agreement.largest["probability"] == pytest.approx(0.005)
    assert (agreement.images, agreement.answers, agreement.flips, agreement.worst) == (2, 2, 0, "b")
    agreement.check("model.onnx")


def test_another_class_is_a_fault_unless_the_first_two_are_equally_probable() -> None:
    agreement = Agreement()
    agreement.add("even", classes(0.4997, 0.5003), Reference(classes(0.5003, 0.4997), 1.0))
    assert (agreement.flips, agreement.ties, agreement.passed) == (0, 1, True)
    agreement.add("clear", classes(0.499, 0.501), Reference(classes(0.503, 0.497), 1.0))
    assert (agreement.flips, agreement.ties, agreement.passed) == (1, 1, False)
    with pytest.raises(InputError, match=r"model.onnx .* nothing was written: 1 of 1 classes differ in clear"):
        agreement.check("model.onnx")


@pytest.mark.parametrize("found", [0.72, float("nan")])
def test_a_probability_that_is_far_off_or_not_a_number_is_a_fault(found: float) -> None:
    agreement = Agreement()
    agreement.add("a", classes(found, 0.28), Reference(classes(0.7, 0.3), 1.0))
    with pytest.raises(InputError, match="a probability differs by"):
        agreement.check("model.onnx")


def test_pixels_of_a_mask_are_classes() -> None:
    mask, lead = np.array([[0, 1], [2, 1]], np.uint8), torch.tensor([[0.5, 0.0004], [0.9, 0.9]])
    first = torch.from_numpy(mask).long()[None]  # of three classes one has the lead over the next, the third has 0
    probability = torch.zeros(3, 2, 2).scatter(0, first, (1 + lead[None]) / 2)
    reference = Reference(SemanticMask(scores=probability.scatter(0, (first + 1) % 3, (1 - lead[None]) / 2).log()), 1.0)
    agreement = Agreement()
    agreement.add("tie", SemanticMask(np.array([[0, 2], [2, 1]], np.uint8)), reference)
    assert (agreement.answers, agreement.flips, agreement.ties) == (4, 0, 1)
    agreement.add("flip", SemanticMask(np.array([[1, 2], [2, 1]], np.uint8)), reference)
    assert (agreement.answers, agreement.flips, agreement.ties) == (8, 1, 2)
    assert not agreement.passed


def test_boxes_are_measured_in_pixels_of_the_network() -> None:
    reference = Reference(box(0, 0, 400, 400), 4.0)  # each pixel of the network is 4 of the image
    agreement = Agreement()
    agreement.add("near", box(0, 0, 400, 396), reference)
    assert agreement.largest["box_px"] == pytest.approx(1)
    assert agreement.largest["box_iou"] == pytest.approx(0.99)
    assert agreement.passed
    agreement.add("far", box(0, 0, 400, 380), reference)
    assert agreement.largest["box_px"] == pytest.approx(5)
    assert not agreement.passed


def test_a_tiny_box_may_be_off_by_a_pixel() -> None:
    agreement = Agreement()
    agreement.add("a", box(0, 0, 2, 2.5), Reference(box(0, 0, 2, 2), 1.0))
    assert agreement.largest["box_iou"] == pytest.approx(0.8)
    assert agreement.passed


def test_the_box_of_a_class_that_ties_does_not_count() -> None:
    reference = Reference(box(0, 0, 9, 9, probability=(0.5002, 0.4998)), 1.0)
    agreement = Agreement()
    agreement.add("a", box(50, 50, 90, 90, probability=(0.4998, 0.5002)), reference)
    assert agreement.passed


def test_a_file_that_returns_other_values_than_the_tasks_is_refused(
    make_trained: Callable[..., FinishedRun], photo: Callable[..., UInt8Array]
) -> None:
    with pytest.raises(InputError, match="the file returns mask, expected probability"):
        compare(make_trained(), lambda _: {"mask": np.zeros((1, 2, 2), np.uint8)}, [Sample("a", lambda: photo(40, 60))])


@pytest.mark.parametrize(
    ("kind", "resize"),
    [
        *product(["ClassificationTask", "LocalizationTask"], ["crop", "squash", "letterbox"]),
        *product(["SegmentationTask"], ["squash", "letterbox"]),  # masks are never cropped
    ],
)
def test_the_evaluation_is_what_predict_gives(
    kind: str, resize: str, make_trained: Callable[..., FinishedRun], photo: Callable[..., UInt8Array]
) -> None:
    trained, image = make_trained(kind, resize=resize), photo(41, 67)
    output = evaluate(trained, image).output
    (prediction,) = Predictor([trained], device="cpu")(image)
    if isinstance(output, SemanticMask):
        np.testing.assert_array_equal(output.mask, prediction.mask)
        return
    probability = output.class_probability()
    assert probability is not None
    assert prediction.classes[0].name == trained.class_names[int(probability.argmax())]
    assert prediction.classes[0].probability == pytest.approx(float(probability.max()), abs=1e-6)
    if isinstance(output, Detections):
        found = prediction.boxes[0]
        np.testing.assert_allclose(output.cut[0], [found.x1, found.y1, found.x2, found.y2], atol=1e-3)


def test_batches_and_odd_sizes_are_compared_too(
    make_trained: Callable[..., FinishedRun], photo: Callable[..., UInt8Array], answer: Answer
) -> None:
    trained, shapes = make_trained(), []

    def run(image: UInt8Array) -> dict[str, Any]:
        shapes.append(image.shape[:3])
        return {"probability": np.stack([answer(trained, each)["probability"] for each in image])}

    agreement, _ = compare(trained, run, [Sample("a", lambda: photo(40, 60)), Sample("b", lambda: photo(35, 31))])
    assert shapes == [(1, 40, 60), (2, 40, 60), (1, 21, 21), (1, 35, 31)]
    assert (agreement.images, agreement.answers, agreement.flips, agreement.largest["probability"]) == (2, 2, 0, 0)


def test_a_fault_in_a_batch_alone_is_a_fault(
    make_trained: Callable[..., FinishedRun], photo: Callable[..., UInt8Array], answer: Answer
) -> None:
    trained = make_trained()

    def run(image: UInt8Array) -> dict[str, Any]:
        found = [answer(trained, each)["probability"] for each in image]
        return {"probability": np.stack(found[:1] + [found[0][::-1]] * (len(found) - 1))}

    agreement, _ = compare(trained, run, [Sample("a", lambda: photo(40, 60))])
    assert (agreement.images, agreement.flips, agreement.passed) == (1, 0, False)


def detailed(folder: Path) -> Path:
    """A large JPEG of fine detail and a small one, and a large PNG, which nothing decodes smaller."""
    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    large = Image.fromarray(coarse).resize((960, 720), Image.Resampling.BICUBIC)
    large.save(folder / "a_large.jpg", quality=95)
    large.resize((96, 72)).save(folder / "b_small.jpg", quality=95)
    large.save(folder / "c_large.png")
    return folder


def network(trained: FinishedRun, answer: Answer) -> Runner:
    """The network itself in place of a file, so that only how an image is decoded can differ."""

    def run(image: UInt8Array) -> dict[str, Any]:
        answers = [answer(trained, each) for each in image]
        return {name: np.stack([each[name] for each in answers]) for name in answers[0]}

    return run


@pytest.mark.parametrize("resize", ["crop", "squash", "letterbox"])
def test_files_that_predict_decodes_smaller_are_also_compared_end_to_end(
    resize: str, make_trained: Callable[..., FinishedRun], answer: Answer, tmp_path: Path
) -> None:
    trained, folder = make_trained(resize=resize), detailed(tmp_path / "photos")
    agreement, end_to_end = compare(trained, network(trained, answer), folder_samples(folder))
    assert (agreement.images, agreement.largest["probability"], agreement.passed) == (3, 0, True)
    assert (end_to_end.images, end_to_end.worst) == (1, "a_large.jpg")
    # what a user of the file meets: all of the JPEG decoded by PIL, against `predict` of the file
    (prediction,) = Predictor([trained], device="cpu")(folder / "a_large.jpg")
    ours = {each.name: each.probability for each in prediction.classes}
    theirs = answer(trained, np.array(Image.open(folder / "a_large.jpg")))["probability"]
    differences = [abs(ours[name] - float(theirs[i])) for i, name in enumerate(trained.class_names)]
    assert end_to_end.largest["probability"] == pytest.approx(max(differences), abs=1e-6)
    assert end_to_end.largest["probability"] > 1e-4  # else this image shows nothing


@pytest.mark.parametrize(("kind", "resize"), [("LocalizationTask", "crop"), ("SegmentationTask", "squash")])
def test_boxes_and_masks_are_decoded_in_full_everywhere(
    kind: str, resize: str, make_trained: Callable[..., FinishedRun], answer: Answer, tmp_path: Path
) -> None:
    trained = make_trained(kind, resize=resize)
    agreement, end_to_end = compare(trained, network(trained, answer), folder_samples(detailed(tmp_path / "photos")))
    assert (agreement.images, end_to_end.images) == (3, 0)
