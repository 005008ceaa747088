"""Made detections and objects that are the same with every version of every library."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
import torch

from visiontasks.tasks.metrics.average_precision import DetectedBoxes, TrueBoxes

Scene = list[tuple[DetectedBoxes, TrueBoxes]]
SIDES = (0, 4, 8, 16, 32, 32, 40, 64, 96, 120)
AREAS = (500.0, 1024.0, 1024.5, 9215.5, 9216.0, 20000.0)


def one_of(source: Random, values: Sequence[float]) -> float:
    """By `Random.random` alone, whose numbers Python guarantees."""
    return values[int(source.random() * len(values))]


def random_box(source: Random) -> list[float]:
    x, y = (4.0 * int(source.random() * 30) for _ in "xy")
    return [x, y, x + one_of(source, SIDES), y + one_of(source, SIDES)]


def moved(source: Random, box: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = (side + one_of(source, (0, 0, 0, 4, -4, 8)) for side in box)
    return [x1, y1, max(x1, x2), max(y1, y2)]


def make_scene(seed: int) -> Scene:
    """Images with boxes on a grid and scores in twelfths, so that IoU and scores are often equal.

    A sixth of the objects are crowds, a third have an area at the limits of COCO's sizes; some images have no objects,
    some no detections, one in four has more than 100 detections of a class. The last class has no object.
    """
    source = Random(seed)
    num_classes = 2 + int(source.random() * 4)
    images: Scene = []
    for _ in range(2 + int(source.random() * 5)):
        true, labels, crowd, area = [], [], [], []
        for _ in range(int(source.random() * 12)):
            box = random_box(source)
            true.append(box)
            labels.append(int(source.random() * (num_classes - 1)))
            crowd.append(source.random() < 1 / 6)
            own = (box[2] - box[0]) * (box[3] - box[1])
            area.append(one_of(source, AREAS) if source.random() < 1 / 3 else own)
        boxes, of_boxes, scores = [], [], []
        for _ in range(int(source.random() * (400 if source.random() < 0.25 else 40))):
            near = int(source.random() * len(true)) if true and source.random() < 0.6 else None
            boxes.append(random_box(source) if near is None else moved(source, true[near]))
            wrong_class = near is None or source.random() < 0.2
            of_boxes.append(int(source.random() ** 2 * num_classes) if wrong_class or near is None else labels[near])
            scores.append((1 + int(source.random() * 11)) / 12)
        images.append((detected(boxes, scores, of_boxes), truth(true, labels, crowd, area)))
    return images


def detected(boxes: list[list[float]], scores: list[float], labels: list[int]) -> DetectedBoxes:
    of_boxes = torch.tensor(boxes, dtype=torch.float64).view(-1, 4)
    return {
        "boxes": of_boxes,
        "scores": torch.tensor(scores, dtype=torch.float64),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def truth(boxes: list[list[float]], labels: list[int], crowd: list[bool], area: list[float]) -> TrueBoxes:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float64).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "crowd": torch.tensor(crowd, dtype=torch.bool),
        "area": torch.tensor(area, dtype=torch.float64),
    }


@pytest.fixture
def scene() -> Callable[[int], Scene]:
    """`scene(seed)`: detections and objects of two to six images, of six classes or fewer."""
    return make_scene
