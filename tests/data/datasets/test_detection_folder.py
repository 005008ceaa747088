"""Exports of annotation tools as a dataset: splits, negatives, crowds, and every kind of bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import DetectionFolder
from visiontasks.data.datasets.detection_folder import ObjectSource
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

WriteCOCO = Callable[..., Path]
SIZE = (80, 60)


@pytest.fixture
def coco(tmp_path: Path) -> WriteCOCO:
    """`coco([["cat 1 2 5 5"], []])`: an export with the images 0.png, 1.png, ... of 80x60 and these objects, as class
    and x, y, width, height, with "crowd" behind it where it is one.
    """

    def write(
        images: list[list[str]],
        *,
        folder: str = "",
        names: tuple[str, ...] = ("cat", "dog"),
        change: Callable[[dict[str, Any]], object] = lambda content: None,
    ) -> Path:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        rows = []
        for number, objects in enumerate(images):
            colour = (50 * number % 256, 99, len(folder))
            Image.new("RGB", SIZE, colour).save(tmp_path / folder / f"{number}.png")
            for words in map(str.split, objects):
                box = [float(word) for word in words[1:5]]
                row = {"image_id": number, "category_id": names.index(words[0]), "bbox": box, "iscrowd": len(words) > 5}
                rows.append({"id": len(rows), **row})
        content = {
            "images": [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 60} for i in range(len(images))],
            "annotations": rows,
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        }
        change(content)
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(content))
        return tmp_path

    return write


def source(data: DetectionFolder, split: str) -> ObjectSource:
    found = data.source(split)
    assert isinstance(found, ObjectSource)
    return found


def problems(data: DetectionFolder) -> list[str]:
    """The lines behind the headline, without the folder."""
    with pytest.raises(BadSamplesError) as raised:
        data.setup()
    return str(raised.value).replace(f"{data.root}/", "").splitlines()[1:-1]


def test_objects_negatives_and_crowds_of_each_split_and_the_format_as_a_note(coco: WriteCOCO) -> None:
    coco([["cat 1 2 4 3", "dog 0 0 80 60 crowd"], [], ["dog 10.5 20 30 40"]], folder="train")
    root = coco([["dog 1 2 4 3"]], folder="valid")
    data = DetectionFolder(str(root), val_fraction=0.5)
    data.setup()
    assert data.split_sizes == {"train": 3, "val": 1}
    assert data.class_names == ["cat", "dog"]
    train = source(data, "train")
    assert [Path(path).name for path in train.paths] == ["0.png", "1.png", "2.png"]
    rows = [train.annotation(row) for row in range(3)]
    assert [row["boxes"].tolist() for row in rows] == [[[1, 2, 5, 5], [0, 0, 80, 60]], [], [[10.5, 20, 40.5, 60]]]
    assert [row["labels"].tolist() for row in rows] == [[0, 1], [], [1]]
    assert [row["crowd"].tolist() for row in rows] == [[False, True], [], [False]]
    assert data.class_counts == [1, 1]
    assert data.notes == ["format: COCO: train/_annotations.coco.json has the lists images, annotations, categories"]


def test_a_batch_has_lists_in_pixels_of_its_images(coco: WriteCOCO) -> None:
    """80x60 to 40x30 halves every number."""
    root = coco([["cat 10 20 4 6"], []], folder="train")
    coco([["cat 1 2 4 3"]], folder="valid")
    data = DetectionFolder(str(root), image_size=(30, 40), batch_size=2, num_workers=0, seed=0)
    data.setup()
    batch = data.batch("train", [(0, 0), (0, 1)])
    assert batch["image"].shape == (2, 3, 30, 40)
    assert [boxes.tolist() for boxes in batch["boxes"]] == [[[5, 10, 7, 13]], []]
    assert [labels.tolist() for labels in batch["labels"]] == [[0], []]
    assert [crowd.tolist() for crowd in batch["crowd"]] == [[False], []]


def test_what_is_missing_is_split_off_by_classes_and_negatives(coco: WriteCOCO) -> None:
    images = [["cat 1 2 4 3"]] * 10 + [["dog 1 2 4 3"]] * 5 + [[]] * 5
    data = DetectionFolder(str(coco(images)))
    data.setup()
    assert data.split_sizes == {"train": 12, "val": 4, "test": 4}
    for split, number in (("train", 3), ("val", 1), ("test", 1)):
        assert data.count_classes(data.source(split)).tolist() == [2 * number, number], split
    again = DetectionFolder(str(data.root), seed=9)
    again.setup()
    assert source(again, "test").paths.tolist() == source(data, "test").paths.tolist()


def test_an_object_that_is_written_twice_is_taken_once_with_a_note(coco: WriteCOCO) -> None:
    boxes = ["cat 1 2 4 3", "dog 1 2 4 3", "cat 1 2 4 3", "cat 1 2 4 3 crowd", "cat 1 2 4 3"]
    data = DetectionFolder(str(coco([boxes, []])), test_fraction=1.0)
    data.setup()
    assert source(data, "test").annotation(0)["labels"].tolist() == [0, 1, 0]
    assert data.notes[1].replace(f"{data.root}/", "") == (
        "2 object(s) are written twice and taken once (such as _annotations.coco.json annotation 2)"
    )


def test_boxes_are_cut_to_the_image_where_rounding_explains_it(coco: WriteCOCO) -> None:
    data = DetectionFolder(str(coco([["cat -0.4 0 80.8 60.4"], []])), test_fraction=1.0)
    data.setup()
    assert source(data, "test").boxes.tolist() == [[0, 0, 80, 60]]


def test_the_format_is_forced_by_the_option(coco: WriteCOCO) -> None:
    root = coco([["cat 1 2 4 3"], []])
    (root / "0.txt").write_text("0 0.5 0.5 1 1\n")
    (root / "classes.txt").write_text("bird\n")
    with pytest.raises(InputError, match=r"annotations in 2 formats: COCO \(.*\); YOLO \(.*\); choose one with"):
        DetectionFolder(str(root), test_fraction=1.0).setup()
    for name, classes, count in (("coco", ["cat", "dog"], [1, 0]), ("yolo", ["bird"], [1])):
        data = DetectionFolder(str(root), format=name, test_fraction=1.0)  # type: ignore[arg-type]
        data.setup()
        assert (data.class_names, data.count_classes(data.source("test")).tolist()) == (classes, count)
    with pytest.raises(InputError, match="data.init_args.format: 'coc', expected one of coco, voc, yolo"):
        DetectionFolder(str(root), format="coc")  # type: ignore[arg-type]


def spoil(content: dict[str, Any]) -> None:
    """Faults of the file itself, beside those of its boxes."""
    content["annotations"] += [
        {"id": 90, "image_id": 77, "category_id": 0, "bbox": [1, 1, 2, 2]},
        {"id": 91, "image_id": 7, "category_id": 55, "bbox": [1, 1, 2, 2]},
        {"id": 92, "image_id": 7, "category_id": 0, "bbox": [1, float("nan"), 2, 2]},
    ]
    content["images"].append({"id": 60, "file_name": "gone.png"})
    content["images"] = [row for row in content["images"] if row["id"] != 8]


BAD = [
    ["cat 1 2 4 3"],
    ["cat 70 2 20 3"],
    ["cat 10 2 -4 3"],
    ["cat 1 2 4 0"],
    ["cat 1 2 0.5 3"],
    ["dog 1 2 4 3"],
    [],
    [],
    [],
]
LINES = [
    "_annotations.coco.json annotation 1: cat's box 70 2 20 3 reaches beyond its image of 80x60 pixels; cut it to the "
    "image, or draw it anew",
    "_annotations.coco.json annotation 2: cat's box 10 2 -4 3 has a width below 0, expected xywh in "
    "pixels; draw it anew",
    "_annotations.coco.json annotation 3: cat's box 1 2 4 0 has no area; draw it anew, or remove it",
    "_annotations.coco.json annotation 4: cat's box 1 2 0.5 3 is under a pixel wide or high in its image "
    "of 80x60; draw "
    "it anew, or remove it",
    "_annotations.coco.json annotation 90: image_id 77 is not among the file's images; add the image, or remove the "
    "annotation",
    "_annotations.coco.json annotation 91: category_id 55 is not among the file's categories; add the category, or "
    "remove the annotation",
    "_annotations.coco.json annotation 92: cat's box 1 nan 2 2 has a coordinate that is not a number; draw it anew",
    "_annotations.coco.json image 60: no image gone.png in ; copy it there, or remove its annotation",
    "8.png: no annotation in _annotations.coco.json; annotate it, also where it has no object, or remove the image",
]


def test_all_that_is_wrong_is_listed_at_once(coco: WriteCOCO) -> None:
    data = DetectionFolder(str(coco(BAD, change=spoil)), test_fraction=1.0)
    assert sorted(problems(data)) == sorted(LINES)


def test_skip_leaves_out_what_is_bad_and_counts_it(coco: WriteCOCO) -> None:
    """Of 8 listed images, one that is gone, one that is not listed and one that only an annotation names 3 are good."""
    data = DetectionFolder(str(coco(BAD, change=spoil)), test_fraction=1.0, on_bad_sample="skip")
    data.setup()
    assert sorted(Path(path).name for path in source(data, "test").paths) == ["0.png", "5.png", "6.png"]
    assert data.skipped == {"test": 8}


def test_faults_of_the_whole_dataset_are_listed_with_those_of_its_samples(coco: WriteCOCO) -> None:
    coco([["cat 1 2 4 3"], ["cat 70 2 20 3"], []], folder="train", names=("cat",))
    root = coco([["dog 1 2 4 3"]], folder="valid")
    coco([["cow 1 2 4 3"]], folder="test", names=("cow",))
    lines = problems(DetectionFolder(str(root)))
    assert len(lines) == 2
    assert lines[0].startswith("train/_annotations.coco.json annotation 1: cat's box 70 2 20 3 reaches beyond")
    assert lines[1].startswith(
        "data.init_args.root: classes that the train split does not have: cow (test/_annotations.coco.json annotation "
        "0); dog (valid/_annotations.coco.json annotation 0); expected some of cat: add training images of them"
    )


def test_a_class_only_in_test_is_refused_though_the_export_lists_it(coco: WriteCOCO) -> None:
    coco([["cat 1 2 4 3"], []], folder="train")
    coco([["cat 1 2 4 3"]], folder="valid")
    root = coco([["dog 1 2 4 3"]], folder="test")
    with pytest.raises(InputError, match=r"the test split has objects of classes without a training object: dog \(1\)"):
        DetectionFolder(str(root)).setup()


def test_no_object_in_the_training_split_is_refused(coco: WriteCOCO) -> None:
    coco([[], []], folder="train")
    root = coco([["cat 1 2 4 3"]], folder="valid")
    with pytest.raises(
        InputError, match=r"no object in the 2 training images of .*/, expected at least one \(format: C"
    ):
        DetectionFolder(str(root)).setup()
    coco([["cat 1 2 4 3 crowd"], []], folder="train")
    coco([[]], folder="valid")
    with pytest.raises(InputError, match="no object that is no crowd in the 2 training images, expected at least one"):
        DetectionFolder(str(root)).setup()


@pytest.mark.parametrize("on_bad_sample", ["error", "skip"])
def test_shares_where_pixels_were_expected_are_refused_with_the_option(coco: WriteCOCO, on_bad_sample: Any) -> None:
    root = coco([["cat 0.1 0.2 0.5 0.5"], ["dog 0.25 0.1 0.5 0.5"], ["cat 0 0 1 1"]])
    message = "3 of 3 boxes do not fit their images as xywh in pixels .* set data.init_args.box_unit: fraction"
    with pytest.raises(InputError, match=message):
        DetectionFolder(str(root), test_fraction=1.0, on_bad_sample=on_bad_sample).setup()
    data = DetectionFolder(str(root), test_fraction=1.0, box_unit="fraction")
    data.setup()
    np.testing.assert_allclose(source(data, "test").annotation(0)["boxes"], [[8, 12, 48, 42]], rtol=1e-6)


def test_corners_where_a_size_was_expected_are_refused_with_the_option(coco: WriteCOCO) -> None:
    root = coco([["cat 40 30 70 50"], ["cat 50 30 75 55"], ["cat 60 40 79 59"]])
    with pytest.raises(
        InputError, match="3 of 3 boxes do not fit .* fit as xyxy in pixels; set data.init_args.box_for"
    ):
        DetectionFolder(str(root), test_fraction=1.0).setup()


def test_an_image_that_cannot_be_read_is_listed(coco: WriteCOCO) -> None:
    root = coco([["cat 1 2 4 3"], []])
    (root / "1.png").write_bytes(b"GIF89a")
    (line,) = problems(DetectionFolder(str(root), test_fraction=1.0))
    assert line.startswith("1.png: ")


def test_a_box_in_fractions_beyond_the_edge_by_no_more_than_rounding_has_no_area_left(tmp_path: Path) -> None:
    """Of 2,000 pixels a thousandth is 2: the box from 2000 to 2001.9 lies outside."""
    Image.new("RGB", (2000, 100)).save(tmp_path / "0.png")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "0.txt").write_text("0 1.000475 0.5 0.00095 1\n")
    (line,) = problems(DetectionFolder(str(tmp_path), test_fraction=1.0))
    assert "reaches beyond its image of 2000x100 pixels" in line


@pytest.mark.parametrize("missing", ["folder", "annotations", "images"])
def test_a_folder_without_one_of_both_is_refused(coco: WriteCOCO, missing: str) -> None:
    root = coco([["cat 1 2 4 3"]])
    if missing == "annotations":
        (root / "_annotations.coco.json").unlink()
    if missing == "images":
        (root / "0.png").unlink()
    message = {
        "folder": "no folder .*/there/: point --data.init_args.root at your images and annotations",
        "annotations": r"no annotations in .*/ that are recognized, expected an export as COCO \(coco\), Pascal VOC",
        "images": "has annotations as COCO, but no images: expected 0.png; copy the images there",
    }[missing]
    with pytest.raises(MissingFileError, match=message):
        DetectionFolder(str(root / "there" if missing == "folder" else root)).setup()


def test_too_few_images_to_be_split_are_refused_after_what_is_wrong_with_them(coco: WriteCOCO) -> None:
    root = coco([["cat 1 2 4 3"], ["dog 1 2 4 3"]])
    with pytest.raises(
        InputError, match="has too few images of each class to be split into train, val, test; add"
    ) as error:
        DetectionFolder(str(root)).setup()
    assert str(error.value).endswith(
        "in folders of these names: 2 images of 2 classes, each of which needs a training image"
    )
    coco([["cat 1 2 4 3"], ["dog 70 2 20 3"]])
    assert len(problems(DetectionFolder(str(root)))) == 1


def test_classes_of_a_run_are_matched_by_name(coco: WriteCOCO) -> None:
    """Data to evaluate on that has only dogs, as its class 0."""
    root = coco([["dog 1 2 4 3"]], names=("dog",))
    data = DetectionFolder(str(root), test_fraction=1.0, classes=["cat", "dog"])
    data.setup()
    assert source(data, "test").annotation(0)["labels"].tolist() == [1]


def test_groups_are_not_divided_and_each_part_has_each_class(coco: WriteCOCO) -> None:
    """By 0.png to 39.png in groups of two by a table: 20 groups of cats, dogs, both and nothing."""
    kinds = [["cat 1 2 4 3"], ["dog 1 2 4 3"], ["cat 1 2 4 3", "dog 1 2 4 3"], []]
    root = coco([kinds[row // 2 % 4] for row in range(40)])
    (root / "places.csv").write_text("file,place\n" + "".join(f"{row}.png,{row // 2}\n" for row in range(40)))
    for options in ({}, {"fold": "2/5"}):
        data = DetectionFolder(str(root), groups=f"{root}/places.csv:place", **options)
        data.setup()
        assert data.split_sizes["test"] == 8
        found = [{int(Path(path).stem) // 2 for path in source(data, split).paths} for split in data.split_sizes]
        assert sum(map(len, found)) == 20
        assert data.made_splits == {"val", "test"}
        assert all(data.count_classes(data.source(split)).min() >= 2 for split in data.split_sizes)
