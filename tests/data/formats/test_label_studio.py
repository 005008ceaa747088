"""Label Studio's JSON: percent, rotations by name, uploaded files, several annotations."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError

ReadExport = Callable[..., Any]
SIZE = (200, 50)


def result(kind: str = "rectangle", labels: Any = ("cat",), **value: Any) -> dict[str, Any]:
    value = value or {"x": 10, "y": 20, "width": 25, "height": 50, "rotation": 0}
    value |= {f"{kind}labels": list(labels)} if labels else {}
    return {"id": "r", "type": f"{kind}labels", "original_width": 200, "original_height": 50, "value": value}


def task(image: str, *annotations: Any, **others: Any) -> dict[str, Any]:
    made = [each if isinstance(each, dict) else {"id": 1, "result": list(each)} for each in annotations]
    return {"id": 7, "data": {"image": image}, "annotations": made, **others}


def test_numbers_are_percent_of_width_and_height(read: ReadExport) -> None:
    """Of 200x50: x 20, y 10, 50 wide, 25 high."""
    found = read({"p.json": [task("0.png", [result()]), task("1.png", [])]}, {"0.png": SIZE, "1.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 20 10 70 35"], "1.png": []}}
    assert found.problems == []


def test_polygons_and_ellipses_become_boxes_and_key_points_are_passed_over(read: ReadExport) -> None:
    results = [
        result("polygon", points=[[10, 20], [50, 40], [30, 90]]),
        result("ellipse", x=50, y=50, radiusX=10, radiusY=20, rotation=0),
        result("keypoint", x=50, y=50, width=1),
        {"id": "c", "type": "choices", "value": {"choices": ["bright"]}},
    ]
    found = read({"p.json": [task("0.png", results)]}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 20 10 100 45", "cat 80 15 120 35"]
    assert found.problems == []
    assert found.export.all_notes()[-1] == "annotations without an area, passed over: 1 choices, 1 keypointlabels"


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/3/1a2b3c4d-my_cat.png",
        "/data/local-files/?d=folder/my_cat.png",
        "s3://bucket/folder/my%5Fcat.png",
        "https://host/my_cat.png?X-Amz-Date=2026",
        "my_cat.png",
    ],
)
def test_the_image_is_found_by_its_name_in_any_address(read: ReadExport, image: str) -> None:
    found = read({"p.json": [task(image, [result()])]}, {"images/my_cat.png": SIZE})
    assert found.objects["train"] == {"images/my_cat.png": ["cat 20 10 70 35"]}


def test_a_file_that_keeps_the_prefix_of_its_upload_is_found_too(read: ReadExport) -> None:
    row = task("/data/upload/3/1a2b3c4d-a.png", [result()], file_upload="1a2b3c4d-a.png")
    found = read({"p.json": [row]}, {"1a2b3c4d-a.png": SIZE})
    assert found.objects["train"] == {"1a2b3c4d-a.png": ["cat 20 10 70 35"]}


def test_rotated_rectangles_are_refused_by_name(read: ReadExport) -> None:
    turned = result(x=10, y=20, width=25, height=50, rotation=30)
    results = [result(), turned, result("ellipse", x=50, y=50, radiusX=10, radiusY=20, rotation=-12.5)]
    found = read({"p.json": [task("0.png", [*results, {**result(), "image_rotation": 90}])]}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 20 10 70 35"]
    fix = "draw it anew, or remove it"
    assert found.problems == [
        f"p.json task 7 result 2: rectangle rotated by 30 degrees, expected an upright one; {fix}",
        f"p.json task 7 result 3: ellipse rotated by -12.5 degrees, expected an upright one; {fix}",
        f"p.json task 7 result 4: drawn in the image turned by 90 degrees, expected the upright image; {fix}",
    ]


def test_labels_are_one_each(read: ReadExport) -> None:
    """A rectangle without a label is a problem, unless <Labels> gives the same shape again with one."""
    bare = {**result(labels=()), "type": "rectangle"}
    twin = {**result(labels=()), "type": "labels"}
    twin["value"]["labels"] = ["dog"]
    found = read({"p.json": [task("0.png", [bare, twin])]}, {"0.png": SIZE})
    assert (found.objects["train"]["0.png"], found.problems) == (["dog 20 10 70 35"], [])
    found = read({"p.json": [task("0.png", [bare, {**result(labels=("a", "b")), "id": "s"}])]}, {})
    assert found.problems == [
        "p.json task 7 result 1: has no class; correct it, or remove the object",
        "p.json task 7 result 2: 2 labels (a, b), expected one; draw it anew, or remove it",
    ]


def test_of_several_annotations_the_ground_truth_is_taken(read: ReadExport) -> None:
    made = [
        {"was_cancelled": True, "result": [result(labels=("cancelled",))]},
        {"result": [result(labels=("first",))]},
        {"ground_truth": True, "result": [result(labels=("truth",))]},
    ]
    rows = [task("0.png", *made), task("1.png", *made[:2]), task("2.png", made[1], made[1]), task("3.png", made[0])]
    found = read({"p.json": rows}, {f"{i}.png": SIZE for i in range(4)})
    assert [names[0].split()[0] for names in found.objects["train"].values()] == ["truth", "first", "first"]
    assert found.export.notes[1:] == [
        "1 image(s) without an annotation are passed over",
        "1 image(s) have several annotations, of which the first is taken",
    ]
    assert found.problems == []


def test_broken_shapes_and_missing_images_are_problems(read: ReadExport) -> None:
    results = [
        result(x=10, y=20, width=25),
        result("polygon", points=[[1, "a"]]),
        result(x=90, y=20, width=25, height=9),
    ]
    found = read({"p.json": [task("0.png", results), task("9.png", [])]}, {"0.png": SIZE, "1.png": SIZE})
    assert found.problems == [
        "p.json task 7 result 1: has no height; correct it, or remove the object",
        "p.json task 7 result 2: has no x, has no y, has no width, has no height; correct it, or remove the object",
        "p.json task 7 result 3: cat's box 90 20 25 9 reaches beyond its image of 200x50 pixels; cut it to "
        "the image, or "
        "draw it anew",
        "p.json task 7: no image 9.png in ; copy it there, or remove its annotation",
        "1.png: no annotation in p.json; annotate it, also where it has no object, or remove the image",
    ]


def test_the_small_json_export_is_refused_by_name(read: ReadExport) -> None:
    row = {"image": "0.png", "label": [], "annotator": 1, "annotation_id": 2, "id": 1}
    with pytest.raises(InputError, match="p.json: is Label Studio's JSON-MIN, which is not read; export it as JSON"):
        read({"p.json": [row]}, {"0.png": SIZE})
