"""YOLO's text files as Ultralytics, Roboflow, Label Studio and Darknet lay them out."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError, MissingFileError

ReadExport = Callable[..., Any]
SIZE = (200, 100)
LINE = "0 0.5 0.5 0.2 0.4\n"
BOX = "cat 80 30 120 70"


def test_shares_of_centre_and_size_become_corners(read: ReadExport) -> None:
    """Of 200x100: the whole, and 40x40 around the middle."""
    files = {"classes.txt": "cat\ndog\n", "labels/0.txt": "1 0.5 0.5 1 1\r\n\n0 .5 5e-1 0.2 0.4 \n"}
    found = read(files, {"images/0.png": SIZE})
    assert found.objects == {"train": {"images/0.png": ["dog 0 0 200 100", BOX]}}
    assert (found.export.class_names, found.problems) == (["cat", "dog"], [])


def test_polygons_become_the_box_around_them(read: ReadExport) -> None:
    files = {"classes.txt": "cat\n", "0.txt": "0 0.1 0.2 0.5 0.1 0.4 0.6\n"}  # x 20 to 100, y 10 to 60
    assert read(files, {"0.png": SIZE}).objects["train"]["0.png"] == ["cat 20 10 100 60"]


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}", "\n  1: dog\n  0: cat", "\n- cat\n- 'dog'"])
def test_names_of_data_yaml_are_a_list_or_a_map(read: ReadExport, names: str) -> None:
    found = read({"data.yaml": f"nc: 2\nnames: {names}\n", "labels/0.txt": LINE}, {"images/0.png": SIZE})
    assert found.export.class_names == ["cat", "dog"]
    assert found.objects["train"]["images/0.png"] == [BOX]


def test_numbers_without_a_name_are_no_classes(read: ReadExport) -> None:
    files = {"data.yaml": "names: {0: cat, 7: dog}\n", "0.txt": LINE + "7 0.5 0.5 1 1\n5 0.5 0.5 1 1\n"}
    found = read(files, {"0.png": SIZE})
    assert found.export.class_names == ["cat", "dog"]
    assert found.objects["train"]["0.png"] == [BOX, "dog 0 0 200 100"]
    assert found.problems == [
        "0.txt line 3: class 5, but data.yaml has 8 names, from 0; correct the line, or remove it"
    ]


def test_splits_are_the_folders_of_data_yaml_wherever_it_thinks_they_are(read: ReadExport) -> None:
    """Roboflow writes ../train/images though it lies beside train/."""
    files = {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [cat]\n"}
    files |= {f"{folder}/labels/0.txt": LINE for folder in ("train", "valid")}
    found = read(files, {f"{folder}/images/0.jpg": SIZE for folder in ("train", "valid")})
    assert found.objects == {"train": {"train/images/0.jpg": [BOX]}, "val": {"valid/images/0.jpg": [BOX]}}


def test_splits_are_folders_under_images_and_labels(read: ReadExport) -> None:
    files = {
        "coco128.yaml": "path: ../datasets/coco128\ntrain: images/train2017\nval: images/train2017\nnames: [cat]\n"
    }
    found = read({**files, "labels/train2017/0.txt": LINE}, {"images/train2017/0.jpg": SIZE})
    assert found.objects == {"train": {"images/train2017/0.jpg": [BOX]}}
    assert found.export.notes[1:] == [
        "coco128.yaml names one place for train and val: val is taken as missing",
        "splits are those of coco128.yaml",
    ]


def test_splits_are_lists_of_data_yaml(read: ReadExport) -> None:
    files = {"data.yaml": "train: train.txt\nval: val.txt\nnames: [cat]\n", "labels/0.txt": LINE, "labels/1.txt": LINE}
    files |= {"train.txt": "./images/0.jpg\n", "val.txt": "/home/someone/images/1.jpg\n"}
    found = read(files, {f"images/{i}.jpg": SIZE for i in range(3)})
    assert found.objects == {"train": {"images/0.jpg": [BOX]}, "val": {"images/1.jpg": [BOX]}}
    assert found.export.notes[1:] == [
        "splits are those of train.txt, val.txt",
        "1 image(s) that no split has are left out (such as images/2.jpg)",
    ]


def test_darknet_has_names_and_lists_in_obj_data(read: ReadExport) -> None:
    files = {
        "obj.data": "classes = 1\ntrain = data/train.txt\nvalid = data/test.txt\nnames = data/obj.names\nbackup = b/\n",
        "obj.names": "cat\n",
        "train.txt": "data/obj_train_data/0.jpg\n",
        "test.txt": "data/obj_train_data/1.jpg\n",
        "obj_train_data/0.txt": LINE,
        "obj_train_data/1.txt": "",
    }
    found = read(files, {"obj_train_data/0.jpg": SIZE, "obj_train_data/1.jpg": SIZE})
    assert found.objects == {"train": {"obj_train_data/0.jpg": [BOX]}, "val": {"obj_train_data/1.jpg": []}}
    assert found.export.class_names == ["cat"]


def test_an_image_without_a_text_file_has_no_object_and_a_note(read: ReadExport) -> None:
    found = read({"classes.txt": "cat\n", "labels/0.txt": LINE}, {"images/0.png": SIZE, "images/1.png": SIZE})
    assert found.objects == {"train": {"images/0.png": [BOX], "images/1.png": []}}
    assert found.problems == []
    note = "1 image(s) without a label file have no object, as in YOLO (such as images/1.png)"
    assert found.export.notes[1:] == [note]


def test_a_split_without_any_text_file_is_not_one_without_objects(read: ReadExport) -> None:
    files = {"data.yaml": "names: [cat]\n", "train/labels/0.txt": LINE}
    with pytest.raises(
        InputError, match=r"no label file for any of the 1 images of the val split, expected such as .*"
    ):
        read(files, {"train/images/0.png": SIZE, "valid/images/1.png": SIZE})


def test_a_text_file_without_an_image_is_a_problem(read: ReadExport) -> None:
    found = read({"classes.txt": "cat\n", "labels/0.txt": LINE, "labels/7.txt": LINE}, {"images/0.png": SIZE})
    assert found.problems == ["labels/7.txt: no image 7.* in ; copy it there, or remove its annotation"]


def test_every_line_that_cannot_be_read_is_a_problem(read: ReadExport) -> None:
    lines = ["0 0.5 0.5 0.2", "0 0.5 0.5 0.2 0.4 0.9", "cat 0.5 0.5 0.2 0.4", "2 0.5 0.5 0.2 0.4", "-1 0.5 0.5 1 1"]
    lines += ["0.5 0.5 0.5 1 1", "0 0.1 0.2 0.5 0.1 0.4 0.6 0.7", "0 0.5 nan 0.2 0.4", "0 0.5 0.5 0 0.4"]
    found = read({"classes.txt": "cat\n", "0.txt": LINE + "\n".join(lines)}, {"0.png": SIZE})
    expected = "expected a class number, then centre x, centre y, width, height or the corners of a polygon"
    fix = "correct the line, or remove it"
    assert found.problems == [
        f"0.txt line 2: '0 0.5 0.5 0.2', {expected}; {fix}",
        f"0.txt line 3: 6 numbers, {expected}; the sixth may be the score of a prediction; {fix}",
        f"0.txt line 4: 'cat 0.5 0.5 0.2 0.4', {expected}; {fix}",
        f"0.txt line 5: class 2, but classes.txt has 1 names, from 0; {fix}",
        f"0.txt line 6: class -1, but classes.txt has 1 names, from 0; {fix}",
        f"0.txt line 7: '0.5 0.5 0.5 1 1', {expected}; {fix}",
        f"0.txt line 8: 8 numbers, {expected}; {fix}",
        "0.txt line 9: cat's box 0.5 nan 0.2 0.4 has a coordinate that is not a number; draw it anew",
        "0.txt line 10: cat's box 0.5 0.5 0 0.4 has no area; draw it anew, or remove it",
    ]


def test_six_digits_behind_the_point_may_leave_the_image_by_rounding(read: ReadExport) -> None:
    """0.333333 + 0.666667 / 2 of 200 px is 133.3333, and 0.833334 + 0.333333 / 2 reaches 200.0001."""
    found = read({"classes.txt": "cat\n", "0.txt": "0 0.833334 0.5 0.333333 1\n"}, {"0.png": SIZE})
    assert found.problems == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data.yaml": "names: [cat]\nnc: 2\n"}, "data.yaml: nc is 2, but names has 1; correct either"),
        ({"data.yaml": "names: [cat, cat]\n"}, "data.yaml: cat, cat, expected each name once"),
        ({"data.yaml": "names: {cat: 0}\n"}, "data.yaml: names has keys that are no numbers; expected 0: cat, 1: dog"),
        ({"data.yaml": "names: cat\n"}, "data.yaml: names is 'cat', expected a list, or a map from numbers to names"),
        ({"data.yaml": "names: [cat\n\n"}, "data.yaml line .: cannot be read as YAML; correct it, or export it again"),
        ({"a.yaml": "names: [cat]\n", "b.yaml": "names: [dog]\n"}, "a.yaml and .*b.yaml have different class names"),
    ],
)
def test_class_names_that_are_not_clear_are_refused(read: ReadExport, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read({**files, "0.txt": LINE}, {"0.png": SIZE})


def test_without_class_names_the_classes_are_problems(read: ReadExport) -> None:
    found = read({"0.txt": LINE}, {"0.png": SIZE})
    assert found.problems == ["0.txt line 1: class 0, but no file has class names; correct the line, or remove it"]


def test_a_data_yaml_without_images_is_recognized(read: ReadExport) -> None:
    files = {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [cat]\n"}
    with pytest.raises(MissingFileError, match=r"as YOLO, but no images: expected ../train/images \(train\), ../valid"):
        read(files, {})


def test_readme_files_of_roboflow_are_no_labels(read: ReadExport) -> None:
    files = {"README.roboflow.txt": "1 2 3 4 5\n", "classes.txt": "cat\n", "labels/0.txt": LINE}
    assert read(files, {"images/0.png": SIZE}).problems == []
