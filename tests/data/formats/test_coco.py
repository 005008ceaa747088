"""COCO's JSON as COCO, Roboflow and CVAT write it: boxes by hand, and its mistakes."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError, MissingFileError

ReadExport = Callable[..., Any]
SIZE = (8, 6)


def content(annotations: list[dict[str, Any]], *, categories: Any = ((7, "cat"), (3, "dog")), images: int = 1) -> Any:
    return {
        "images": [{"id": 50 + i, "file_name": f"{i}.png", "width": 8, "height": 6} for i in range(images)],
        "annotations": [{"id": i, "image_id": 50, "category_id": 7, **row} for i, row in enumerate(annotations)],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }


def pictures(number: int, folder: str = "") -> dict[str, tuple[int, int]]:
    return {f"{folder}{i}.png": SIZE for i in range(number)}


def test_a_box_is_the_upper_left_corner_and_the_size(read: ReadExport) -> None:
    found = read({"a.json": content([{"bbox": [1, 2, 4, 3]}, {"bbox": [0, 0, 1, 1]}])}, pictures(1))
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 5", "cat 0 0 1 1"]}}  # the second is the first pixel
    assert found.problems == []


def test_classes_follow_their_ids_which_may_be_0_and_have_gaps(read: ReadExport) -> None:
    rows = [{"bbox": [1, 1, 2, 2], "category_id": number} for number in (90, 0, 11)]
    found = read({"a.json": content(rows, categories=((90, "cow"), (0, "ant"), (11, "bee")))}, pictures(1))
    assert found.export.class_names == ["ant", "bee", "cow"]
    assert found.objects["train"]["0.png"] == ["cow 1 1 3 3", "ant 1 1 3 3", "bee 1 1 3 3"]


def test_classes_of_several_files_are_matched_by_name(read: ReadExport) -> None:
    """Dog is 3 in one file and 1 in the other."""
    train = content([{"bbox": [1, 1, 2, 2], "category_id": 3}])
    val = content([{"bbox": [1, 1, 2, 2], "category_id": 1}], categories=((1, "dog"), (2, "cat")))
    files = {"annotations/instances_train2017.json": train, "annotations/instances_val2017.json": val}
    found = read(files, {"train2017/0.png": SIZE, "val2017/0.png": SIZE})
    assert found.export.class_names == ["dog", "cat"]
    assert found.objects == {"train": {"train2017/0.png": ["dog 1 1 3 3"]}, "val": {"val2017/0.png": ["dog 1 1 3 3"]}}


@pytest.mark.parametrize("held", [False, True])
def test_a_parent_is_a_class_only_where_it_has_objects(read: ReadExport, held: bool) -> None:
    """Roboflow writes the project's name as category 0, the supercategory of all others."""
    rows = [{"bbox": [1, 1, 2, 2], "category_id": 1}] + [{"bbox": [1, 1, 2, 2], "category_id": 0}] * held
    export = content(rows, categories=((0, "pets"), (1, "cat")))
    export["categories"][0]["supercategory"] = "none"
    export["categories"][1]["supercategory"] = "pets"
    found = read({"train/_annotations.coco.json": export}, pictures(1, "train/"))
    assert found.export.class_names == (["pets", "cat"] if held else ["cat"])
    notes = [note for note in found.export.notes if "group others" in note]
    assert notes == ([] if held else ["categories that only group others, no classes: pets"])


def test_coco_itself_has_supercategories_that_are_no_categories(read: ReadExport) -> None:
    export = content([{"bbox": [1, 1, 2, 2]}], categories=((1, "person"), (7, "cat")))
    export["categories"][0]["supercategory"] = "person"  # of itself
    export["categories"][1]["supercategory"] = "animal"
    assert read({"a.json": export}, pictures(1)).export.class_names == ["person", "cat"]


def test_crowds_have_run_lengths_compressed_or_not(read: ReadExport) -> None:
    """Column by column of 6 pixels: 13 zeros, then pixels 13, 14, 15 and 19, 20: column 2 rows 1 to 3, column 3 rows
    1 and 2.
    """
    counts = [13, 3, 3, 2, 27]
    outlines = [{"size": [6, 8], "counts": counts}, {"size": [6, 8], "counts": "=33Oh0"}]
    rows = [{"iscrowd": 1, "segmentation": outline} for outline in outlines]
    rows += [{"iscrowd": 1, "segmentation": outlines[0], "bbox": [2, 1, 2, 3]}]
    found = read({"a.json": content(rows)}, pictures(1))
    assert found.objects["train"]["0.png"] == ["cat 2 1 4 4 crowd"] * 3


def test_ignore_makes_a_crowd_too(read: ReadExport) -> None:
    rows = [{"bbox": [1, 1, 2, 2], "iscrowd": 0, "ignore": 1}, {"bbox": [1, 1, 2, 2], "iscrowd": 0, "ignore": 0}]
    found = read({"a.json": content(rows)}, pictures(1))
    assert found.objects["train"]["0.png"] == ["cat 1 1 3 3 crowd", "cat 1 1 3 3"]


@pytest.mark.parametrize(
    "outline",
    [
        [[1, 1, 6, 1, 6, 3]],
        [1, 1, 6, 1, 6, 3],
        [[1, 1, 2, 1, 2, 3], [4, 2, 6, 2, 6, 3]],
        [[1, 1, 6, 3]],  # two points, at which pycocotools raises
    ],
)
def test_without_a_box_the_polygons_give_it(read: ReadExport, outline: Any) -> None:
    found = read({"a.json": content([{"segmentation": outline}])}, pictures(1))
    assert found.objects["train"]["0.png"] == ["cat 1 1 6 3"]


def test_a_box_that_is_not_around_its_outline_is_a_problem(read: ReadExport) -> None:
    """As CVAT wrote it once: x and y in place of the corner are the middle."""
    outline = [[1, 1, 7, 1, 7, 5, 1, 5]]
    rows = [{"bbox": [0, 0, 3, 2], "segmentation": outline}, {"bbox": [1, 1, 6, 4], "segmentation": outline}]
    found = read({"a.json": content(rows)}, pictures(1))
    assert found.problems == [
        "a.json annotation 0: cat's bbox 0 0 3 2 is not around its own outline, which goes from x1 y1 to x2 y2 1 1 7 "
        "5; export it again, or correct either"
    ]  # they share 2x1 pixels of 6 + 24 - 2
    assert found.objects["train"]["0.png"] == ["cat 1 1 7 5"]


def test_images_without_objects_belong_to_it_and_images_it_does_not_list_are_problems(read: ReadExport) -> None:
    found = read({"a.json": content([{"bbox": [1, 1, 2, 2]}], images=2)}, pictures(3))
    assert found.objects == {"train": {"0.png": ["cat 1 1 3 3"], "1.png": [], "2.png": []}}
    assert found.problems == [
        "2.png: no annotation in a.json; annotate it, also where it has no object, or remove the image"
    ]


def test_a_folder_without_any_annotated_image_is_passed_over_with_a_note(read: ReadExport) -> None:
    found = read({"a.json": content([{"bbox": [1, 1, 2, 2]}])}, {"images/0.png": SIZE, "raw/1.png": SIZE})
    assert (found.problems, list(found.objects["train"])) == ([], ["images/0.png"])
    assert found.export.notes[1:] == ["1 image(s) in raw/ are passed over: none of this folder is annotated"]


def test_what_is_wrong_with_single_annotations_becomes_problems_of_their_images(read: ReadExport) -> None:
    rows: list[dict[str, Any]] = [
        {"bbox": [1, 1, 2, 2], "image_id": 99},
        {"bbox": [1, 1, 2, 2], "category_id": 99},
        {"bbox": [1, 1, 2]},
        {"bbox": []},
        {"bbox": [1, 1, "wide", None]},
        {"bbox": [1, 1, -1, 2]},
        {"bbox": [1, 1, 2, 0]},
        {"bbox": [1, float("nan"), 2, 2]},
        {"bbox": [5, 1, 4, 2]},
    ]
    found = read({"a.json": content(rows, images=2)}, pictures(1))
    assert sorted(found.problems) == [
        "a.json annotation 0: image_id 99 is not among the file's images; add the image, or remove the annotation",
        "a.json annotation 1: category_id 99 is not among the file's categories; add the category, or remove the "
        "annotation",
        "a.json annotation 2: bbox is [1, 1, 2], expected x, y, width, height; correct it, or remove the annotation",
        "a.json annotation 3: bbox is [], expected x, y, width, height; correct it, or remove the annotation",
        "a.json annotation 4: width is 'wide', expected a number, has no height; correct it, or remove the object",
        "a.json annotation 5: cat's box 1 1 -1 2 has a width below 0, expected xywh in pixels; draw it anew",
        "a.json annotation 6: cat's box 1 1 2 0 has no area; draw it anew, or remove it",
        "a.json annotation 7: cat's box 1 nan 2 2 has a coordinate that is not a number; draw it anew",
        "a.json annotation 8: cat's box 5 1 4 2 reaches beyond its image of 8x6 pixels; cut it to the image, or draw "
        "it anew",
        "a.json image 51: no image 1.png in ; copy it there, or remove its annotation",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1}]}, r"a.json: images\[0\] has no file_name, expected COCO instances"),
        ({"categories": [{"id": 1}]}, r"a.json: categories\[0\] has no name, expected"),
        ({"annotations": [{"id": 1}]}, r"a.json: annotations\[0\] has no image_id and no category_id, expected"),
        ({"annotations": [1]}, r"a.json: annotations is no list of objects"),
        ({"images": [{"id": 1, "file_name": "0.png"}] * 2}, "a.json: images share an id: 1; give each its own"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "a.json: categories share an id: 1"),
    ],
)
def test_a_file_that_is_not_as_coco_has_it_is_refused(read: ReadExport, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read({"a.json": {**content([{"bbox": [1, 1, 2, 2]}]), **change}}, pictures(1))


def test_a_file_that_breaks_off_is_named_with_its_line(read: ReadExport) -> None:
    with pytest.raises(InputError, match=r"a.json line 2: cannot be read as JSON \(.* at column .*\); export it again"):
        read({"a.json": '{"images": [], "annotations": [],\n "categories": [{"id": 1, "na'}, pictures(1))


def test_key_points_beside_instances_are_not_read(read: ReadExport) -> None:
    files = {name: content([{"bbox": [1, 1, 2, 2]}]) for name in ("instances_val.json", "person_keypoints_val.json")}
    assert read(files, pictures(1)).objects == {"val": {"0.png": ["cat 1 1 3 3"]}}


def test_more_files_than_are_looked_at_first_are_all_read(read: ReadExport) -> None:
    """A file for each image, 30 of them."""
    files = {}
    for i in range(30):
        files[f"{i}.json"] = content([{"bbox": [1, 1, 2, 2]}])
        files[f"{i}.json"]["images"] = [{"id": 50, "file_name": f"{i}.png"}]
    assert len(read(files, pictures(30)).objects["train"]) == 30


def test_annotations_without_any_image_name_those_that_are_expected(read: ReadExport) -> None:
    with pytest.raises(MissingFileError, match="has annotations as COCO, but no images: expected 0.png, 1.png; copy"):
        read({"a.json": content([], images=2)}, {})


def test_paths_of_another_machine_mean_the_image_that_agrees_in_more_folders(read: ReadExport) -> None:
    export = content([{"bbox": [1, 1, 2, 2]}])
    export["images"][0]["file_name"] = "C:\\data\\b\\0.png"
    found = read({"a.json": export}, {"a/0.png": SIZE, "b/0.png": SIZE})
    assert found.objects == {"train": {"b/0.png": ["cat 1 1 3 3"]}}
