"""Predicting image files beside the forward pass of the network alone, on the same images.

    python bench/run.py predict --run RUN --data FOLDER...              a finished run, and any folders of images
    python bench/run.py predict --run RUN --data FOLDER... --engines torch onnx int8 --labelled

Predicting is what the command and `Predictor.stream` do: decode and resize the files, compute in batches, name the
classes. The forward pass is that of torch in float32: it has the resized, normalized images in memory, in the same
batches, and does nothing else. It and each engine take turns every few batches, in one process; their seconds, by the
clock and of the processor, are summed over the images of a round. `--labelled` counts right answers first, with
McNemar's test against torch, where the folder of an image is its class.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench import results
from visiontasks.ops.metrics import mcnemar
from visiontasks.predict import Predictor
from visiontasks.predict.image_files import find_images
from visiontasks.predict.inputs import prepare
from visiontasks.predict.int8 import processor
from visiontasks.training.machine import keep_freed_memory

TARGETS = {"torch": 0.9, "onnx": 1.3, "int8": 2.0}
TURN = 5  # batches
DIFFERENT = ((True, False), (False, True))


def in_memory(predictor: Predictor, paths: Sequence[str]) -> list[Tensor]:
    """What the network is shown, normalized, in batches."""
    (run,), (preprocessing,) = predictor.ensemble.runs, predictor.ensemble.preprocessings
    shown = [torch.from_numpy(prepare(0, path, [preprocessing]).inputs[0][0]).permute(2, 0, 1) for path in paths]
    starts = range(0, len(shown), predictor.batch_size)
    batches = [torch.stack(shown[first : first + predictor.batch_size]) for first in starts]
    return [run.task.normalize(images.to(run.task.device)) for images in batches]


def forward(predictor: Predictor, batches: Sequence[Tensor]) -> None:
    """The forward pass of torch."""
    (run,) = predictor.ensemble.runs
    with torch.inference_mode():
        for images in batches:
            run.task(images).sum().item()  # waits for the device


def processor_s() -> float:
    """Seconds of all threads of this process."""
    return sum(os.times()[:2])


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    start, used = time.perf_counter(), processor_s()
    work()
    return time.perf_counter() - start, processor_s() - used


def right_answers(predictor: Predictor, paths: Sequence[str]) -> list[bool]:
    """Whether each image gets the class that its folder is named by."""
    return [found.label == Path(path).parent.name for path, found in zip(paths, predictor(paths), strict=True)]


def print_accuracy(predictors: Mapping[str, Predictor], paths: Sequence[str]) -> None:
    """Print right answers of each engine, and McNemar's test against torch."""
    reference = right_answers(predictors["torch"], paths)
    for engine, predictor in predictors.items():
        right = reference if engine == "torch" else right_answers(predictor, paths)
        lost, gained = (sum(pair == which for pair in zip(reference, right, strict=True)) for which in DIFFERENT)
        p = mcnemar(lost, gained)
        print(f"{engine}: {sum(right)} of {len(right)} right; {lost} lost, {gained} gained, McNemar p = {p:.3g}")


def measure(predictors: Mapping[str, Predictor], batches: Sequence[Tensor], paths: Sequence[str]) -> dict[str, Any]:
    """Seconds by the clock and of the processor, of the forward pass and of each engine, in turns."""
    size, seconds = predictors["torch"].batch_size, {name: [0.0, 0.0] for name in ("forward", *predictors)}
    for first in range(0, len(batches), TURN):
        images = paths[first * size : (first + TURN) * size]
        works: dict[str, Callable[[], object]] = {
            name: partial(lambda each, given: [*each.stream(given)], each, images) for name, each in predictors.items()
        }
        works["forward"] = partial(forward, predictors["torch"], batches[first : first + TURN])
        for name, work in works.items():
            seconds[name] = [sum(pair) for pair in zip(seconds[name], timed(work), strict=True)]
    return seconds


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=TARGETS, default=["torch"])
    parser.add_argument("--labelled", action="store_true", help="the folder of an image is its class")
    parser.add_argument("--name", default="predict_engines")
    options = parser.parse_args(arguments)
    paths = [image.path for image in find_images(options.data)][: options.count]
    keep_freed_memory()  # as the command does
    engines = dict.fromkeys(["torch", *options.engines])
    predictors = {engine: Predictor.load(options.run, device="cpu", engine=engine) for engine in engines}
    backbone = predictors["torch"].ensemble.runs[0].recipe["model"]["init_args"]["backbone"].rpartition("/")[2]
    if options.labelled:
        print_accuracy(predictors, paths)
    batches = in_memory(predictors["torch"], paths)  # also brings the files into the page cache
    forward(predictors["torch"], batches[:2])
    ratios: dict[str, list[tuple[float, float]]] = {engine: [] for engine in predictors}
    for turn in range(options.rounds):
        seconds = measure(predictors, batches, paths)
        for engine in predictors:
            ratio, of_processor = (a / b for a, b in zip(seconds["forward"], seconds[engine], strict=True))
            ratios[engine].append((ratio, of_processor))
            row = {"round": str(turn + 1), "backbone": backbone, "images": str(len(paths))}
            speeds = {"predict": len(paths) / seconds[engine][0], "forward": len(paths) / seconds["forward"][0]}
            row |= {f"{name}_images_s": f"{speed:.1f}" for name, speed in speeds.items()}
            row |= {"engine": engine, "processor_ratio": f"{of_processor:.3f}", "kind": processor()}
            results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
            print(
                f"{engine}: {speeds['predict']:.1f} predicted, {speeds['forward']:.1f} forward images/s: {ratio:.2f}, "
                f"of processor time {of_processor:.2f}",
                flush=True,
            )
    for engine, found in ratios.items():
        ratio, of_processor = (median(values) for values in zip(*found, strict=True))
        verdict = "met" if ratio >= TARGETS[engine] else "missed"
        print(
            f"{engine}, {backbone}, {len(paths)} images, {processor()}: {ratio:.2f} of torch's forward pass (processor "
            f"time {of_processor:.2f}), target {TARGETS[engine]} {verdict}"
        )
