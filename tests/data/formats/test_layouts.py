"""Formats are recognized by what is in their files."""

import re
from pathlib import Path

import pytest

from visiontasks.data.formats.layouts import file_name_classes, layout_hint, part_folders


def write(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("labels/train/0.txt", "0 0.5 0.5 0.25 0.25\n", "YOLO's format .*: recipe folder_detect with --data.root "),
        ("labels/0.txt", "3 0.1 0.2 0.3 0.4 0.5 0.6", "YOLO's format .* convert it"),
        (
            "train/_annotations.coco.json",
            '{"images": []}',
            "COCO's format: recipe folder_detect with .*; for one box .* folder_localize with --data COCOBoxes",
        ),
        (
            "all/a.xml",
            "<annotation></annotation>",
            "Pascal VOC's format: recipe folder_detect .*--data.annotations all",
        ),
        (
            "train.csv",
            "\ufeffimage_id;label\n0.jpg;1\n",
            r"train.csv is a CSV file of labels \(columns image_id;label\)",
        ),
        (
            "b.csv",
            "filename,class,xmin,ymin,xmax,ymax\n",
            "b.csv is a table of boxes: recipe folder_detect .* --data CSVBoxes --data.csv b.csv",
        ),
    ],
)
def test_a_format_is_named_with_the_way(tmp_path: Path, name: str, text: str, hint: str) -> None:
    write(tmp_path, name, text)
    assert re.search(hint, layout_hint(tmp_path))


def test_the_files_of_coco_are_named_by_their_splits(tmp_path: Path) -> None:
    for split in ("test", "train", "valid"):
        write(tmp_path, f"{split}/_annotations.coco.json", '{"images": []}')
    given = (
        '{"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json", '
        '"test": "test/_annotations.coco.json"}'
    )
    assert layout_hint(tmp_path).endswith(f"--data COCOBoxes --data.splits '{given}'")


def test_captions_are_no_boxes(tmp_path: Path) -> None:
    for name in ("captions_train2017", "instances_train2017", "instances_val2017"):
        write(tmp_path, f"annotations/{name}.json", '{"images": []}')
    given = '{"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"}'
    assert layout_hint(tmp_path).endswith(f"--data.splits '{given}'")


def test_annotations_of_voc_in_several_folders_are_to_be_moved_into_one(tmp_path: Path) -> None:
    for split in ("test", "train"):
        write(tmp_path, f"{split}/a.xml", "<annotation></annotation>")
    assert "test/, " in layout_hint(tmp_path)
    assert "move all XML files into annotations/" in layout_hint(tmp_path)


def test_images_of_a_table_are_sorted_where_they_lie(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", "image_id,label\n0.jpg,1\n")
    write(tmp_path, "test_images/9.jpg")
    write(tmp_path, "train_images/0.jpg")
    assert layout_hint(tmp_path).endswith(f"one folder for each label, {tmp_path}/train_images/<label>/")


def test_boxes_beside_their_images_name_both_folders(tmp_path: Path) -> None:
    write(tmp_path, "a.xml", "<annotation></annotation>")
    write(tmp_path, "a.jpg")
    assert layout_hint(tmp_path).endswith("image folder_localize with --data.annotations . --data.images .")


def test_several_folders_of_masks_are_taken_for_splits_with_other_names(tmp_path: Path) -> None:
    for part in ("a/images", "a/masks"):
        (tmp_path / part).mkdir(parents=True)
    assert layout_hint(tmp_path).endswith(f"with --data.root {tmp_path / 'a'}, and the folders images/ and masks/")
    for part in ("b/images", "b/masks"):
        (tmp_path / part).mkdir(parents=True)
    assert layout_hint(tmp_path).endswith(
        "/b/ hold images and masks: recipe folder_segment, and the names train/, val/ and test/ for them"
    )


@pytest.mark.parametrize("text", ["a cat on a mat", "1 2", "", "\x00\xff"])
def test_other_texts_are_no_format(tmp_path: Path, text: str) -> None:
    write(tmp_path, "notes.txt", text)
    write(tmp_path, "numbers.csv", text)
    write(tmp_path, "a.json", text)
    assert layout_hint(tmp_path) == ""


def test_folders_of_parts_are_no_classes() -> None:
    assert part_folders(["JPEGImages", "Annotations", "cat"]) == ["JPEGImages", "Annotations"]
    assert part_folders(["images", "cat"]) == []


def test_names_that_differ_in_all_letters_are_no_classes(tmp_path: Path) -> None:
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        write(tmp_path, name)
    assert file_name_classes(tmp_path) == ""
