"""Predicting by ONNX Runtime: what torch predicts, but for the last bits; refused where it cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.predict import engine
from visiontasks.predict.predictor import Predictor
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask

SavedRun = Callable[..., Path]
CLASSES = ["cat", "dog", "owl"]
NETWORK = {"backbone": "test_resnet"}
needs_onnx = pytest.mark.skipif(engine.missing_packages() != [], reason="onnx is not installed")


@pytest.fixture
def images() -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, size, np.uint8) for size in ((40, 50, 3), (32, 32, 3), (90, 31, 3))]


@pytest.fixture
def classifier(saved_run: SavedRun, tmp_path: Path) -> Path:
    task = ClassificationTask(**NETWORK, weights="none", num_classes=3)
    torch.nn.init.normal_(task.head.linear.weight)
    return saved_run(tmp_path / "classifier", task.eval(), NETWORK, CLASSES)


@needs_onnx
def test_classes_are_those_of_torch_and_the_graph_is_used_again(
    classifier: Path, images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [each.output.probability for each in Predictor.load(classifier)(images)]
    found = [each.output.probability for each in Predictor.load(classifier, engine="onnx", batch_size=2)(images)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01  # they differ from image to image

    stored = classifier / engine.FOLDER / engine.FLOAT_FILE
    monkeypatch.setattr(engine, "make_graph", lambda *_: pytest.fail("made again"))
    again = [each.output.probability for each in Predictor.load(classifier, engine="onnx")(images)]
    np.testing.assert_allclose(again, expected, atol=1e-4)
    assert engine.open_stored(stored, "of other weights") is None
    stored.write_bytes(stored.read_bytes()[:1000])
    assert engine.open_stored(stored, "any") is None


@needs_onnx
@pytest.mark.slow
def test_other_weights_in_the_same_folder_get_a_graph_of_their_own(
    saved_run: SavedRun, classifier: Path, images: list[Any], tmp_path: Path
) -> None:
    Predictor.load(classifier, engine="onnx")
    stored = (classifier / engine.FOLDER).rename(tmp_path / "stored")
    torch.manual_seed(1)
    task = ClassificationTask(**NETWORK, weights="none", num_classes=3)
    torch.nn.init.normal_(task.head.linear.weight)
    other = saved_run(tmp_path / "other", task.eval(), NETWORK, CLASSES)
    stored.rename(other / engine.FOLDER)
    expected = [each.output.probability for each in Predictor.load(other)(images)]
    found = [each.output.probability for each in Predictor.load(other, engine="onnx")(images)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@needs_onnx
@pytest.mark.slow
def test_boxes_are_those_of_torch(saved_run: SavedRun, images: list[Any], tmp_path: Path) -> None:
    task = LocalizationTask(**NETWORK, weights="none", num_classes=3).eval()
    run = saved_run(tmp_path / "boxes", task, NETWORK, CLASSES, data="VOCBoxes")
    expected, found = (Predictor.load(run, engine=name)(images) for name in ("torch", "onnx"))
    for ours, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.output.boxes, reference.output.boxes, atol=0.01)  # pixels


@needs_onnx
def test_a_head_that_takes_lists_of_maps_is_refused(saved_run: SavedRun, tmp_path: Path) -> None:
    task = SegmentationTask(**NETWORK, weights="none", num_classes=3).eval()
    run = saved_run(tmp_path / "masks", task, NETWORK, CLASSES, data="MaskFolder")
    with pytest.raises(InputError, match="SegmentationTask takes lists of maps, .*: leave --engine out"):
        Predictor.load(run, engine="onnx")


@needs_onnx
@pytest.mark.slow
def test_features_that_differ_from_torchs_are_refused(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_DIFFERENCE", 0.0)
    monkeypatch.setattr(engine, "extractor", lambda _: lambda image: (torch.ones(len(image), 1),))
    with pytest.raises(InputError, match="differ from torch's by .*, more than 0"):
        Predictor.load(classifier, engine="onnx")
    assert not (classifier / engine.FOLDER).exists()


def test_what_is_missing_is_named_with_what_installs_it(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "missing_packages", lambda: ["onnxruntime"])
    with pytest.raises(InputError, match=r"--engine onnx needs onnxruntime: pip install 'visiontasks\[fast\]'"):
        Predictor.load(classifier, engine="onnx")


def test_unknown_engines_and_images_of_any_size_are_refused(saved_run: SavedRun, tmp_path: Path) -> None:
    task = ClassificationTask(**NETWORK, weights="none", num_classes=3).eval()
    run = saved_run(tmp_path / "keep", task, NETWORK, CLASSES, resize="keep")
    with pytest.raises(InputError, match="--engine quick: expected one of torch, onnx, int8"):
        Predictor.load(run, engine="quick")  # type: ignore[arg-type]
    if not engine.missing_packages():
        with pytest.raises(InputError, match=r"images of any size \(resize: keep\): leave --engine out"):
            Predictor.load(run, engine="onnx")
