"""VGG Image Annotator's JSON of versions 1 and 2."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError

ReadExport = Callable[..., Any]
SIZE = (8, 6)
RECT = {"name": "rect", "x": 1, "y": 2, "width": 4, "height": 3}


def region(shape: Any = RECT, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": dict(shape), "region_attributes": attributes or {"class": "cat"}}


def entry(name: str, *regions: Any) -> dict[str, Any]:
    return {"filename": name, "size": 1234, "regions": list(regions), "file_attributes": {}}


@pytest.mark.parametrize("version", [1, 2, "project"])
def test_a_rectangle_is_the_upper_left_corner_and_the_size(read: ReadExport, version: Any) -> None:
    """Version 1 numbers the regions in a map; a project has the images under _via_img_metadata."""
    images: dict[str, Any] = {"0.png1234": entry("0.png", region()), "1.png1234": entry("1.png")}
    if version == 1:
        images["0.png1234"]["regions"] = {"0": region()}
    found = read(
        {"via.json": {"_via_img_metadata": images} if version == "project" else images}, {"0.png": SIZE, "1.png": SIZE}
    )
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 5"], "1.png": []}}
    assert found.problems == []


def test_of_other_shapes_the_box_around_them_is_taken(read: ReadExport) -> None:
    shapes = [
        {"name": "polygon", "all_points_x": [1, 6, 3], "all_points_y": [1, 2, 5]},
        {"name": "circle", "cx": 4, "cy": 3, "r": 2},
        {"name": "ellipse", "cx": 4, "cy": 3, "rx": 2, "ry": 1},
        {"name": "point", "cx": 4, "cy": 3},
    ]
    found = read({"via.json": {"a": entry("0.png", *map(region, shapes))}}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 1 6 5", "cat 2 1 6 5", "cat 2 2 6 4"]
    assert found.export.all_notes()[-1] == "annotations without an area, passed over: 1 point"


def test_the_class_is_the_only_attribute_or_the_one_that_is_called_so(read: ReadExport) -> None:
    files = {"via.json": {"a": entry("0.png", region(animal="cat"))}}
    assert read(files, {"0.png": SIZE}).objects["train"]["0.png"] == ["cat 1 2 5 5"]
    files = {"via.json": {"a": entry("0.png", region(colour="red", Label="cat"))}}
    assert read(files, {}).objects["train"]["0.png"] == ["cat 1 2 5 5"]
    with pytest.raises(
        InputError, match="regions have the attributes animal, colour; rename the one that is the class"
    ):
        read({"via.json": {"a": entry("0.png", region(colour="red", animal="cat"))}}, {})


def test_of_ticked_boxes_one_is_the_class(read: ReadExport) -> None:
    regions = [region(kind={"cat": True}), region(kind={"cat": True, "dog": True}), region(kind={"dog": False})]
    found = read({"via.json": {"a": entry("0.png", *regions)}}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 2 5 5"]
    assert found.problems == [
        f"via.json image a region {number}: has no class; correct it, or remove the object" for number in (2, 3)
    ]


def test_rotated_and_broken_shapes_and_missing_images_are_problems(read: ReadExport) -> None:
    shapes = [
        {"name": "ellipse", "cx": 4, "cy": 3, "rx": 2, "ry": 1, "theta": 0.5},
        {"name": "rect", "x": 1, "y": 2, "width": 4},
        {"name": "rect", "x": 1, "y": 2, "width": 9, "height": 3},
    ]
    content = {"a": entry("0.png", *map(region, shapes)), "b": entry("9.png", region())}
    found = read({"via.json": content}, {"0.png": SIZE, "1.png": SIZE})
    assert found.problems == [
        "via.json image a region 1: ellipse rotated by 0.5 radians, expected an upright one; draw it anew",
        "via.json image a region 2: rect without its numbers; draw it anew",
        "via.json image a region 3: cat's box 1 2 10 5 reaches beyond its image of 8x6 pixels; cut it to the image, or "
        "draw it anew",
        "via.json image b: no image 9.png in ; copy it there, or remove its annotation",
        "1.png: no annotation in via.json; annotate it, also where it has no object, or remove the image",
    ]
