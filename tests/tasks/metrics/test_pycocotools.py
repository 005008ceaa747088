"""Average precision is pycocotools' to the last bit: every class, size, IoU, recall and number of detections.

Numbers that pycocotools 2.0.11 gives for some scenes are stored here, so that they are compared without it too.
"""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from visiontasks.tasks.metrics.average_precision import AveragePrecision
from visiontasks.tasks.metrics.precision_recall import precision_recall

NUM_CLASSES = 6
NAMES = [
    *("map", "map50", "map75", "map_small", "map_medium", "map_large"),
    *("mar1", "mar10", "mar100", "mar_small", "mar_medium", "mar_large"),
]
STORED: dict[int, tuple[list[float], list[float]]] = {
    0: (
        [
            0.11600822904,
            0.180068137888,
            0.087099738402,
            0.107736916549,
            0.307695414676,
            0.0,
            0.078125,
            0.378125,
            0.494791666667,
            0.214583333333,
            0.858333333333,
            0.0,
        ],
        [0.016360420392, 0.077588097519, 0.212461905229, 0.157622493019, -1.0, -1.0],
    ),
    2: (
        [
            0.158761307927,
            0.235645583789,
            0.174010925937,
            0.08004583288,
            0.32553964325,
            0.586193619362,
            0.176262626263,
            0.313131313131,
            0.324494949495,
            0.176666666667,
            0.391666666667,
            0.616666666667,
        ],
        [0.067326732673, 0.279537953795, 0.054017517136, 0.234163028104, -1.0, -1.0],
    ),
    6: (
        [
            0.103104149424,
            0.184342973771,
            0.120523927393,
            0.075995992456,
            0.298780056577,
            0.0,
            0.106547619048,
            0.217797619048,
            0.217797619048,
            0.211666666667,
            0.36,
            0.0,
        ],
        [0.002574257426, 0.025198019802, 0.18795379538, 0.19669052509, -1.0, -1.0],
    ),
}
"""By seed: the twelve numbers, and the average precision of each class; -1 where it is not defined."""


def pycocotools_evaluation(images: Any) -> Any:
    """COCOeval of the detections."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install -e .[dev]")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def entry(image: int, box: list[float], label: int, **more: Any) -> dict[str, Any]:
        x1, y1, x2, y2 = box
        return {"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], **more}

    truth, detected = [], []
    for i, (d, t) in enumerate(images):
        rows = zip(t["boxes"].tolist(), t["labels"].tolist(), t["crowd"].tolist(), t["area"].tolist(), strict=True)
        truth += [entry(i, box, label, area=area, iscrowd=int(crowd)) for box, label, crowd, area in rows]
        scored = zip(d["boxes"].tolist(), d["labels"].tolist(), d["scores"].tolist(), strict=True)
        detected += [entry(i, box, label, score=score) for box, label, score in scored]
    for number, annotation in enumerate(truth, start=1):  # id 0 would count as no match
        annotation["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        own = coco.COCO()
        own.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(images))],
            "categories": [{"id": k, "name": str(k)} for k in range(NUM_CLASSES)],
            "annotations": truth,
        }
        own.createIndex()
        evaluation = cocoeval.COCOeval(own, own.loadRes(detected), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def known(values: Any) -> npt.NDArray[np.float64]:
    """-1, by which pycocotools marks what is not defined, as NaN."""
    values = np.asarray(values, np.float64)
    return np.where(values == -1, np.nan, values)


def measure(images: Any) -> AveragePrecision:
    metric = AveragePrecision(NUM_CLASSES)
    metric.update(torch.arange(len(images)), *zip(*images, strict=True))
    return metric


def stored_numbers(images: Any) -> tuple[list[float], list[float]]:
    """What STORED has of a scene."""
    evaluation = pycocotools_evaluation(images)
    precision = known(evaluation.eval["precision"][..., 0, 2])
    by_class = np.nan_to_num(precision.mean((0, 1)), nan=-1)
    return evaluation.stats.tolist(), by_class.tolist()


def check(images: Any) -> None:
    evaluation, metric = pycocotools_evaluation(images), measure(images)
    values = metric.compute()
    assert [float(values[name]) for name in NAMES] == pytest.approx(
        known(evaluation.stats).tolist(), abs=1e-12, nan_ok=True
    )
    assert metric.matches is not None
    curves, theirs = precision_recall(metric.matches), evaluation.eval
    # theirs: (T, R, K, A, M) and for recall (T, K, A, M)
    np.testing.assert_array_equal(curves.precision, known(theirs["precision"][..., 2]).transpose(3, 0, 2, 1))
    np.testing.assert_array_equal(curves.score, known(theirs["scores"][..., 0, 2]).transpose(0, 2, 1))
    np.testing.assert_array_equal(curves.recall, known(theirs["recall"]).transpose(2, 3, 0, 1))


@pytest.mark.parametrize("seed", range(12))
def test_every_number_is_that_of_pycocotools(seed: int, scene: Callable[[int], Any]) -> None:
    check(scene(seed))


@pytest.mark.soak
def test_every_number_of_many_scenes_is_that_of_pycocotools(scene: Callable[[int], Any]) -> None:
    for seed in range(12, 1000):
        check(scene(seed))


def test_scenes_have_what_is_to_be_compared(scene: Callable[[int], Any]) -> None:
    images = [image for seed in range(12) for image in scene(seed)]
    assert any(truth["crowd"].any() for _, truth in images)
    assert any(len(truth["boxes"]) == 0 and len(detected["boxes"]) for detected, truth in images)
    assert any(len(detected["boxes"]) == 0 and len(truth["boxes"]) for detected, truth in images)
    assert any(detected["labels"].bincount().max() > 100 for detected, _ in images if len(detected["labels"]))
    assert all(detected["scores"].unique().numel() < 12 for detected, _ in images)
    absent = [set(range(NUM_CLASSES)) - {k for _, t in scene(seed) for k in t["labels"].tolist()} for seed in range(12)]
    assert all(absent)


@pytest.mark.parametrize("seed", STORED)
def test_stored_numbers_of_pycocotools(seed: int, scene: Callable[[int], Any]) -> None:
    values = measure(scene(seed)).compute()
    numbers, by_class = STORED[seed]
    assert [float(values[name]) for name in NAMES] == pytest.approx(known(numbers), abs=1e-9, nan_ok=True)
    assert values["class_map"].tolist() == pytest.approx(known(by_class), abs=1e-9, nan_ok=True)
