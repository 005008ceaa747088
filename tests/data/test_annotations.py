"""Objects as they are written, before and after they are checked."""

import math
from pathlib import Path

import pytest
from PIL import Image

from visiontasks.data.annotations import AnnotatedImage, check_split_names, image_problems, natural_classes
from visiontasks.data.problems import Problem
from visiontasks.errors import InputError


def annotated(*names: str) -> AnnotatedImage:
    image = AnnotatedImage("", "a.xml")
    for name in names:
        image.add_object("a.xml object 1", name, {"x1": "1", "y1": 2, "x2": 3.5, "y2": " 4 "})
    return image


def test_numbers_may_be_texts() -> None:
    image = annotated("cat")
    assert (image.boxes, image.names, image.places) == ([[1, 2, 3.5, 4]], ["cat"], ["a.xml object 1"])


def test_an_object_with_faults_is_a_problem_with_all_of_them() -> None:
    image = AnnotatedImage("", "a.xml")
    image.add_object("a.xml object 1", "", {"x1": "one", "y1": "", "x2": None, "y2": "4"})
    assert image.boxes == []
    what = "has no class, x1 is 'one', expected a number, has no y1, has no x2"
    assert image.problems == [Problem("a.xml object 1", what, "correct it, or remove the object")]


def test_without_an_image_what_is_written_is_checked_all_the_same() -> None:
    image = annotated("cat", "dog")
    image.boxes[1][0] = math.nan
    assert [problem.what for problem in image_problems(image)] == [
        "dog's box nan 2 3.5 4 has a coordinate that is no number"
    ]


@pytest.mark.parametrize(("cut", "found"), [(True, ["image file is truncated"]), (False, [])])
def test_a_png_that_is_cut_off_is_found_by_its_end_and_one_damaged_within_passes(
    tmp_path: Path, cut: bool, found: list[str]
) -> None:
    Image.effect_noise((80, 60), 50).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    half = len(whole) // 2
    (tmp_path / "a.png").write_bytes(whole[:half] if cut else whole[:half] + bytes(100) + whole[half + 100 :])
    image = annotated("cat")
    image.path = str(tmp_path / "a.png")
    assert [problem.what for problem in image_problems(image)] == [f"damaged, cannot be decoded ({w})" for w in found]


def test_classes_come_from_train_or_where_it_lacks_from_all() -> None:
    splits = {"val": [annotated("b10", "a")], "test": [annotated("b2")]}
    assert natural_classes(splits) == ["a", "b2", "b10"]
    assert natural_classes({**splits, "train": [annotated("c")]}) == ["c"]


def test_other_names_of_splits_are_refused() -> None:
    check_split_names(["test", "train", "val"], "here")
    with pytest.raises(InputError, match="here: training, valid, expected some of train, val, test"):
        check_split_names(["training", "test", "valid"], "here")
