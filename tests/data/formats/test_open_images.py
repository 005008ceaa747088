"""Open Images' CSV files: x before y, shares, codes, groups."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import MissingFileError

ReadExport = Callable[..., Any]
SIZE = (200, 100)
HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
NAMES = {"class-descriptions.csv": "/m/2,Tortoise\n/m/1,Container\n/m/0,Magpie\n"}


def test_x_comes_before_y_in_shares_and_codes_have_names(read: ReadExport) -> None:
    text = HEADER + "a,xclick,/m/0,1,0.25,0.5,0.1,0.6,0,0,0\na,xclick,/m/1,1,0,1,0,1,0,0,0\n"
    found = read({"train-annotations-bbox.csv": text, **NAMES}, {"train/a.jpg": SIZE})
    assert found.objects == {"train": {"train/a.jpg": ["Magpie 50 10 100 60", "Container 0 0 200 100"]}}
    assert found.export.class_names == ["Container", "Magpie"]  # in the order of the descriptions; no Tortoise is there
    assert found.problems == []


def test_a_group_is_a_crowd_and_unknown_is_an_object(read: ReadExport) -> None:
    lines = [f"a,xclick,/m/0,1,0,1,0,1,-1,-1,{group}\n" for group in (1, 0, -1)]
    found = read({"a.csv": HEADER + "".join(lines), **NAMES}, {"a.jpg": SIZE})
    assert found.objects["train"]["a.jpg"] == ["Magpie 0 0 200 100 crowd"] + ["Magpie 0 0 200 100"] * 2


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_descriptions_may_have_a_header(read: ReadExport, header: str) -> None:
    files = {"a.csv": HEADER + "a,x,/m/0,1,0,1,0,1,0,0,0\n", "oidv6-class-descriptions.csv": f"{header}/m/0,Magpie\n"}
    assert read(files, {"a.jpg": SIZE}).export.class_names == ["Magpie"]


def test_without_descriptions_classes_are_codes(read: ReadExport) -> None:
    found = read({"a.csv": HEADER + "a,x,/m/0,1,0,1,0,1,0,0,0\n"}, {"a.jpg": SIZE})
    assert found.export.class_names == ["/m/0"]
    assert "classes are called by their codes: no file has LabelName,DisplayName" in found.export.notes


def test_faults_are_listed_with_their_lines(read: ReadExport) -> None:
    text = HEADER + "a,x,/m/0,1,0.5,0.2,0,1,0,0,0\nb,x,/m/0,1,0,1,0,1,0,0,0\na,x,/m/0,1,,1,0,1,0,0,0\n"
    found = read({"a.csv": text, **NAMES}, {"a.jpg": SIZE, "c.jpg": SIZE})
    assert found.problems == [
        "a.csv line 4: has no XMin; correct it, or remove the object",
        "a.csv line 2: Magpie's box 0.5 0 0.2 1 has x1 > x2, expected x1 y1 x2 y2 in fractions of the image; "
        "swap them if "
        "they are corners, or write corners if they are a corner and a size",
        "a.csv line 3: no image b.* in ; copy it there, or remove its annotation",
        "c.jpg: no annotation in a.csv; annotate it, also where it has no object, or remove the image",
    ]


def test_without_images_the_ids_are_named(read: ReadExport) -> None:
    with pytest.raises(MissingFileError, match=r"as Open Images, but no images: expected a\.\*; copy the images there"):
        read({"a.csv": HEADER + "a,x,/m/0,1,0,1,0,1,0,0,0\n"}, {})
