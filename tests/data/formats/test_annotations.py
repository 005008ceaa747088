"""Objects as they are written, before and after they are checked."""

import math
from pathlib import Path

import pytest
from PIL import Image

from visiontasks.data.formats.annotations import (
    AnnotatedImage,
    check_split_names,
    image_problems,
    natural_classes,
    path_inside,
)
from visiontasks.data.pipeline.problems import Problem
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
        "dog's box nan 2 3.5 4 has a coordinate that is not a number"
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


def test_classes_come_from_train_or_where_it_is_missing_from_all() -> None:
    splits = {"val": [annotated("b10", "a")], "test": [annotated("b2")]}
    assert natural_classes(splits) == ["a", "b2", "b10"]
    assert natural_classes({**splits, "train": [annotated("c")]}) == ["c"]


def test_other_names_of_splits_are_refused() -> None:
    check_split_names(["test", "train", "val"], "here")
    with pytest.raises(InputError, match="here: training, valid, expected some of train, val, test"):
        check_split_names(["training", "test", "valid"], "here")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("images\\0.jpg", "images/0.jpg"),
        (".\\images\\0.jpg", "images/0.jpg"),
        ("images/0.jpg", "images/0.jpg"),
        ("images\\a\\b.jpg", "images/a/b.jpg"),
        ("images\\none.jpg", "images/none.jpg"),
        ("literal\\0.jpg", "literal\\0.jpg"),
        ("images/cre\u0300me.jpg", "images/cr\u00e8me.jpg"),
        ("images\\brul\u00e9.jpg", "images/brule\u0301.jpg"),
    ],
)
def test_backslashes_separate_folders_and_unicode_has_two_forms(tmp_path: Path, written: str, expected: str) -> None:
    (tmp_path / "images/a").mkdir(parents=True)
    for name in ("0.jpg", "a/b.jpg", "cr\u00e8me.jpg", "brule\u0301.jpg"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "literal\\0.jpg").touch()
    assert path_inside(tmp_path, tmp_path, written) == str(tmp_path / expected)


@pytest.mark.parametrize("written", ["..\\secret.jpg", "images\\..\\..\\secret.jpg", "\\\\server\\share\\0.jpg"])
def test_backslashes_do_not_lead_out_of_the_dataset(tmp_path: Path, written: str) -> None:
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret.jpg").touch()
    assert path_inside(root, root, written) is None


def test_class_names_are_composed(tmp_path: Path) -> None:
    assert annotated("cre\u0300me").names == ["cr\u00e8me"]
