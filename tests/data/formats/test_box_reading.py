"""Boxes in every format and unit are read as they were written, and a dataset that is read otherwise is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import COCOBoxes, CSVBoxes, VOCBoxes
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.data.formats.box_reading import BoxFormat, BoxUnit, Reading, WrittenBoxes, misread
from visiontasks.errors import InputError

Box = tuple[float, float, float, float]
WriteScenes = Callable[..., None]
UPRIGHT = "upright.jpg"
SIZE = (200, 400)  # height and width
# corners in pixels: one box in each part of the image, and one of a third of it
CORNERS: list[Box] = [(20, 10, 120, 60), (300, 20, 390, 110), (40, 120, 140, 190), (250, 100, 399, 199)] * 3
WRITTEN: dict[tuple[BoxFormat, BoxUnit], Callable[[Box], Box]] = {
    ("xyxy", "pixels"): lambda b: b,
    ("xywh", "pixels"): lambda b: (b[0], b[1], b[2] - b[0], b[3] - b[1]),
    ("cxcywh", "pixels"): lambda b: ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]),
    ("yxyx", "pixels"): lambda b: (b[1], b[0], b[3], b[2]),
    ("xyxy", "fraction"): lambda b: (b[0] / 400, b[1] / 200, b[2] / 400, b[3] / 200),
    ("xywh", "fraction"): lambda b: (b[0] / 400, b[1] / 200, (b[2] - b[0]) / 400, (b[3] - b[1]) / 200),
    ("cxcywh", "fraction"): lambda b: (
        (b[0] + b[2]) / 800,
        (b[1] + b[3]) / 400,
        (b[2] - b[0]) / 400,
        (b[3] - b[1]) / 200,
    ),
    ("xyxy", "percent"): lambda b: (b[0] / 4, b[1] / 2, b[2] / 4, b[3] / 2),
    ("xywh", "percent"): lambda b: (b[0] / 4, b[1] / 2, (b[2] - b[0]) / 4, (b[3] - b[1]) / 2),
}


@pytest.fixture(autouse=True)
def _upright_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 2)).save(UPRIGHT)


def written(numbers: list[Box], size: tuple[int, int] = SIZE) -> WrittenBoxes:
    n = len(numbers)
    return WrittenBoxes(
        np.array(numbers, dtype=np.float64), np.array([size] * n), [f"line {i}" for i in range(n)], [UPRIGHT] * n
    )


def fault(numbers: list[Box], reading: Reading = Reading(), *, skips: bool = True, unit_given: bool = False) -> str:  # noqa: B008
    return misread(written(numbers), reading, unit_given=unit_given, skips=skips) or ""


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("xyxy", (2, 3, 10, 7)), ("yxyx", (3, 2, 7, 10)), ("xywh", (2, 3, 8, 4)), ("cxcywh", (6, 5, 8, 4))],
)
def test_each_format_gives_the_same_corners(form: BoxFormat, numbers: Box) -> None:
    box, sizes = np.array([numbers], dtype=np.float64), np.array([(10, 20)])  # 20 wide, 10 high
    assert Reading(form, "pixels").xyxy(box, (10, 20)).tolist() == [[2, 3, 10, 7]]
    share = box / (np.array([10, 20, 10, 20]) if form == "yxyx" else np.array([20, 10, 20, 10]))
    for unit, factor in (("fraction", 1), ("percent", 100)):
        np.testing.assert_allclose(Reading(form, unit).xyxy(share * factor, sizes), [[2, 3, 10, 7]])


@pytest.mark.parametrize("read", [("xyxy", "pixels"), ("xywh", "pixels"), ("xyxy", "fraction")])
@pytest.mark.parametrize("wrote", WRITTEN)
def test_the_refusal_proposes_how_the_boxes_were_written(
    wrote: tuple[BoxFormat, BoxUnit], read: tuple[BoxFormat, BoxUnit]
) -> None:
    found = fault([WRITTEN[wrote](box) for box in CORNERS], Reading(*read))
    if wrote == read:
        assert found == ""
        return
    settings = [
        f"data.init_args.box_{key}: {new}"
        for key, new, old in zip(("format", "unit"), wrote, read, strict=True)
        if new != old
    ]
    assert f"12 fit as {Reading(*wrote)}" in found
    assert f"set {' and '.join(settings)}, or " in found


def test_the_refusal_names_the_share_a_line_and_the_option() -> None:
    assert fault([WRITTEN["xywh", "pixels"](box) for box in CORNERS]) == (
        "data.init_args.box_format: 9 of 12 boxes do not fit their images as xyxy in pixels (such as line 1: 300 20 90 "
        "90 of 400x200 pixels), but 12 fit as xywh in pixels; set data.init_args.box_format: xywh, or correct the boxes"
    )


def test_single_mistakes_and_careless_drawing_are_no_other_reading() -> None:
    turned, beyond = (120, 60, 20, 10), (300, 20, 430, 215)  # 30 and 15 px beyond, under a tenth of the image
    assert fault([*CORNERS, *CORNERS, turned, turned]) == ""
    assert fault([*CORNERS, *[beyond] * 12]) == ""


def test_corners_in_any_order_are_mistakes_that_are_listed() -> None:
    assert fault([*CORNERS, *[(x2, y2, x1, y1) for x1, y1, x2, y2 in CORNERS]]) == ""


def test_boxes_of_larger_images_are_refused_with_their_factor() -> None:
    doubled = [(2 * x1, 2 * y1, 2 * x2, 2 * y2) for x1, y1, x2, y2 in CORNERS]
    for skips in (False, True):
        found = fault(doubled, skips=skips)
        assert "data.init_args.root: 9 of 12 boxes do not fit their images as xyxy in pixels" in found
        assert "They reach to 2 times the width and 1.99 times the height of an image: take the images" in found


def test_skip_does_not_train_on_the_rest_of_boxes_of_which_many_are_far_off() -> None:
    far = [(380, 180, 700, 390)] * 3
    assert "3 of 27 boxes do not fit" in fault([*CORNERS, *CORNERS, *far])
    assert fault([*CORNERS, *CORNERS, *far], skips=False) == ""  # then they are listed one by one


@pytest.mark.parametrize(
    ("form", "common", "misfit"),
    [
        ("yxyx", (10, 20, 110, 180), (10, 220, 60, 380)),  # read as xyxy, only what lies right of 200 misfits
        ("cxcywh", (60, 50, 110, 90), (200, 100, 40, 40)),  # a large object top left reads as corners too
        ("xywh", (20, 10, 150, 100), (300, 100, 90, 80)),
    ],
)
def test_skip_does_not_train_on_a_misread_table_of_which_a_single_box_does_not_fit(
    form: BoxFormat, common: Box, misfit: Box
) -> None:
    numbers = [common] * 39 + [misfit]
    found = fault(numbers)
    assert found.startswith("data.init_args.box_format: 1 of 40 boxes do not fit their images as xyxy in pixels")
    assert "but 40 fit as " in found
    assert f"as {form} in pixels" in found
    assert fault(numbers, skips=False) == ""  # then it is listed, and nothing is trained
    assert fault(numbers, Reading(form)) == ""
    assert fault([*CORNERS, (390, 20, 450, 110)]) == ""  # a mistake: others do not fit another way


def test_fractions_among_pixels_are_refused() -> None:
    fractions = [WRITTEN["xyxy", "fraction"](box) for box in CORNERS]
    assert "12 of them within 0..1 as fractions; write all in one unit" in fault([*CORNERS, *fractions])


def test_percent_is_told_from_pixels_only_where_that_is_no_chance_and_the_unit_is_not_given() -> None:
    corner = [(10, 10, 95, 90), (50, 20, 90, 60), (1, 2, 30, 40)] * 4  # of 400x200: 1/8 of it
    assert "all 12 boxes lie in the first 100 pixels of larger images" in fault(corner)
    assert "or data.init_args.box_unit: pixels if that is what they are" in fault(corner)
    assert fault(corner, unit_given=True) == ""
    assert fault(corner[:6]) == ""  # (1/8)^6 is above a millionth
    small = misread(written(corner, (100, 100)), Reading(), unit_given=False, skips=True)
    assert small is None


def test_what_fits_as_well_in_two_formats_names_both() -> None:
    # as x1 y1 x2 y2 turned; as corner or centre and size within 400x200
    found = fault([(200, 100, 50, 40), (210, 90, 60, 50), (190, 110, 40, 30)])
    assert "3 fit as xywh in pixels (and as cxcywh in pixels); set data.init_args.box_format: xywh" in found


def test_three_digits_of_a_fraction_may_reach_a_thousandth_beyond() -> None:
    large = Reading("cxcywh", "fraction").fits(np.array([[0.751, 0.5, 0.499, 1.0]]), np.array([[3000, 4000]]))
    assert large.tolist() == [True]  # 4002 of 4000 px
    assert not Reading("cxcywh", "fraction").fits(np.array([[0.753, 0.5, 0.499, 1.0]]), np.array([[3000, 4000]]))[0]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """`table([(1, 2, 3, 4)])`: a root with an image of 40x20 and a line for each."""

    def write(numbers: list[Box], **options: object) -> Path:
        lines = ["path,label,x1,y1,x2,y2"]
        for i, box in enumerate(numbers):
            Image.new("RGB", (40, 20)).save(tmp_path / f"{i}.jpg", **options)
            lines.append(f"{i}.jpg,cat,{','.join(map(str, box))}")
        (tmp_path / "boxes.csv").write_text("\n".join(lines))
        return tmp_path

    return write


def read(data: CSVBoxes | COCOBoxes | VOCBoxes) -> list[list[float]]:
    data.setup()
    source = data.source("test")
    assert isinstance(source, BoxSource)
    return [list(box) for box in source.boxes.tolist()]


def test_the_options_read_the_table_and_the_largest_object_is_that_in_pixels(table: Callable[..., Path]) -> None:
    root = table([(0.5, 0.5, 0.25, 0.5)] * 3)
    with (root / "boxes.csv").open("a") as file:
        file.write("\n0.jpg,cat,0.5,0.5,1.0,1.0")
    data = CSVBoxes(str(root), box_format="cxcywh", box_unit="fraction", test_fraction=1.0)
    assert read(data) == [[0, 0, 40, 20], [15, 5, 25, 15], [15, 5, 25, 15]]


@pytest.mark.parametrize("on_bad_sample", ["error", "skip"])
def test_a_misread_table_is_refused_whatever_becomes_of_bad_samples(
    table: Callable[..., Path], on_bad_sample: str
) -> None:
    root = table([(20, 10, 10, 5), (20, 10, 12, 6), (30, 10, 8, 9), (2, 1, 20, 10), (1, 1, 30, 15)])
    with pytest.raises(InputError, match="3 of 5 boxes .* but 5 fit as xywh in pixels; set data.init_args.box_format"):
        read(CSVBoxes(str(root), on_bad_sample=on_bad_sample, test_fraction=1.0))


def test_boxes_that_were_drawn_in_images_not_yet_upright_are_no_swapped_corners(table: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # seen as 20x40
    root = table([(22, 2, 39, 18), (25, 5, 38, 15), (30, 1, 40, 10)], exif=exif)
    with pytest.raises(InputError, match="turned upright by their EXIF orientation, but the boxes were drawn in them"):
        read(CSVBoxes(str(root), test_fraction=1.0))


def test_a_box_under_a_pixel_is_a_bad_sample(table: Callable[..., Path]) -> None:
    root = table([(1, 1, 30, 15)] * 5 + [(3, 3, 3.5, 9)])
    with pytest.raises(InputError, match="cat's box 3 3 3.5 9 is under a pixel wide or high in its image of 40x20"):
        read(CSVBoxes(str(root), test_fraction=1.0))


def test_voc_files_of_fractions_are_refused_and_read_by_the_option(tmp_path: Path, write_scenes: WriteScenes) -> None:
    write_scenes(tmp_path, "VOCBoxes")
    plain = read(VOCBoxes(str(tmp_path), test_fraction=1.0))
    for file in (tmp_path / "annotations").glob("*.xml"):
        text = file.read_text()
        for corner, side in (("xmin", 40), ("ymin", 32), ("xmax", 40), ("ymax", 32)):
            before, _, rest = text.partition(f"<{corner}>")
            value, _, after = rest.partition(f"</{corner}>")
            text = f"{before}<{corner}>{float(value) / side:.8f}</{corner}>{after}"
        file.write_text(text)
    with pytest.raises(InputError, match="set data.init_args.box_unit: fraction"):
        read(VOCBoxes(str(tmp_path), test_fraction=1.0))
    np.testing.assert_allclose(read(VOCBoxes(str(tmp_path), box_unit="fraction", test_fraction=1.0)), plain, atol=1e-4)
