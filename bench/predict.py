"""Predicting image files beside the forward pass of the network alone, on the same images.

    python bench/run.py predict --run RUN --data FOLDER...      a finished run, and any folders of images

Predicting is what the command and `Predictor.stream` do: decode and resize the files, compute in batches, name the
classes. The forward pass has the resized, normalized images in memory, in the same batches, and does nothing else. The
two take turns every few batches, in one process; their seconds are summed over the images of a round.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from bench import results
from visiontasks.predict import Predictor
from visiontasks.predict.image_files import find_images
from visiontasks.predict.inputs import prepare
from visiontasks.training.machine import keep_freed_memory

TARGET = 0.9
TURN = 5  # batches


def in_memory(predictor: Predictor, paths: Sequence[str]) -> list[Tensor]:
    """What the network is shown, normalized, in batches."""
    (run,), (preprocessing,) = predictor.ensemble.runs, predictor.ensemble.preprocessings
    shown = [torch.from_numpy(prepare(0, path, [preprocessing]).shown[0][0]).permute(2, 0, 1) for path in paths]
    starts = range(0, len(shown), predictor.batch_size)
    batches = [torch.stack(shown[first : first + predictor.batch_size]) for first in starts]
    return [run.task.normalize(images.to(run.task.device)) for images in batches]


def forward_s(predictor: Predictor, batches: Sequence[Tensor]) -> float:
    """Seconds of the forward pass."""
    (run,) = predictor.ensemble.runs
    start = time.perf_counter()
    with torch.inference_mode():
        for images in batches:
            run.task(images).sum().item()  # waits for the device
    return time.perf_counter() - start


def predict_s(predictor: Predictor, paths: Sequence[str]) -> float:
    """Seconds of predicting."""
    start = time.perf_counter()
    for _ in predictor.stream(paths):
        pass
    return time.perf_counter() - start


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="predict")
    options = parser.parse_args(arguments)
    paths = [image.path for image in find_images(options.data)][: options.count]
    keep_freed_memory()  # as the command does
    predictor = Predictor.load(options.run)
    backbone = predictor.ensemble.runs[0].recipe["model"]["init_args"]["backbone"].rpartition("/")[2]
    batches = in_memory(predictor, paths)  # also brings the files into the page cache
    forward_s(predictor, batches[:2])
    ratios = []
    for turn in range(options.rounds):
        seconds = [0.0, 0.0]
        for first in range(0, len(batches), TURN):
            images = slice(first * predictor.batch_size, (first + TURN) * predictor.batch_size)
            seconds[0] += predict_s(predictor, paths[images])
            seconds[1] += forward_s(predictor, batches[first : first + TURN])
        speeds = [len(paths) / each for each in seconds]
        ratios.append(speeds[0] / speeds[1])
        row = {"round": str(turn + 1), "backbone": backbone, "images": str(len(paths))}
        row |= {f"{name}_images_s": f"{speed:.1f}" for name, speed in zip(("predict", "forward"), speeds, strict=True)}
        results.append(results.FOLDER / f"{options.name}.csv", row | results.circumstances())
        print(f"{speeds[0]:.1f} predicted, {speeds[1]:.1f} forward images/s: {ratios[-1]:.2f}", flush=True)
    verdict = "met" if median(ratios) >= TARGET else "missed"
    print(f"{backbone}, {len(paths)} images: {median(ratios):.2f} of the forward pass, target {TARGET} {verdict}")
