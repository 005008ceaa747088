"""Average precision of many detections: ours, pycocotools' and faster-coco-eval's.

    python bench/run.py detection_metrics                            needs pip install pycocotools faster-coco-eval
    python bench/run.py detection_metrics --images 5000 --classes 80 --detections 100      as many as of COCO's val2017

Made boxes: 7 objects per image, one in a hundred a crowd, detections half of which are near an object. The three in
turns, in one process; each begins with the same arrays, so the others' dicts are part of their time. Their twelve
numbers are compared; `--bootstrap` measures the intervals too.
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np

from bench import results
from visiontasks.tasks.metrics.average_precision import coco_values
from visiontasks.tasks.metrics.bootstrap import precision_intervals
from visiontasks.tasks.metrics.box_matching import match
from visiontasks.tasks.metrics.matches import Detected, Truths
from visiontasks.tasks.metrics.precision_recall import best_threshold, precision_recall


def make_boxes(num_images: int, num_classes: int, per_image: int) -> tuple[Detected, Truths]:
    """Detections and objects, in float32 as a network gives them."""
    source = np.random.default_rng(0)
    share = 1 / np.arange(1, num_classes + 1)
    share /= share.sum()
    objects = source.poisson(7, num_images)
    true_image, image = np.repeat(np.arange(num_images), objects), np.repeat(np.arange(num_images), per_image)
    of_image = source.choice(num_classes, (num_images, 3), p=share)
    true_label = of_image[true_image, source.integers(0, 3, len(true_image))]

    def boxes(n: int) -> Any:
        size = np.exp(source.uniform(np.log(8), np.log(400), (n, 2)))
        low = source.uniform(0, 500, (n, 2))
        return np.concatenate([low, low + size], 1).astype(np.float32).astype(np.float64)

    true_box, box = boxes(len(true_image)), boxes(len(image))
    near = (source.random(len(image)) < 0.5) & (objects[image] > 0)
    first = np.cumsum(objects) - objects
    nearest = np.where(near, first[image] + source.integers(0, np.maximum(objects[image], 1)), 0)
    shift = source.normal(0, 1, box.shape) * source.choice([0.03, 0.1, 0.3], (len(box), 1))
    moved = true_box[nearest] + shift * np.tile(true_box[nearest, 2:] - true_box[nearest, :2], 2)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
    box = np.where(near[:, None], moved, box).astype(np.float32).astype(np.float64)
    label = np.where(
        near & (source.random(len(image)) < 0.85), true_label[nearest], source.choice(num_classes, len(image))
    )
    score = np.where(near, source.beta(2, 2, len(image)), source.beta(1, 6, len(image))).astype(np.float32)
    area = (true_box[:, 2:] - true_box[:, :2]).prod(1)
    crowd = source.random(len(true_image)) < 0.01
    return Detected(image, label, score.astype(np.float64), box), Truths(true_image, true_label, true_box, crowd, area)


def ours(detected: Detected, truths: Truths, num_images: int, num_classes: int) -> list[float]:
    matches = match(detected, truths, num_images=num_images, num_classes=num_classes)
    return list(coco_values(precision_recall(matches)).values())


def theirs(library: str, detected: Detected, truths: Truths, num_images: int, num_classes: int) -> list[float]:
    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval as Evaluation
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as Evaluation

    def entries(boxes: Detected | Truths, **columns: Any) -> list[dict[str, Any]]:
        rows = zip(boxes.image.tolist(), boxes.label.tolist(), boxes.box.tolist(), strict=True)
        whole = [
            {"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for image, label, (x1, y1, x2, y2) in rows
        ]
        for name, values in columns.items():
            for entry, value in zip(whole, values, strict=True):
                entry[name] = value
        return whole

    number = range(1, len(truths.image) + 1)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(num_images)],
            "categories": [{"id": k, "name": str(k)} for k in range(num_classes)],
            "annotations": entries(
                truths, id=number, area=truths.area.tolist(), iscrowd=truths.crowd.astype(int).tolist()
            ),
        }
        truth.createIndex()
        evaluation = Evaluation(truth, truth.loadRes(entries(detected, score=detected.score.tolist())), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:12]]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "detection_metrics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--detections", type=int, default=100, help="of an image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--libraries", nargs="*", default=("pycocotools", "faster-coco-eval"))
    parser.add_argument("--bootstrap", action="store_true", help="measure the intervals too")
    parser.add_argument("--name", default="detection_metrics")
    options = parser.parse_args(arguments)
    detected, truths = make_boxes(options.images, options.classes, options.detections)
    given = (detected, truths, options.images, options.classes)
    programs: dict[str, Callable[[], list[float]]] = {results.OURS: lambda: ours(*given)}
    for library in options.libraries:
        programs[library] = lambda library=library: theirs(library, *given)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    numbers: dict[str, list[float]] = {}
    for turn in range(options.rounds):
        for name, program in programs.items():
            wall, start = time.perf_counter(), time.process_time()
            numbers[name] = program()
            wall, cpu = time.perf_counter() - wall, time.process_time() - start
            seconds[name].append(cpu)
            row = {"round": str(turn + 1), "program": name, "version": version(name), "images": str(options.images)}
            row |= {"classes": str(options.classes), "detections": str(len(detected.score))}
            row |= {"wall_s": f"{wall:.2f}", "cpu_s": f"{cpu:.2f}", "map": f"{numbers[name][0]:.12f}"}
            results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
    reference = np.array(numbers[results.OURS])
    for name, times in seconds.items():
        difference = np.abs(np.array(numbers[name]) - reference).max()
        ratio = median(times) / median(seconds[results.OURS])
        print(f"{name}: {median(times):.2f} s of a processor, {ratio:.1f} x ours; numbers differ by {difference:.1g}")
    if options.bootstrap:
        matches = match(detected, truths, num_images=options.images, num_classes=options.classes)
        start = time.process_time()
        intervals = precision_intervals(matches, best_threshold(matches))
        low, high = intervals["map"]
        print(f"intervals: {time.process_time() - start:.2f} s of a processor; map {low:.4f} to {high:.4f}")
