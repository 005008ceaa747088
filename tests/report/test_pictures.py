from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from visiontasks.outputs import Detections, SemanticMask
from visiontasks.outputs.drawing import PREDICTED_BOX_COLOUR, TRUE_BOX_COLOUR
from visiontasks.report import Picture, draw_grid, worst_and_random

WRONG_INK = (190, 20, 40)


def picture(width: int = 40, height: int = 30, **what: Any) -> Picture:
    return Picture(np.full((height, width, 3), 128, np.uint8), what.pop("name", "a.jpg"), **what)


def boxes(*shares: list[float], height: int = 300, width: int = 400) -> Detections:
    """Boxes given as shares of the picture."""
    return Detections((height, width), np.array(shares, np.float32) * [width, height, width, height])


def drawn(tmp_path: Path, sections: dict[str, list[Picture]], **options: Any) -> NDArray[np.uint8]:
    draw_grid(sections, tmp_path / "grid.png", **{"class_names": ["cat", "dog"], **options})
    return np.asarray(Image.open(tmp_path / "grid.png"))


def has(page: NDArray[np.uint8], colour: tuple[int, ...]) -> bool:
    return bool(np.all(page == colour, axis=-1).any())


def test_the_worst_come_lowest_first_and_the_random_ones_are_others() -> None:
    index, score = [30, 10, 20, 40, 50], [0.5, 0.9, 0.1, 0.5, 0.7]
    worst, others = worst_and_random(index, score, count=3)
    assert worst.tolist() == [2, 0, 3]  # 0.1, then of the two 0.5 that of index 30 before that of 40
    assert others.tolist() == [1, 4]


def test_a_sample_without_truth_is_never_among_the_worst() -> None:
    worst, others = worst_and_random([0, 1, 2], [np.nan, 0.9, np.nan], count=2)
    assert worst.tolist() == [1]
    assert others.tolist() == [0, 2]


def test_a_sample_that_was_evaluated_twice_is_chosen_once() -> None:
    worst, others = worst_and_random([5, 4, 5], [0.2, 0.3, 0.2], count=12)
    assert worst.tolist() == [0, 1]
    assert others.tolist() == []


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    index, score = np.arange(200), np.linspace(0, 1, 200)
    shuffled = np.random.default_rng(3).permutation(200)
    worst, others = worst_and_random(index, score)
    worst_of_shuffled, others_of_shuffled = worst_and_random(index[shuffled], score[shuffled])
    assert shuffled[worst_of_shuffled].tolist() == worst.tolist() == list(range(12))
    assert shuffled[others_of_shuffled].tolist() == others.tolist()
    assert len(set(others.tolist()) - set(worst.tolist())) == 12
    assert worst_and_random(index, score, seed=1)[1].tolist() != others.tolist()


def test_nothing_is_chosen_of_nothing() -> None:
    assert [rows.tolist() for rows in worst_and_random([], [])] == [[], []]


def test_boxes_of_truth_and_prediction_are_on_the_picture(tmp_path: Path) -> None:
    both = {"truth": boxes([0.2, 0.2, 0.6, 0.6]), "prediction": boxes([0.3, 0.3, 0.9, 0.9])}
    page = drawn(tmp_path, {"all": [picture(400, 300, **both)]})
    # Below margin, legend, title and heading the picture, 320 x 240, lies at the page's lower left margin of 20 px.
    shown = page[page.shape[0] - 20 - 240 : page.shape[0] - 20, 20 : 20 + 320]
    assert tuple(shown[100, 64]) == TRUE_BOX_COLOUR  # x = 0.2 of 320
    assert tuple(shown[72, 96]) == PREDICTED_BOX_COLOUR  # where the dashes begin
    assert tuple(shown[10, 10]) == (128, 128, 128)


def test_boxes_without_numbers_leave_no_trace(tmp_path: Path) -> None:
    box, nothing = [0.0, 0.0, 0.5, 0.5], [np.nan] * 4
    page = drawn(tmp_path, {"all": [picture(400, 300, prediction=boxes(box))]})
    with_nan = drawn(tmp_path, {"all": [picture(400, 300, prediction=boxes(box, nothing))]})
    assert np.array_equal(page, with_nan)


def test_masks_are_side_by_side_after_the_image_and_the_truth(tmp_path: Path) -> None:
    cat, dog = np.zeros((256, 256), np.uint8), np.ones((256, 256), np.uint8)
    page = drawn(tmp_path, {"all": [picture(256, 256, truth=SemanticMask(cat), prediction=SemanticMask(dog))]})
    image, left, right = (page[-40, 20 + k * (222 + 3) + 10] for k in range(3))  # 222 px: 3/4 of a square of 256
    assert np.ptp(image) == 0  # as grey as the picture
    assert left.argmax() == 2  # blue is the first colour
    assert right.argmax() == 0  # orange the second


def test_the_legend_has_only_classes_that_occur(tmp_path: Path) -> None:
    mask = np.full((300, 300), 2, np.uint8)
    names = ["cat", "dog", "bird", "horse"]
    one = drawn(tmp_path, {"all": [picture(300, 300, prediction=SemanticMask(mask.copy()))]}, class_names=names)
    mask[:150] = 0
    two = drawn(tmp_path, {"all": [picture(300, 300, prediction=SemanticMask(mask))]}, class_names=names)
    legends = [page[20:36, 20:] for page in (one, two)]
    swatches = [np.ptp(legend[7].astype(int), axis=-1) > 60 for legend in legends]
    assert [np.count_nonzero(np.diff(swatch.astype(int)) == -1) for swatch in swatches] == [1, 2]


def test_a_wrong_class_is_marked_and_a_right_one_is_not(tmp_path: Path) -> None:
    right = picture(true_label="cat", predicted_label="cat", probability=0.9)
    wrong = picture(true_label="cat", predicted_label="dog", probability=0.9)
    assert not has(drawn(tmp_path, {"all": [right, picture(predicted_label="dog")]}), WRONG_INK)
    assert has(drawn(tmp_path, {"all": [right, wrong]}), WRONG_INK)


def test_an_empty_section_is_left_out(tmp_path: Path) -> None:
    page = drawn(tmp_path, {"worst": [picture()]})
    assert np.array_equal(drawn(tmp_path, {"worst": [picture()], "random": []}), page)
    assert drawn(tmp_path, {"worst": [picture()], "random": [picture()]}).shape[0] > page.shape[0]


def test_no_picture_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        draw_grid({"worst": []}, tmp_path / "grid.png", class_names=[])


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        pictures = [
            picture(true_label="cat", prediction=boxes([0, 0, 1, 1], height=30, width=40)),
            picture(prediction=SemanticMask(np.ones((30, 40), np.uint8))),
        ]
        draw_grid({"all": pictures}, tmp_path / name, class_names=["cat", "dog"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_large_pictures_are_shrunk_to_a_small_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    box = boxes([0.25, 0.25, 0.75, 0.75], height=3000, width=4000)
    page = drawn(tmp_path, {"all": [Picture(noise, "large.jpg", truth=box, prediction=box)]})
    assert page.shape[1] == 480 + 2 * 20
    assert tuple(page[-20 - 60, 20 + 80]) == PREDICTED_BOX_COLOUR  # its first dash, from the left corner on
    assert (tmp_path / "grid.png").stat().st_size < 400_000


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 4), (5, 3), (12, 4)])
def test_rows_are_of_equal_length(tmp_path: Path, count: int, columns: int) -> None:
    page = drawn(tmp_path, {"all": [picture(320, 240, name=str(i)) for i in range(count)]})
    assert page.shape[1] - 2 * 20 == max(480, columns * 320 + (columns - 1) * 14)


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (2, 900), (900, 2), (300, 301)])
@pytest.mark.parametrize(
    "name", ["", "two\nlines", "a" * 300, "no\udcff text", "\u732b"], ids=["empty", "lines", "long", "surrogate", "cjk"]
)
def test_pictures_of_any_shape_and_name_are_drawn(tmp_path: Path, shape: tuple[int, int], name: str) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[0, 0] = 255
    labels = {"true_label": name, "predicted_label": f"{name} or other", "probability": 0.5, "score": np.nan}
    image = np.zeros((*shape, 3), np.uint8)
    pictures = [
        Picture(image, name, **labels),
        Picture(image, name, truth=SemanticMask(mask), prediction=SemanticMask(mask)),
    ]
    page = drawn(tmp_path, {name: pictures}, class_names=[name])
    assert page.shape[1] <= 1600 + 2 * 20


def test_a_long_name_of_the_score_does_not_widen_the_page(tmp_path: Path) -> None:
    pictures = [picture(8, 300, score=0.5), picture(8, 300, score=0.4), picture(8, 300, score=0.3)]
    page = drawn(tmp_path, {"all": pictures}, score_name="intersection over union of the largest box")
    assert page.shape[1] == 3 * 180 + 2 * 14 + 2 * 20


def test_a_thousand_class_names_are_no_matter_without_masks(tmp_path: Path) -> None:
    drawn(tmp_path, {"all": [picture(true_label="class 999")]}, class_names=[f"class {k}" for k in range(1000)])


def test_a_class_without_a_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"classes 0..1 or 255 in the masks, got \[2, 7\]"):
        drawn(tmp_path, {"all": [picture(3, 1, prediction=SemanticMask(np.array([[7, 2, 255]], np.uint8)))]})


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((30, 40, 3), np.float32), None),
        (np.zeros((3, 30, 40), np.uint8), None),
        (np.zeros((30, 40, 3), np.uint8), np.zeros((15, 20), np.uint8)),
        (np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.int64)),
    ],
)
def test_an_image_or_mask_of_another_type_or_shape_is_an_error(image: Any, mask: Any) -> None:
    with pytest.raises(ValueError, match=r"expected .* uint8 \(|a\.jpg: expected an output for an image of \(30, 40\)"):
        Picture(image, "a.jpg", prediction=None if mask is None else SemanticMask(mask))
