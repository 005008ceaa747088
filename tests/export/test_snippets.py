"""The lines that a card shows decode images as the run does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.data import read_image
from visiontasks.export import Format, preprocessing
from visiontasks.export.card import model_card
from visiontasks.export.snippets import READ, READ_16BIT
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
