"""Create ML's JSON: the centre and the size in pixels."""

from collections.abc import Callable
from typing import Any

ReadExport = Callable[..., Any]
SIZE = (8, 6)


def annotation(*box: float, label: str = "cat") -> dict[str, Any]:
    return {"label": label, "coordinates": dict(zip(("x", "y", "width", "height"), box, strict=False))}


def test_x_and_y_are_the_centre(read: ReadExport) -> None:
    """3 + 4 / 2 = 5, 4 - 3 / 2 = 2.5."""
    rows = [{"image": "0.png", "annotations": [annotation(3, 4, 4, 3)]}, {"image": "1.png", "annotations": []}]
    found = read({"a.json": rows}, {"0.png": SIZE, "1.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2.5 5 5.5"], "1.png": []}}
    assert found.problems == []


def test_older_names_of_the_keys_and_a_file_for_each_split(read: ReadExport) -> None:
    files = {
        f"{split}/_annotations.createml.json": [{"imagefilename": "0.png", "annotation": [annotation(3, 4, 4, 2)]}]
        for split in ("train", "valid")
    }
    found = read(files, {"train/0.png": SIZE, "valid/0.png": SIZE})
    assert found.objects == {"train": {"train/0.png": ["cat 1 3 5 5"]}, "val": {"valid/0.png": ["cat 1 3 5 5"]}}


def test_corners_in_place_of_the_centre_reach_beyond_the_image(read: ReadExport) -> None:
    objects = [annotation(1, 2, 4, 3), annotation(3, 4, 4), annotation(3, 4, 4, 3, label="")]
    rows = [{"image": "0.png", "annotations": objects}, {"image": "9.png", "annotations": []}]
    found = read({"a.json": rows}, {"0.png": SIZE, "1.png": SIZE})
    assert found.problems == [
        "a.json image 1 object 2: has no height; correct it, or remove the object",
        "a.json image 1 object 3: has no class; correct it, or remove the object",
        "a.json image 1 object 1: cat's box 1 2 4 3 reaches beyond its image of 8x6 pixels; cut it to the "
        "image, or draw "
        "it anew",
        "a.json image 2: no image 9.png in ; copy it there, or remove its annotation",
        "1.png: no annotation in a.json; annotate it, also where it has no object, or remove the image",
    ]
