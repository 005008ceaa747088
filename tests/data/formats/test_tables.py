"""CSV files of boxes with and without a line of names."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError

ReadExport = Callable[..., Any]
SIZE = (8, 6)


@pytest.mark.parametrize(
    "text",
    [
        "0.png,1,2,5,6,cat\n1.png,,,,,\n",  # keras-retinanet
        "path,x1,y1,x2,y2,class\n0.png,1,2,5,6,cat\n1.png,,,,,\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\n0.png,8,6,cat,1,2,5,6\n1.png,8,6,,,,,\n",  # TensorFlow
        "image_path;xmin;ymin;xmax;ymax;label\n0.png;1;2;5;6;cat\n1.png;;;;;\n",  # DeepForest, another delimiter
        "0.png,cat,1,2,5,6\n1.png,,,,,\n",  # path, label, box
        "image_name,x,y,width,height,label\n0.png,1,2,4,4,cat\n1.png,,,,,\n",
        '\ufeffimage,label,xmin,ymin,xmax,ymax\r\n"0.png","cat",1.0,2.0,5.0,6.0\r\n"1.png","","","","",""\r\n',
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name\ncat,1,2,4,4,0.png\n,,,,,1.png\n",
    ],
)
def test_all_kinds_are_read_alike_and_a_path_alone_has_no_object(read: ReadExport, text: str) -> None:
    found = read({"boxes.csv": text}, {"0.png": SIZE, "1.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 6"], "1.png": []}}
    assert found.problems == []


def test_classes_follow_keras_retinanets_numbers_and_else_natural_order(read: ReadExport) -> None:
    boxes = "0.png,1,2,5,6,cow\n0.png,1,2,3,4,bird\n"
    files = {"annotations.csv": boxes, "classes.csv": "cow,0\ncat,1\nbird,2\n"}
    assert read(files, {"0.png": SIZE}).export.class_names == ["cow", "cat", "bird"]
    assert read({"classes.csv": "cow,0\ncat,1\n"}, {}).export.class_names == []  # one is missing there


@pytest.mark.parametrize(
    ("lines", "objects"),
    [
        (["0.png,1,2,5,6,0", "1.png,1,2,3,4,7"], {"0.png": ["0 1 2 5 6"], "1.png": ["7 1 2 3 4"]}),
        (["0.png,3,1,2,5,6", "1.png,3,1,2,3,4"], {"0.png": ["3 1 2 5 6"], "1.png": ["3 1 2 3 4"]}),
        (["0.png,1,2,5,6,8", "1.png,0,2,3,4,8"], {"0.png": ["8 1 2 5 6"], "1.png": ["8 0 2 3 4"]}),
        (["0.png,1,2,5,6,10", "1.png,1,2,3,4,9"], {"0.png": ["10 1 2 5 6"], "1.png": ["9 1 2 3 4"]}),
        (["0.png,1,2,5,6,0", "1.png,,,,,"], {"0.png": ["0 1 2 5 6"], "1.png": []}),
    ],
)
def test_classes_without_a_header_may_be_numbers(read: ReadExport, lines: list[str], objects: Any) -> None:
    """1 2 5 6 0 are corners and a class, since 6 to 0 is no box; 3 1 2 5 6 a class and corners, since 3 to 2 is none.

    1 2 5 6 8 are both; then the column of 8 alone is the class, and 10, 9 are the class where 1 2 5 6 and 1 2 3 4 are
    corners, since 2 to 6, 5 to 10 is a box too, but 2 to 4, 3 to 9 as well: of two values each the last is taken.
    """
    found = read({"boxes.csv": "\n".join(lines)}, {"0.png": SIZE, "1.png": SIZE})
    assert found.objects == {"train": objects}
    order = "class, x1, y1, x2, y2" if lines[0].startswith("0.png,3") else "x1, y1, x2, y2, class"
    assert found.export.notes == [f"format: CSV: boxes.csv has lines of path, {order}"]


def test_numbers_of_classes_get_the_names_that_keras_retinanets_file_has(read: ReadExport) -> None:
    files = {"annotations.csv": "0.png,1,2,5,6,2\n0.png,1,2,3,4,0\n", "classes.csv": "cow,0\ncat,1\nbird,2\n"}
    found = read(files, {"0.png": SIZE})
    assert found.objects == {"train": {"0.png": ["bird 1 2 5 6", "cow 1 2 3 4"]}}
    assert found.export.class_names == ["cow", "cat", "bird"]


def test_splits_are_a_column_or_the_names_of_files(read: ReadExport) -> None:
    text = "path,label,x1,y1,x2,y2,split\n0.png,cat,1,2,5,6,train\n1.png,cat,1,2,5,6,Validation\n"
    found = read({"boxes.csv": text}, {"0.png": SIZE, "1.png": SIZE})
    assert {split: list(images) for split, images in found.objects.items()} == {"train": ["0.png"], "val": ["1.png"]}


def test_a_table_for_each_split(read: ReadExport) -> None:
    files = {
        f"{name}_labels.csv": f"path,label,x1,y1,x2,y2\n{i}.png,cat,1,2,5,6\n"
        for i, name in enumerate(["train", "test"])
    }
    found = read(files, {"0.png": SIZE, "1.png": SIZE})
    assert {split: list(images) for split, images in found.objects.items()} == {"train": ["0.png"], "test": ["1.png"]}


def test_what_is_wrong_with_single_lines_is_listed(read: ReadExport) -> None:
    lines = ["0.png,1,2,5,6", "0.png,1,2,five,6,cat", "0.png,1,2,5,6,", "0.png,5,2,1,6,cat", "9.png,1,2,5,6,cat"]
    found = read({"a.csv": "path,x1,y1,x2,y2,class\n" + "\n".join(lines)}, {"0.png": SIZE, "1.png": SIZE})
    assert found.problems == [
        "a.csv line 2: 5 values, expected 6; correct the line",
        "a.csv line 3: x2 is 'five', expected a number; correct it, or remove the object",
        "a.csv line 4: has no class; correct it, or remove the object",
        "a.csv line 5: cat's box 5 2 1 6 has x1 > x2, expected x1 y1 x2 y2 in pixels; swap them if they are "
        "corners, or "
        "write corners if they are a corner and a size",
        "a.csv line 6: no image 9.png in ; copy it there, or remove its annotation",
        "1.png: no annotation in a.csv; annotate it, also where it has no object, or remove the image",
    ]


def test_a_mistake_in_the_first_lines_does_not_hide_the_format(read: ReadExport) -> None:
    lines = ["0.png,1,2,5,6", "0.png,1,2,five,6,cat", "0.png,1,2,5,6,cat", "0.png,1,2,4,5,cat", "0.png,1,2,3,4,cat"]
    found = read({"a.csv": "\n".join(lines)}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 2 5 6", "cat 1 2 4 5", "cat 1 2 3 4"]
    assert len(found.problems) == 2


def test_a_size_of_another_image_is_a_problem(read: ReadExport) -> None:
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n0.png,6,8,cat,1,2,5,6\n"
    (problem,) = read({"a.csv": text}, {"0.png": SIZE}).problems
    assert problem.startswith("a.csv: made for an image of 6x8 pixels, but 0.png has 8x6 (upright)")


def test_tables_in_two_forms_are_refused(read: ReadExport) -> None:
    files = {"a.csv": "path,label,x1,y1,x2,y2\n0.png,cat,1,2,5,6\n", "b.csv": "path,label,x,y,w,h\n0.png,cat,1,2,4,4\n"}
    with pytest.raises(InputError, match=r"a.csv has boxes as xyxy in pixels, .*b.csv as xywh in pixels; write all"):
        read(files, {"0.png": SIZE})


def test_a_file_that_is_not_utf8_is_named(read: ReadExport, tmp_path: Any) -> None:
    (tmp_path / "a.csv").write_bytes(b"path,label,x1,y1,x2,y2\n0.png,caf\xe9,1,2,5,6\n")
    with pytest.raises(InputError, match=r"a.csv: cannot be read as CSV \(.*\); save it as CSV in UTF-8"):
        read({}, {"0.png": SIZE})
