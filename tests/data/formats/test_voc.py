"""Pascal VOC's XML as VOC itself, LabelImg and Roboflow write it."""

from collections.abc import Callable
from typing import Any

import pytest

from visiontasks.errors import InputError

ReadExport = Callable[..., Any]
SIZE = (8, 6)


def xml(*boxes: Any, source: str = "<database>Unknown</database>", size: Any = SIZE, difficult: str = "0") -> str:
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in boxes
    )
    sizes = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><path>C:\\a\\0.jpg</path><source>{source}</source>{sizes}{objects}</annotation>"


def test_tools_count_edges_from_0(read: ReadExport) -> None:
    found = read({"0.xml": xml(("cat", 1, 2, 5, 6), ("dog", "0.5", " 1 ", "8.0", 6))}, {"0.png": SIZE})
    assert found.objects == {"train": {"0.png": ["cat 1 2 5 6", "dog 0.5 1 8 6"]}}
    assert found.problems == []


@pytest.mark.parametrize(
    "source",
    [
        "<database>The VOC2012 Database</database><annotation>PASCAL VOC2012</annotation>",
        "<annotation>PASCAL VOC2007</annotation>",
    ],
)
def test_voc_itself_counts_pixels_from_1(read: ReadExport, source: str) -> None:
    """1 1 8 6 are all pixels of 8x6, 1 1 1 1 is the first one."""
    found = read({"0.xml": xml(("cat", 1, 1, 8, 6), ("cat", 1, 1, 1, 1), source=source)}, {"0.png": SIZE})
    assert found.objects["train"]["0.png"] == ["cat 0 0 8 6", "cat 0 0 1 1"]
    assert found.problems == []
    assert found.export.notes[-1] == "pixels are counted from 1, as in Pascal VOC's own files"


def test_difficult_objects_are_crowds_and_images_without_objects_belong_to_it(read: ReadExport) -> None:
    files = {"annotations/0.xml": xml(("cat", 1, 2, 5, 6), difficult="1"), "annotations/1.xml": xml(size=None)}
    found = read(files, {"images/0.png": SIZE, "images/1.png": SIZE})
    assert found.objects == {"train": {"images/0.png": ["cat 1 2 5 6 crowd"], "images/1.png": []}}
    assert found.problems == []


def test_a_size_of_another_image_is_a_problem_and_a_size_of_0_is_none(read: ReadExport) -> None:
    files = {"0.xml": xml(("cat", 1, 2, 5, 6), size=(6, 8)), "1.xml": xml(("cat", 1, 2, 5, 6), size=(0, 0))}
    found = read(files, {"0.png": SIZE, "1.png": SIZE})
    (problem,) = found.problems
    assert problem.startswith("0.xml: made for an image of 6x8 pixels, but 0.png has 8x6 (upright)")


def test_splits_are_vocs_own_lists(read: ReadExport) -> None:
    """0 and 1 are listed, 2 is not; cat_train.txt has the images' labels, trainval.txt both splits."""
    files = {f"Annotations/{i}.xml": xml(("cat", 1, 2, 5, 6)) for i in range(3)}
    lists = {"train": "0\n", "val": "1\r\n", "cat_train": "0 -1\n", "trainval": "0\n1\n"}
    files |= {f"ImageSets/Main/{name}.txt": text for name, text in lists.items()}
    found = read(files, {f"JPEGImages/{i}.jpg": SIZE for i in range(4)})
    assert {split: list(images) for split, images in found.objects.items()} == {
        "train": ["JPEGImages/0.jpg"],
        "val": ["JPEGImages/1.jpg"],
    }
    assert found.export.notes[1:] == [
        "splits are those of ImageSets/Main/train.txt, ImageSets/Main/val.txt",
        "1 annotation(s) that no list of a split names are left out",
    ]
    assert found.problems == []


def test_trainval_is_the_training_list_where_there_is_no_other(read: ReadExport) -> None:
    files = {f"annotations/{i}.xml": xml(("cat", 1, 2, 5, 6)) for i in range(2)}
    found = read(
        {**files, "trainval.txt": "0\n", "test.txt": "images/1.jpg\n"}, {f"images/{i}.jpg": SIZE for i in (0, 1)}
    )
    assert {split: list(images) for split, images in found.objects.items()} == {
        "train": ["images/0.jpg"],
        "test": ["images/1.jpg"],
    }


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "0\n", "val": "0\n"}, "val.txt: 0 is listed for train too; list each image once"),
        ({"train": "0\n7\n"}, "train.txt: names images that are not there: 7; copy them there, or correct it"),
    ],
)
def test_lists_that_contradict_themselves_or_the_files_are_refused(
    read: ReadExport, lists: dict[str, str], message: str
) -> None:
    files = {"0.xml": xml(("cat", 1, 2, 5, 6)), **{f"{name}.txt": text for name, text in lists.items()}}
    with pytest.raises(InputError, match=message):
        read(files, {"0.png": SIZE})


def test_splits_are_roboflows_folders(read: ReadExport) -> None:
    files = {f"{folder}/0.xml": xml(("cat", 1, 2, 5, 6)) for folder in ("train", "valid", "test")}
    found = read(files, {f"{folder}/0.jpg": SIZE for folder in ("train", "valid", "test")})
    assert {split: list(images) for split, images in found.objects.items()} == {
        "train": ["train/0.jpg"],
        "val": ["valid/0.jpg"],
        "test": ["test/0.jpg"],
    }


def test_an_annotation_without_image_and_the_reverse_are_problems(read: ReadExport) -> None:
    found = read({"0.xml": xml(("cat", 1, 2, 5, 6)), "1.xml": xml()}, {"0.png": SIZE, "2.png": SIZE})
    assert found.problems == [
        "1.xml: no image 1.* in ; copy it there, or remove its annotation",
        "2.png: no annotation 2.xml; annotate it, also where it has no object, or remove the image",
    ]


def test_what_is_wrong_with_files_and_objects_is_listed(read: ReadExport) -> None:
    """As in BCCD: boxes whose corners are one point; and the usual others."""
    boxes = [
        ("RBC", 5, 5, 5, 5),
        ("RBC", 5, 2, 3, 4),
        ("", 1, 2, 3, "x"),
        ("RBC", 1, 2, 3, "nan"),
        ("RBC", 1, 2, 90, 4),
    ]
    files = {"0.xml": xml(*boxes), "1.xml": "<annotation><object>", "2.xml": "<!DOCTYPE a><annotation></annotation>"}
    found = read(files, {f"{i}.png": SIZE for i in range(3)})
    assert found.problems == [
        "0.xml object 3: has no class, ymax is 'x', expected a number; correct it, or remove the object",
        "0.xml object 1: RBC's box 5 5 5 5 has no area; draw it anew, or remove it",
        "0.xml object 2: RBC's box 5 2 3 4 has x1 > x2, expected x1 y1 x2 y2 in pixels; swap them if they are corners, "
        "or write corners if they are a corner and a size",
        "0.xml object 4: RBC's box 1 2 3 nan has a coordinate that is not a number; draw it anew",
        "0.xml object 5: RBC's box 1 2 90 4 reaches beyond its image of 8x6 pixels; cut it to the image, or "
        "draw it anew",
        "1.xml line 1: cannot be read as XML (no element found at column 20); export it again",
        "2.xml: cannot be read as XML (a DOCTYPE is refused); export it again",
    ]


def test_names_may_be_in_another_case_and_two_images_of_one_stem_are_not_guessed_at(read: ReadExport) -> None:
    files = {"IMG_1.xml": xml(("cat", 1, 2, 5, 6)), "b.xml": xml(("cat", 1, 2, 5, 6))}
    found = read(files, {"img_1.JPG": SIZE, "b.png": SIZE, "b.jpg": SIZE})
    assert found.objects["train"]["img_1.JPG"] == ["cat 1 2 5 6"]
    assert "b.xml: b.* may be any of b.jpg, b.png; rename or remove all but one" in found.problems


def test_of_several_images_of_a_stem_the_one_that_is_named_is_meant(read: ReadExport) -> None:
    named = xml(("cat", 1, 2, 5, 6)).replace("<path>", "<filename>0.jpg</filename><path>")
    found = read({"0.xml": named}, {"0.jpg": SIZE, "thumbnails/0.png": SIZE})
    assert found.objects == {"train": {"0.jpg": ["cat 1 2 5 6"]}}


def test_masks_are_not_taken_for_images(read: ReadExport) -> None:
    """As in VOC itself and in Oxford's pets, where they lie closer to the annotations than the images do."""
    masks = {f"{folder}/0.png": SIZE for folder in ("SegmentationClass", "SegmentationObject", "Annotations/trimaps")}
    found = read({"Annotations/0.xml": xml(("cat", 1, 2, 5, 6))}, {"JPEGImages/0.jpg": SIZE, **masks})
    assert (found.objects, found.problems) == ({"train": {"JPEGImages/0.jpg": ["cat 1 2 5 6"]}}, [])
    assert found.export.notes[-1] == (
        "3 picture(s) that are masks by their folder are no images, such as Annotations/trimaps/0.png, "
        "SegmentationClass/0.png, SegmentationObject/0.png"
    )


def test_photographs_of_masks_are_images(read: ReadExport) -> None:
    found = read({"masks/0.xml": xml(("mask", 1, 2, 5, 6))}, {"masks/0.jpg": SIZE})
    assert found.objects == {"train": {"masks/0.jpg": ["mask 1 2 5 6"]}}
