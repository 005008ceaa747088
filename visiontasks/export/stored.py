"""The images in an exported folder with their predictions, by which the folder is checked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from visiontasks.data import read_image
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export.agreement import evaluate, predict
from visiontasks.export.graph import Runner
from visiontasks.export.samples import Sample
from visiontasks.outputs import Output
from visiontasks.outputs.geometry import place
from visiontasks.recipe.open_run import FinishedRun
from visiontasks.regular_files import read_json

CHECK = "check.json"
IMAGES = "check"
LONGEST_PX = 1024
"""Stored images are no larger, so that a folder of photographs stays small."""
MASK_SHARE = 0.001
"""Of a stored image's pixels that may have another class on another machine."""
TOLERANCE = {"probability": 1e-3, "score": 0.01, "unpaired_objects": 0, "box_px": 0.5, "mask_share": MASK_SHARE}


def save_images(trained: FinishedRun, folder: Path, samples: Sequence[Sample], *, graph: Runner | None = None) -> None:
    """Store images as they are and as the network gets them, and their predictions.

    Args:
        trained: The run.
        folder: Where to.
        samples: The images.
        graph: A file beside them that is to be checked by itself: its resize may differ by a grey level, and so its
            predictions.
    """
    (folder / IMAGES).mkdir()
    entries = []
    for i, sample in enumerate(samples, start=1):
        image = _limited(sample.read())
        geometry = place((image.shape[0], image.shape[1]), trained.image_size, trained.resize)
        entry: dict[str, Any] = {
            "source": sample.name,
            "image": f"{IMAGES}/{i}.png",
            "input": f"{IMAGES}/{i}_input.png",
            "height": image.shape[0],
            "width": image.shape[1],
        }
        _save_png(image, folder / entry["image"])
        _save_png(geometry.image(image), folder / entry["input"])
        output = evaluate(trained, image).output
        entry |= output.to_json(folder, f"{IMAGES}/{i}")
        probability = output.class_probability()
        if probability is not None:
            entry["predicted"] = trained.class_names[int(probability.argmax())]
        if graph is not None:
            entry["graph"] = predict(trained, graph, image).to_json(folder, f"{IMAGES}/{i}_graph")
        entries.append(entry)
    write_json(folder / CHECK, {"tolerance": TOLERANCE, "images": entries})


def check_images(trained: FinishedRun, folder: Path) -> None:
    """Check that the stored images get the predictions that were stored.

    Raises:
        InputError: If it is not.
    """
    check = read_json(folder / CHECK)
    for entry in check["images"]:
        image = read_image(folder / entry["image"])
        wrong = differences(evaluate(trained, image).output, entry, folder, check["tolerance"])
        if wrong:
            raise InputError(
                f"{folder} predicts something else for {entry['image']} than when it was written ({wrong}): its files "
                "were altered, or the packages here compute otherwise; export the run again"
            )


def differences(found: Output, entry: Mapping[str, Any], folder: Path, tolerance: Mapping[str, float]) -> str:
    """What is beyond the tolerance between a prediction and a stored one; empty where nothing is."""
    try:
        difference = found.difference(found.from_json(entry, folder))
    except InputError as error:
        return str(error)
    return ", ".join(
        f"{figure} differs by {value:.3g}"
        for figure, value in difference.figures.items()
        if figure in tolerance and not value <= tolerance[figure]
    )


def _limited(image: UInt8Array) -> UInt8Array:
    longest = max(image.shape[:2])
    if longest <= LONGEST_PX:
        return image
    height, width = (max(1, round(side * LONGEST_PX / longest)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _save_png(pixels: UInt8Array, path: Path) -> None:
    Image.fromarray(pixels).save(path)


def write_json(path: Path, content: Any) -> None:
    """Write values that JSON has."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
