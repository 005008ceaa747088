"""The lines that a card shows: they decode images as the run does, and check a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.data import read_image
from visiontasks.export import Format, preprocessing
from visiontasks.export.card import model_card
from visiontasks.export.snippets import PROGRAM_CHECK, READ, READ_16BIT
from visiontasks.export.stored import TOLERANCE, differences
from visiontasks.outputs.found_objects import FoundObjects
from visiontasks.recipe.open_run import open_run

WHITE = 4095


def executed(lines: str) -> np.ndarray:
    known: dict[str, Any] = {"np": np}
    exec(lines, known)
    return np.asarray(known["pixels"])


@pytest.mark.parametrize("channels", [(), (3,)])
def test_twelve_bits_are_scaled_by_the_run_s_own_range(
    channels: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, WHITE + 1, (5, 7, *channels)).astype(np.uint16)
    values[0, 0], values[0, 1] = WHITE, 2048
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("image.png", values)
    pixels = executed(READ_16BIT.format(white=WHITE))
    assert pixels.tolist() == read_image("image.png", max_16bit=WHITE).tolist()
    assert pixels[0, :2].tolist() == [[255] * 3, [128] * 3]


def test_a_photograph_is_turned_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save("image.jpg", exif=exif)
    assert executed(READ).tolist() == read_image("image.jpg").tolist()


@pytest.mark.parametrize("form", ["onnx", "torch-export"])
def test_the_card_s_lines_know_the_range(form: Format, make_run: Callable[..., Path]) -> None:
    trained = open_run(make_run())
    assert preprocessing(trained)["max_16bit"] == 65535
    for stated, expected in ((None, READ), (WHITE, READ_16BIT.format(white=WHITE))):
        trained.recipe["data"]["init_args"]["max_16bit"] = stated
        card = model_card(trained, None, form=form, loader="", checked="", name="x")
        (lines,) = (part.partition("```")[0] for part in card.split("```python\n")[1:])
        assert expected in lines
        compile(lines, "card", "exec")
    assert preprocessing(trained)["max_16bit"] == WHITE


Objects = list[tuple[list[float], float, int]]
STORED: Objects = [([1, 2, 30, 40], 0.9, 1), ([5, 5, 20, 20], 0.505, 0)]
AGREES = [
    STORED,
    STORED[::-1],
    STORED[:1],  # the score of the other one is at the threshold
    [([1, 2, 30.4, 40], 0.895, 1), STORED[1]],
]
DIFFERS: list[tuple[str, Objects]] = [
    ("box_px differs by 1", [([2, 2, 31, 40], 0.9, 1), STORED[1]]),
    ("score differs by 0.02", [([1, 2, 30, 40], 0.92, 1), STORED[1]]),
    ("unpaired_objects differs by 2", [([1, 2, 30, 40], 0.9, 0), STORED[1]]),
    ("unpaired_objects differs by 1", [*STORED, ([50, 50, 60, 60], 0.6, 0)]),
    ("unpaired_objects differs by 1", [STORED[1]]),
]


def arrays(objects: Objects) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes, scores, labels = zip(*objects, strict=True) if objects else ((), (), ())
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Objects, Objects], None]:
    """`check(found, stored)` runs the lines of a card beside a graph that finds the objects, threshold 0.5."""

    def run(found: Objects, stored: Objects) -> None:
        Image.new("RGB", (64, 64)).save(tmp_path / "1.png")
        of_graph = FoundObjects((64, 64), *arrays(stored)).to_json(tmp_path, "1")
        entry = {"source": "a", "image": "1.png", "threshold": 0.5, "graph": of_graph}
        (tmp_path / "check.json").write_text(json.dumps({"tolerance": TOLERANCE, "images": [entry]}))
        nothing = ([0.0] * 4, 0.0, 0)  # behind the last object
        values = dict(zip(("boxes", "scores", "labels"), arrays([*found, nothing]), strict=True))
        answer = {name: torch.from_numpy(value)[None] for name, value in values.items()}
        monkeypatch.setattr(torch.export, "load", lambda _: torch.nn.Module())
        monkeypatch.setattr(torch.nn.Module, "module", lambda _: lambda _: answer, raising=False)
        monkeypatch.chdir(tmp_path)
        exec(PROGRAM_CHECK, {})

    return run


def stored_difference(found: Objects, stored: Objects, folder: Path) -> str:
    first, second = (FoundObjects((64, 64), *arrays(each), threshold=0.5) for each in (found, stored))
    return differences(first, {**second.to_json(folder, "1"), "height": 64, "width": 64}, folder, TOLERANCE)


@pytest.mark.parametrize("found", AGREES)
def test_the_same_detections_pass(found: Objects, check: Callable[[Objects, Objects], None], tmp_path: Path) -> None:
    check(found, STORED)
    check(STORED, found)
    assert stored_difference(found, STORED, tmp_path) == ""


def test_no_detection_where_none_is_stored_passes(check: Callable[[Objects, Objects], None], tmp_path: Path) -> None:
    check([], [])
    assert stored_difference([], [], tmp_path) == ""


@pytest.mark.parametrize(("text", "found"), DIFFERS)
def test_other_detections_fail(
    text: str, found: Objects, check: Callable[[Objects, Objects], None], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="objects are only in one of answer and check.json"):
        check(found, STORED)
    assert text in stored_difference(found, STORED, tmp_path)
