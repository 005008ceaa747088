"""LabelMe's JSON: corners in any order, groups, circles and what has no area."""

from collections.abc import Callable
from typing import Any

import pytest

ReadExport = Callable[..., Any]
SIZE = (8, 6)


def shape(points: Any, kind: str | None = "rectangle", label: str = "cat", **others: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **others}


def content(*shapes: Any, image: str = "0.png", **others: Any) -> dict[str, Any]:
    size = {"imageHeight": 6, "imageWidth": 8}
    return {
        "version": "5.0.1",
        "flags": {},
        "shapes": [*shapes],
        "imagePath": image,
        "imageData": None,
        **size,
        **others,
    }


@pytest.mark.parametrize("points", [[[1, 2], [5, 6]], [[5, 6], [1, 2]], [[1, 6], [5, 2]], [[5, 2], [1, 6]]])
def test_a_rectangles_corners_come_in_any_order(read: ReadExport, points: Any) -> None:
    found = read({"0.json": content(shape(points))}, {"0.png": SIZE})
    assert (found.objects, found.problems) == ({"train": {"0.png": ["cat 1 2 5 6"]}}, [])


def test_polygons_circles_and_masks_become_boxes(read: ReadExport) -> None:
    """The circle's edge is 3, 4 from its centre: a radius of 5 by Pythagoras, here of a tenth."""
    shapes = [
        shape([[1, 1], [6, 2], [3, 5]], "polygon"),
        shape([[1, 1], [6, 2], [3, 5]], None),  # as in old files
        shape([[4, 3], [4.3, 3.4]], "circle"),
        shape([[1, 2], [5, 6]], "mask", mask="iVBORw0KGgo="),
    ]
    found = read({"0.json": content(*shapes)}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 1 6 5", "cat 1 1 6 5", "cat 3.5 2.5 4.5 3.5", "cat 1 2 5 6"]


def test_shapes_of_a_group_are_one_object(read: ReadExport) -> None:
    shapes = [
        shape([[1, 1], [2, 2]], group_id=0),
        shape([[3, 3], [4, 4]], group_id=1),
        shape([[5, 1], [6, 3]], group_id=0),
        shape([[1, 1], [2, 2]], label="dog", group_id=0),
    ]
    found = read({"0.json": content(*shapes)}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 1 1 6 3", "cat 3 3 4 4", "dog 1 1 2 2"]


def test_points_and_lines_are_passed_over_with_a_note(read: ReadExport) -> None:
    shapes = [shape([[1, 1]], "point"), shape([[1, 1], [2, 2]], "line"), shape([[1, 1]], "point")]
    found = read({"0.json": content(*shapes)}, {"0.png": SIZE})
    assert found.objects == {"train": {"0.png": []}}
    assert found.export.all_notes()[-1] == "annotations without an area, passed over: 1 line, 2 point"


def test_rotated_rectangles_and_shapes_without_points_or_class_are_problems(read: ReadExport) -> None:
    corners = [[1, 2], [3, 1], [5, 4], [2, 5]]
    shapes = [
        shape(corners, "oriented_rectangle"),
        shape(corners, "rotation"),
        shape([[1, 1]]),
        shape([[1, 1], [2, "b"]]),
        shape([[1, 1], [2, 2]], label=" "),
        "shape",
        shape([[3, 1], [3, 4]]),
    ]
    found = read({"0.json": content(*shapes)}, {"0.png": SIZE})
    rotated = "a rotated rectangle, expected an upright one; draw an upright rectangle, or a polygon"
    assert found.problems == [
        f"0.json shape 1: {rotated}",
        f"0.json shape 2: {rotated}",
        "0.json shape 3: a rectangle without its points; draw it anew",
        "0.json shape 4: a rectangle without its points; draw it anew",
        "0.json shape 6: a shape without its points; draw it anew",
        "0.json shape 5: has no class; correct it, or remove the object",
        "0.json shape 7: cat's box 3 1 3 4 has no area; draw it anew, or remove it",
    ]


def test_the_image_is_the_one_that_is_named_or_that_has_the_files_stem(read: ReadExport) -> None:
    """1.json names a .bmp of which a .jpg was made; images without a file are problems."""
    files = {"a.json": content(shape([[1, 2], [5, 6]]), image="..\\images\\0.png")}
    files |= {"1.json": content(shape([[1, 2], [3, 4]]), image="1.bmp")}
    found = read(files, {"0.png": SIZE, "1.jpg": SIZE, "2.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 6"], "1.jpg": ["cat 1 2 3 4"], "2.png": []}}
    assert found.problems == [
        "2.png: no annotation 2.json; annotate it, also where it has no object, or remove the image"
    ]


def test_splits_are_folders(read: ReadExport) -> None:
    found = read(
        {f"{split}/0.json": content() for split in ("train", "val")}, {f"{s}/0.png": SIZE for s in ("train", "val")}
    )
    assert found.objects == {"train": {"train/0.png": []}, "val": {"val/0.png": []}}


def test_a_broken_file_is_a_problem_of_its_image(read: ReadExport) -> None:
    files = {"0.json": content(shape([[1, 2], [5, 6]])), "1.json": '{"version": "5", "shapes": [\n'}
    found = read(files, {"0.png": SIZE, "1.png": SIZE})
    (problem,) = found.problems
    assert problem == "1.json line 2: cannot be read as JSON (Expecting value at column 1); export it again"


def test_a_size_of_another_image_is_a_problem(read: ReadExport) -> None:
    (problem,) = read({"0.json": content(shape([[1, 2], [5, 6]]), imageWidth=9)}, {"0.png": SIZE}).problems
    assert problem.startswith("0.json: made for an image of 9x6 pixels, but 0.png has 8x6 (upright)")
