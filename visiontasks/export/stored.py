"""The images in an exported folder, with what the run says of them, by which the folder is checked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from visiontasks.data import read_image
from visiontasks.data.pipeline.geometry import place
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.errors import InputError
from visiontasks.export.agreement import evaluate, first
from visiontasks.export.graph import Answer, Runner
from visiontasks.export.samples import Sample
from visiontasks.recipe.open_run import Trained
from visiontasks.regular_files import check_regular, read_json

CHECK = "check.json"
IMAGES = "check"
LONGEST_PX = 1024
"""Stored images are no larger, so that a folder of photographs stays small."""
MASK_SHARE = 0.001
"""Of a stored image's pixels that may have another class on another machine."""
TOLERANCE = {"probability": 1e-3, "box_px": 0.5, "mask_share": MASK_SHARE}


def save_images(trained: Trained, folder: Path, samples: Sequence[Sample], *, graph: Runner | None = None) -> None:
    """Store images as they are and as the network sees them, and what the run says of them.

    Args:
        trained: The run.
        folder: Where to.
        samples: The images.
        graph: A file beside them that is to be checked by itself: its resize may differ by a grey level, and so what it
            says.
    """
    (folder / IMAGES).mkdir()
    entries = []
    for i, sample in enumerate(samples, start=1):
        image = _limited(sample.read())
        placement = place((image.shape[0], image.shape[1]), trained.image_size, trained.resize)
        entry: dict[str, Any] = {
            "source": sample.name,
            "image": f"{IMAGES}/{i}.png",
            "input": f"{IMAGES}/{i}_input.png",
            "height": image.shape[0],
            "width": image.shape[1],
        }
        _save_png(image, folder / entry["image"])
        _save_png(placement.image(image), folder / entry["input"])
        answer = evaluate(trained, image).answer
        entry |= _saved(answer, folder, f"{IMAGES}/{i}_mask.png")
        if "probability" in answer and answer["probability"].ndim == 1:
            entry["predicted"] = trained.class_names[int(answer["probability"].argmax())]
        if graph is not None:
            entry["graph"] = _saved(first(graph(image[None])), folder, f"{IMAGES}/{i}_graph_mask.png")
        entries.append(entry)
    write_json(folder / CHECK, {"tolerance": TOLERANCE, "images": entries})


def check_images(trained: Trained, folder: Path) -> None:
    """Check that the same is said of the stored images as when they were stored.

    Raises:
        InputError: If it is not.
    """
    check = read_json(folder / CHECK)
    for entry in check["images"]:
        image = read_image(folder / entry["image"])
        found = evaluate(trained, image).answer
        wrong = differences(found, read_answer(folder, entry), check["tolerance"])
        if wrong:
            raise InputError(
                f"{folder} says something else of {entry['image']} than when it was written ({wrong}): its files were "
                "altered, or the packages here compute otherwise; export the run again"
            )


def read_answer(folder: Path, entry: Mapping[str, Any]) -> Answer:
    """What was said of a stored image when the folder was written."""
    answer = {name: np.array(entry[name], np.float32) for name in ("probability", "box") if name in entry}
    if "mask" in entry:
        check_regular(folder / entry["mask"])
        answer["mask"] = np.asarray(Image.open(folder / entry["mask"]))
    return answer


def differences(found: Answer, expected: Answer, tolerance: Mapping[str, float]) -> str:
    """What is beyond the tolerance; empty where nothing is."""
    if set(found) != set(expected) or any(found[name].shape != expected[name].shape for name in expected):
        return f"got {', '.join(found)}"
    wrong = []
    if "probability" in expected:
        off = float(np.abs(found["probability"] - expected["probability"]).max())
        wrong += [] if off <= tolerance["probability"] else [f"a probability differs by {off:.3g}"]
    if "box" in expected:
        off = float(np.abs(found["box"] - expected["box"]).max())
        wrong += [] if off <= tolerance["box_px"] else [f"a side of a box differs by {off:.3g} pixels"]
    if "mask" in expected:
        off = float((found["mask"] != expected["mask"]).mean())
        wrong += [] if off <= tolerance["mask_share"] else [f"{off:.2%} of the mask differ"]
    return ", ".join(wrong)


def _saved(answer: Answer, folder: Path, mask: str) -> dict[str, Any]:
    """An answer as JSON has it; a mask is written as a file."""
    entry = {name: values.tolist() for name, values in answer.items() if name != "mask"}
    if "mask" in answer:
        entry["mask"] = mask
        _save_png(answer["mask"], folder / mask)
    return entry


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
