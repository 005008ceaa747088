"""COCO's files of instances, and the mistakes in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visiontasks.data import COCOBoxes
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

WriteImages = Callable[..., Path]
WriteJSON = Callable[..., Path]
CAT, DOG = {"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}


def instance(image: int, box: Any = (1, 2, 4, 3), *, category: int = 7, **others: Any) -> dict[str, Any]:
    return {"id": 100 + image, "image_id": image, "category_id": category, "bbox": list(box), **others}


@pytest.fixture
def written(tmp_path: Path, write_images: WriteImages) -> WriteJSON:
    """`written("instances.json", [instance(0)])`: root with that file and the images i.png of 8x6 that it speaks of."""

    def write(
        name: str,
        annotations: list[dict[str, Any]],
        *,
        categories: tuple[dict[str, Any], ...] = (CAT,),
        folder: str = "images",
        **others: Any,
    ) -> Path:
        rows = sorted({row["image_id"] for row in annotations})
        write_images(tmp_path / folder, max(rows, default=0) + 1)
        content = {
            "images": [{"id": row, "file_name": f"{row}.png", "width": 8, "height": 6} for row in rows],
            "annotations": annotations,
            "categories": list(categories),
        }
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({**content, **others}))
        return tmp_path

    return write


def opened(data: COCOBoxes, split: str) -> BoxSource:
    data.setup()
    source = data.source(split)
    assert isinstance(source, BoxSource)
    return source


def problems(data: COCOBoxes) -> list[str]:
    with pytest.raises(BadSamplesError) as raised:
        data.setup()
    return str(raised.value).replace(f"{data.root}/", "").splitlines()[1:-1]


def test_boxes_become_corners_and_classes_follow_their_ids(written: WriteJSON) -> None:
    rows = [instance(0, [1.5, 2, 4, 3]), instance(1, category=3), instance(2), instance(2, [0, 0, 8, 6], category=3)]
    root = written("annotations/instances_train2017.json", rows, categories=(CAT, DOG))
    written("annotations/instances_val2017.json", [instance(9)], categories=({"id": 7, "name": "dog"},))
    data = COCOBoxes(str(root))
    train = opened(data, "train")
    assert data.class_names == ["dog", "cat"]
    assert train.labels.tolist() == [1, 0, 0]
    assert train.boxes.tolist() == [[1.5, 2, 5.5, 5], [1, 2, 5, 5], [0, 0, 8, 6]]
    assert opened(data, "val").labels.tolist() == [0]


def test_one_file_is_divided(written: WriteJSON) -> None:
    for name in ("instances.json", "annotations/instances.json"):
        root = written(name, [instance(i) for i in range(10)])
        data = COCOBoxes(str(root))
        data.setup()
        assert data.split_sizes == {"train": 6, "val": 2, "test": 2}
        (root / name).unlink()


@pytest.mark.parametrize("folder", ["train2017", "images/train2017", "images", ".", "annotations"])
def test_images_are_found_in_the_usual_folders(written: WriteJSON, folder: str) -> None:
    root = written("annotations/instances_train2017.json", [instance(i) for i in range(5)], folder=folder)
    assert Path(str(opened(COCOBoxes(str(root)), "val").paths[0])).parent == root / folder


def test_each_split_may_have_a_folder_with_its_file(written: WriteJSON) -> None:
    written("train/_annotations.coco.json", [instance(0)], folder="train")
    root = written("valid/_annotations.coco.json", [instance(0)], folder="valid")
    data = COCOBoxes(str(root), splits={"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json"})
    assert opened(data, "val").paths.tolist() == [str(root / "valid/0.png")]


def test_crowds_are_left_out(written: WriteJSON) -> None:
    rows = [instance(i) for i in range(4)] + [instance(0, [0, 0, 8, 6], iscrowd=1), instance(4, iscrowd=1)]
    data = COCOBoxes(str(written("instances.json", rows)), on_bad_sample="skip")
    data.setup()
    boxes = np.concatenate([opened(data, split).boxes for split in data.split_sizes])
    assert boxes.tolist() == [[1, 2, 5, 5]] * 4
    assert sum(data.skipped.values()) == 1


def test_corners_in_place_of_width_and_height_are_refused_and_read_by_the_option(written: WriteJSON) -> None:
    root = str(written("instances.json", [instance(i, [1, 3, 4 + i, 6]) for i in range(5)]))  # corners in 8x6
    with pytest.raises(InputError, match="5 of 5 boxes .* as xywh in pixels .* but 5 fit as xyxy in pixels; set data"):
        COCOBoxes(root, test_fraction=1.0).setup()
    data = COCOBoxes(root, box_format="xyxy", test_fraction=1.0)
    assert opened(data, "test").boxes.tolist() == [[1, 3, 4 + i, 6] for i in range(5)]


def test_all_faults_are_listed_with_their_annotation(written: WriteJSON) -> None:
    rows = [
        instance(0),
        instance(1, [1, 2, -1, 3]),
        instance(2, [1, 2, 0, 3]),
        instance(3, [1, 2, 8, 3]),
        instance(4, [1, 2, float("nan"), 3]),
        instance(5, ["a", None, 2, 3]),
        instance(6, [1, 2, 3]),
        instance(7, category=9),
        instance(8, iscrowd=1),
        instance(9),
        instance(10, [1, 2, 10**30, 3]),
    ]
    del rows[6]["id"]
    root = written("instances.json", rows)
    (root / "images/9.png").unlink()
    beyond = "reaches beyond its image of 8x6 pixels; cut it to the image, or draw it anew"
    assert problems(COCOBoxes(str(root), test_fraction=1.0)) == [
        "instances.json annotation 101: cat's box 1 2 -1 3 has a width below 0, expected xywh in pixels; draw it anew",
        "instances.json annotation 102: cat's box 1 2 0 3 has no area; draw it anew, or remove it",
        f"instances.json annotation 103: cat's box 1 2 8 3 {beyond}",
        "instances.json annotation 104: cat's box 1 2 nan 3 has a coordinate that is not a number; draw it anew",
        "instances.json annotation 105: x is 'a', expected a number, has no y; correct it, or remove the object",
        "instances.json annotation number 7: bbox is [1, 2, 3], expected x, y, width, height; correct it, or remove "
        "the annotation",
        "instances.json annotation 107: category_id 9 is not among the file's categories; add the category, or "
        "remove the annotation",
        "instances.json: no object in images/8.png; draw its box, or remove the image",
        "instances.json image 9: no image 9.png in , instances/, images/instances/, images/, ; copy it there, or "
        "remove the entry",
        f"instances.json annotation 110: cat's box 1 2 1e+30 3 {beyond}",
    ]


def test_a_category_without_instances_has_to_be_named_away(written: WriteJSON) -> None:
    root = str(written("instances.json", [instance(i) for i in range(5)], categories=(CAT, DOG)))
    with pytest.raises(InputError, match=r"no training object of dog, .*only the classes that there are \(data.init_"):
        COCOBoxes(root).setup()
    assert opened(COCOBoxes(root, classes=["cat"]), "train").labels.tolist() == [0, 0, 0]


def test_an_image_of_another_size_than_annotated_is_listed(written: WriteJSON) -> None:
    image = {"id": 0, "file_name": "0.png", "width": 6, "height": 8}
    root = written("instances.json", [instance(0)], images=[image])
    (line,) = problems(COCOBoxes(str(root), test_fraction=1.0))
    assert line.startswith("instances.json: made for an image of 6x8 pixels, but images/0.png has 8x6 (upright); ")


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"info": {}, "images": None}, "no list images, expected COCO instances with the lists categories, images, an"),
        ({"images": [1]}, "no list images, expected COCO instances"),
        ({"images": [{"id": 0}]}, r'in images {"id": 0} has no file_name as in COCO\'s files; correct it'),
        ({"categories": [{}]}, "in categories {} has no id and no name as in COCO's files"),
        ({"categories": [CAT, {"id": 8, "name": "cat"}]}, "categories share a name or an id: cat, cat"),
        ({"categories": [CAT, {"id": 7, "name": "cow"}]}, "categories share a name or an id: cat, cow"),
        ({"images": [{"id": 0, "file_name": "0.png"}] * 2}, "images share an id"),
        ({"images": [{"id": 5, "file_name": "0.png"}]}, "annotations of images that it does not list: image_id 0"),
        ({"images": [{"id": i, "file_name": "0.png"} for i in (0, 1)]}, r"images listed twice: .*0.png \(test, t"),
    ],
)
def test_a_broken_file_is_refused(written: WriteJSON, others: dict[str, Any], message: str) -> None:
    root = written("instances.json", [instance(0)], **others)
    with pytest.raises(InputError, match=message):
        COCOBoxes(str(root), test_fraction=1.0).setup()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(InputError, match=r"instances.json: cannot be read as JSON .*; export it again"):
        COCOBoxes(str(tmp_path)).setup()


def test_several_files_for_a_split_are_refused(written: WriteJSON) -> None:
    written("annotations/instances_train2014.json", [instance(0)])
    root = written("annotations/instances_train2017.json", [instance(1)])
    with pytest.raises(InputError, match="several files for a split: instances_train2014.json, instances_t"):
        COCOBoxes(str(root)).setup()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no .*/annotations/instances_train\*.json and no instances.json there"):
        COCOBoxes(str(tmp_path)).setup()
    with pytest.raises(MissingFileError, match=r"data.init_args.splits: no file .*/a.json"):
        COCOBoxes(str(tmp_path), splits={"test": "a.json"}).setup()


def test_an_export_of_roboflow_is_read_without_its_empty_parent(written: WriteJSON) -> None:
    parent = {"id": 0, "name": "animals", "supercategory": "none"}
    categories = (parent, {**CAT, "supercategory": "animals"})
    for split, number in (("train", 3), ("valid", 2), ("test", 1)):
        rows = [instance(i) for i in range(number)]
        root = written(f"{split}/_annotations.coco.json", rows, categories=categories, folder=split)
    data = COCOBoxes(str(root))
    assert opened(data, "train").labels.tolist() == [0, 0, 0]
    assert data.split_sizes == {"train": 3, "val": 2, "test": 1}
    assert data.class_names == ["cat"]


def test_a_parent_with_instances_is_a_class(written: WriteJSON) -> None:
    rows = [instance(0, category=7), instance(1, category=3), instance(2, category=7), instance(3, category=3)]
    root = written("instances.json", rows, categories=(DOG, {**CAT, "supercategory": "dog"}))
    assert COCOBoxes(str(root)).class_names == ["dog", "cat"]
