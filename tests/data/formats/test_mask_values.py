"""The option `values`: which class a value or a colour of a mask file stands for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.formats.mask_values import Recoding, parse_values, proposal
from visiontasks.errors import InputError

RED, BLACK = (128, 0, 0), (0, 0, 0)


def save(path: Path, pixels: Any, **options: Any) -> str:
    Image.fromarray(np.array(pixels, np.uint8)).save(path, **options)
    return str(path)


def test_listed_values_become_classes_and_others_stay(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[0, 128, 255], [7, 0, 255]])
    assert parse_values({128: 1, 255: 2}).read(mask)[0].tolist() == [[0, 1, 2], [7, 0, 2]]
    assert parse_values({"128": 1, 255: 255}).read(mask)[0].tolist() == [[0, 1, 255], [7, 0, 255]]
    assert parse_values(None).read(mask)[0].tolist() == [[0, 128, 255], [7, 0, 255]]


@pytest.mark.parametrize("red", ["128,0,0", "128 0 0", "128, 0, 0", "#800000"])
def test_colours_are_read_from_any_kind_of_file(tmp_path: Path, red: str) -> None:
    values = parse_values({"0,0,0": 0, red: 3})
    expected = [[0, 3, 3]]
    assert values.read(save(tmp_path / "a.png", [[BLACK, RED, RED]]))[0].tolist() == expected
    assert values.read(save(tmp_path / "b.png", [[(*BLACK, 255), (*RED, 255), (*RED, 255)]]))[0].tolist() == expected
    palette = Image.fromarray(np.array([[1, 0, 0]], np.uint8)).convert("P")
    palette.putpalette([*RED, *BLACK])  # in another order than the classes
    palette.save(tmp_path / "c.gif")
    assert values.read(str(tmp_path / "c.gif"))[0].tolist() == expected
    assert parse_values({"0,0,0": 0, "9,9,9": 3}).read(save(tmp_path / "d.png", [[0, 9, 9]]))[0].tolist() == expected
    white = Image.fromarray(np.array([[False, True, True]]))
    white.save(tmp_path / "e.png")
    assert parse_values({"0,0,0": 0, "#ffffff": 3}).read(str(tmp_path / "e.png"))[0].tolist() == expected


def test_a_mask_of_colours_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = save(tmp_path / "a.png", [[BLACK, RED, RED]], exif=exif)
    assert parse_values({"0,0,0": 0, "128,0,0": 1}).read(mask)[0].tolist() == [[0], [1], [1]]


def test_colours_that_are_not_named_are_counted(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[BLACK, (64, 0, 0), (64, 0, 0)], [(1, 2, 3), RED, RED]])
    with pytest.raises(
        InputError, match=r"a\.png: 2 colour\(s\) .*: 64,0,0 \(2 pixels\), 1,2,3 \(1 pixels\); name them"
    ):
        parse_values({"0,0,0": 0, "128,0,0": 1}).read(mask)


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        ([[(*RED, 255), (*RED, 100)]], {"name": "a.png"}, "transparent pixels, whose colour is not known"),
        ([[RED, RED]], {"name": "a.jpg"}, "a JPEG, whose compression changes values"),
    ],
)
def test_colours_that_are_not_known_are_refused(tmp_path: Path, pixels: Any, options: Any, message: str) -> None:
    mask = save(tmp_path / options["name"], pixels)
    with pytest.raises(InputError, match=message):
        parse_values({"128,0,0": 1}).read(mask)


def test_a_value_that_another_one_is_mapped_onto_is_named(tmp_path: Path) -> None:
    mask = save(tmp_path / "a.png", [[0, 1, 255]])
    with pytest.raises(InputError, match=r"a\.png: has the value 1 too, onto which .* maps 255; .*\(1: 1 if it is"):
        parse_values({255: 1}).read(mask)
    assert parse_values({255: 1, 1: 1}).read(mask)[0].tolist() == [[0, 1, 1]]
    assert parse_values({255: 1, 1: 0, 0: 0}).read(mask)[0].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({256: 1}, r"256, expected values such as \{0: 0"),
        ({-1: 1}, "-1, expected values"),
        ({True: 1}, "True, expected values"),
        ({0.5: 1}, "0.5, expected values"),
        ({"red": 1}, "'red', expected values"),
        ({"#80000": 1}, "'#80000', expected values"),
        ({"128,0": 1}, "'128,0', expected values"),
        ({"128,0,256": 1}, "'128,0,256', expected values"),
        ({255: 256}, "255: 256, expected a class index of 0 to 255"),
        ({255: -1}, "255: -1, expected a class index"),
        ({15301: None}, "15301 has no class index, .* and a space behind each colon"),  # YAML's {255:1}
        ({255: True}, "255: True, expected a class index"),
        ({255: 1, "0,0,0": 0}, "255, 0,0,0: expected values .*, not both"),
        ({"#800000": 1, "128,0,0": 1}, "128,0,0 is given twice"),
    ],
)
def test_a_wrong_option_is_refused(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.values: {message}"):
        parse_values(values)


def test_a_proposal_names_what_changes() -> None:
    assert proposal([0, 128, 255]) == "data.init_args.values: {128: 1, 255: 2}"
    assert proposal([0, 200], [0, 7]) == "data.init_args.values: {200: 7}"
    assert proposal([255], [2], given=Recoding({128: 1})) == "data.init_args.values: {128: 1, 255: 2}"
    assert proposal([255], [2], given=Recoding({128: 255})) == "data.init_args.values: {128: 2, 255: 2}"
    colours = Recoding({0: 0, 0x800000: 255}, of_colours=True)
    assert proposal([255], [1], given=colours) == 'data.init_args.values: {"0,0,0": 0, "128,0,0": 1}'
