"""What all box datasets do, shown with CSVBoxes: the objects taken, the bad samples, the splits."""

from collections.abc import Callable
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from PIL import Image

from visiontasks.data import CSVBoxes
from visiontasks.data.datasets.boxes import BoxSource, Multiple
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

# Images are 8 pixels wide and 6 high.
WriteTable = Callable[[dict[str, list[str]]], Path]
GOOD = "cat,1,1,5,4"


@pytest.fixture
def table(tmp_path: Path) -> WriteTable:
    """`table({"train/a.png": ["cat,1,1,5,4"]})`: a root with images and objects, divided by folders' names."""

    def write(images: dict[str, list[str]]) -> Path:
        lines = ["split,path,label,x1,y1,x2,y2"]
        for name, objects in images.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 6)).save(tmp_path / name)
            lines += [f"{Path(name).parent},{name},{line}" for line in objects]
        (tmp_path / "boxes.csv").write_text("\n".join(lines))
        return tmp_path

    return write


def whole(table: WriteTable, labels: list[str]) -> Path:
    """A dataset without splits of its own: image i has label i."""
    return table({f"train/{i}.png": [f"{label},1,1,5,4"] for i, label in enumerate(labels)})


def opened(data: CSVBoxes, split: str = "train") -> BoxSource:
    data.setup()
    source = data.source(split)
    assert isinstance(source, BoxSource)
    return source


def names(data: CSVBoxes, split: str) -> list[str]:
    return [Path(path).name for path in opened(data, split).paths]


TWO = ["cat,0,0,2,2", "dog,0,0,4,3", "cow,1,1,4,4"]  # areas 4, 12, 9
BOTH = {"train/a.png": TWO, "train/b.png": ["cow,1,2,3,4"], "train/c.png": ["cat,1,2,3,4"], "val/d.png": [GOOD]}


@pytest.mark.parametrize(
    ("multiple", "label", "box"), [("largest", "dog", [0, 0, 4, 3]), ("first", "cat", [0, 0, 2, 2])]
)
def test_one_object_is_taken_by_the_rule(table: WriteTable, multiple: Multiple, label: str, box: list[float]) -> None:
    images = {**BOTH, "train/e.png": ["dog,1,1,2,2"]}
    data = CSVBoxes(str(table(images)), multiple=multiple)
    sample = opened(data)[0]
    assert data.class_names == ["cat", "cow", "dog"]
    assert sample["labels"].tolist() == [data.class_names.index(label)]
    assert sample["boxes"].tolist() == [box]
    assert (sample["boxes"].dtype, sample["labels"].dtype) == (np.float32, np.int64)
    assert sample["image"].shape == (6, 8, 3)


def test_of_equally_large_objects_the_first_is_taken(table: WriteTable) -> None:
    source = opened(CSVBoxes(str(table({"train/a.png": ["cat,1,1,3,3", "cat,2,2,4,4"], "val/b.png": [GOOD]}))))
    assert source[0]["boxes"].tolist() == [[1, 1, 3, 3]]


def test_the_n_largest_come_in_order_and_an_image_may_have_fewer(table: WriteTable) -> None:
    data = CSVBoxes(str(table(BOTH)), num_objects=2)
    source = opened(data)
    assert source[0]["labels"].tolist() == [2, 1]
    assert source[0]["boxes"].tolist() == [[0, 0, 4, 3], [1, 1, 4, 4]]
    assert source[1]["labels"].tolist() == [1]
    assert source[1]["boxes"].tolist() == [[1, 2, 3, 4]]
    assert source.labels.tolist() == [2, 1, 0]
    assert data.class_counts == [1, 2, 1]
    assert data.notes == [
        "1 box(es) of 1 image(s) are left out beyond the 2 largest of each: the recipe folder_detect predicts all of "
        "them"
    ]


def test_refused_images_are_listed_or_left_out_and_counted(table: WriteTable) -> None:
    images = {"train/a.png": [GOOD], "train/b.png": [GOOD, GOOD], "val/c.png": [GOOD], "val/d.png": [GOOD] * 3}
    root = str(table(images))
    with pytest.raises(BadSamplesError, match=r"2 problem\(s\) in 2 of 4 samples.*\n.*2 objects in .*b.png.*\n.*3 obj"):
        opened(CSVBoxes(root, multiple="refuse"))
    data = CSVBoxes(root, multiple="refuse", on_bad_sample="skip")
    assert names(data, "train") == ["a.png"]
    assert data.split_sizes == {"train": 1, "val": 1}
    assert data.skipped == {"train": 1, "val": 1}
    data = CSVBoxes(root, multiple="refuse", num_objects=2, on_bad_sample="skip")
    assert names(data, "train") == ["a.png", "b.png"]
    assert data.skipped == {"train": 0, "val": 1}


def test_all_faults_of_a_dataset_are_listed_at_once(table: WriteTable) -> None:
    root = table(
        {
            "train/good.png": [GOOD],
            "train/beyond.png": ["cat,1,1,9,4"],
            "train/before.png": ["cat,-1,1,5,4"],
            "train/below.png": ["cat,1,1,5,7"],
            "train/flat.png": ["cat,1,2,5,2"],
            "train/turned.png": ["cat,5,1,1,4", GOOD],
            "train/upside.png": ["cat,1,4,5,1"],
            "train/nan.png": ["cat,1,nan,5,4"],
            "train/inf.png": ["cat,1,1,inf,4"],
            "train/word.png": ["cat,1,one,5,"],
            "train/none.png": [",,,,"],
            "train/classless.png": [",1,1,5,4"],
            "val/gone.png": [GOOD],
            "val/empty.png": [GOOD],
            "val/text.png": ["cat,9,9,9,9"],
            "val/good.png": [GOOD],
        }
    )
    (root / "val/gone.png").unlink()
    (root / "val/empty.png").write_bytes(b"")
    (root / "val/text.png").write_bytes(b"no image")
    with pytest.raises(BadSamplesError) as raised:
        opened(CSVBoxes(str(root)))
    headline, *lines, _ = str(raised.value).replace(f"{root}/", "").splitlines()
    assert headline.startswith("data.init_args.root: 15 problem(s) in 14 of 16 samples of ")
    redraw = "cut it to the image, or draw it anew"
    correct = "correct it, or remove the object"
    swap = "swap them if they are corners, or write corners if they are a corner and a size"
    assert lines == [
        f"boxes.csv line 3: cat's box 1 1 9 4 reaches beyond its image of 8x6 pixels; {redraw}",
        f"boxes.csv line 4: cat's box -1 1 5 4 reaches beyond its image of 8x6 pixels; {redraw}",
        f"boxes.csv line 5: cat's box 1 1 5 7 reaches beyond its image of 8x6 pixels; {redraw}",
        "boxes.csv line 6: cat's box 1 2 5 2 has no area; draw it anew, or remove it",
        f"boxes.csv line 7: cat's box 5 1 1 4 has x1 > x2, expected x1 y1 x2 y2 in pixels; {swap}",
        f"boxes.csv line 9: cat's box 1 4 5 1 has y1 > y2, expected x1 y1 x2 y2 in pixels; {swap}",
        "boxes.csv line 10: cat's box 1 nan 5 4 has a coordinate that is not a number; draw it anew",
        "boxes.csv line 11: cat's box 1 1 inf 4 has a coordinate that is not a number; draw it anew",
        f"boxes.csv line 12: y1 is 'one', expected a number, has no y2; {correct}",
        "boxes.csv: no object in train/none.png; draw its box, or remove the image",
        f"boxes.csv line 14: has no class; {correct}",
        "val/gone.png: no such image file; copy it there, or remove its annotation",
        "val/empty.png: the file is empty (0 bytes), expected an image; copy it again or remove it",
        "val/text.png: not an image that PIL can read; convert it to PNG or JPEG, or remove it",
        "boxes.csv line 17: cat's box 9 9 9 9 has no area; draw it anew, or remove it",
    ]
    data = CSVBoxes(str(root), on_bad_sample="skip")
    assert (names(data, "train"), names(data, "val")) == (["good.png"], ["good.png"])
    assert data.skipped == {"train": 11, "val": 3}


def test_half_a_pixel_beyond_the_image_is_rounding(table: WriteTable) -> None:
    data = CSVBoxes(
        str(table({"train/a.png": ["cat,-0.5,0,8.5,6"], "val/b.png": [GOOD]})),
        augment=[A.HorizontalFlip(p=1)],
        image_size=(6, 8),
        batch_size=1,
        num_workers=0,
    )
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["boxes"][0].tolist() == [[0, 0, 8, 6]]


def test_boxes_lie_in_the_upright_image(table: WriteTable) -> None:
    root = table({"train/a.png": ["cat,1,1,5,7"], "val/b.png": [GOOD]})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(root / "train/a.png", exif=exif)
    assert opened(CSVBoxes(str(root)))[0]["image"].shape == (8, 6, 3)


def test_a_batch_has_flipped_boxes_in_pixels_of_its_images(table: WriteTable) -> None:
    data = CSVBoxes(
        str(table({"train/a.png": ["cat,1,0,3,3"], "val/b.png": ["cat,1,0,3,3"]})),
        augment=[A.HorizontalFlip(p=1), A.VerticalFlip(p=1)],
        image_size=(12, 16),
        batch_size=1,
        num_workers=0,
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    # x: 8-3 and 8-1 of 8; y: 6-3 and 6-0 of 6; the image is enlarged to 16 x 12.
    assert [boxes.tolist() for boxes in batch["boxes"]] == [[[10, 6, 14, 12]]]
    assert [labels.tolist() for labels in batch["labels"]] == [[0]]
    assert batch["image"].shape == (1, 3, 12, 16)
    assert next(iter(data.val_dataloader()))["boxes"][0].tolist() == [[2, 0, 6, 6]]


def test_a_batch_has_images_of_two_objects_and_of_one(table: WriteTable) -> None:
    root = table({"train/a.png": ["cat,0,0,4,3", "dog,0,0,8,6"], "train/b.png": ["dog,0,0,8,3"], "val/c.png": [GOOD]})
    data = CSVBoxes(
        str(root), num_objects=2, augment=[A.HorizontalFlip(p=1)], image_size=(6, 8), batch_size=2, num_workers=0
    )
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    order = batch["index"].argsort().tolist()
    assert [batch["labels"][row].tolist() for row in order] == [[1, 0], [1]]
    assert [batch["boxes"][row].tolist() for row in order] == [[[0, 0, 8, 6], [4, 0, 8, 3]], [[0, 0, 8, 3]]]


def test_a_whole_dataset_is_split_in_three_by_its_classes(table: WriteTable) -> None:
    data = CSVBoxes(str(whole(table, ["cat"] * 10 + ["dog"] * 5)))
    counts = {split: np.bincount(opened(data, split).labels).tolist() for split in ("train", "val", "test")}
    assert counts == {"train": [6, 3], "val": [2, 1], "test": [2, 1]}
    paths = [name for split in counts for name in names(data, split)]
    assert len(set(paths)) == 15


def test_classes_too_rare_for_every_part_stay_in_train(table: WriteTable) -> None:
    data = CSVBoxes(str(whole(table, ["dog", *["cat"] * 5, "cow", "cow"])))
    counts = {
        split: np.bincount(opened(data, split).labels, minlength=3).tolist() for split in ("train", "val", "test")
    }
    assert counts == {"train": [3, 2, 1], "val": [1, 0, 0], "test": [1, 0, 0]}
    assert names(data, "train")[0] == "0.png"


def test_fixing_a_sample_leaves_the_others_in_their_splits(table: WriteTable) -> None:
    root = whole(table, ["cat"] * 10)
    data = CSVBoxes(str(root))
    before = {split: names(data, split) for split in ("train", "val", "test")}
    Image.new("RGB", (4, 3)).save(root / "train" / before["val"][0])
    data = CSVBoxes(str(root), on_bad_sample="skip")
    assert {split: names(data, split) for split in before} == {**before, "val": before["val"][1:]}
    assert data.skipped == {"train": 0, "val": 1, "test": 0}


def test_validation_comes_from_train_where_only_test_is_given(table: WriteTable) -> None:
    data = CSVBoxes(str(table({**{f"train/{i}.png": [GOOD] for i in range(5)}, "test/a.png": [GOOD]})))
    data.setup()
    assert data.split_sizes == {"train": 4, "test": 1, "val": 1}


def test_without_test_images_there_is_no_test_split(table: WriteTable) -> None:
    data = CSVBoxes(str(table({"train/a.png": [GOOD], "val/b.png": [GOOD]})))
    data.setup()
    assert data.split_sizes == {"train": 1, "val": 1}


def test_a_whole_dataset_becomes_the_test_split(table: WriteTable) -> None:
    data = CSVBoxes(str(whole(table, ["cat", "dog"])), test_fraction=1.0, classes=["ant", "cat", "dog"])
    assert opened(data, "test").labels.tolist() == [1, 2]
    assert list(data.split_sizes) == ["test"]


def test_train_is_not_checked_to_evaluate_on_test(table: WriteTable) -> None:
    data = CSVBoxes(str(table({"train/a.png": ["cat,0,0,0,0"], "test/b.png": [GOOD]})), test_fraction=1.0)
    data.setup()
    assert data.split_sizes == {"test": 1}


def test_classes_are_in_natural_order_and_known_before_setup(table: WriteTable) -> None:
    data = CSVBoxes(str(whole(table, ["class10", "class2", "Bear"])))
    assert data.class_names == ["Bear", "class2", "class10"]
    assert data.num_classes == 3


def test_one_class_is_enough(table: WriteTable) -> None:
    assert opened(CSVBoxes(str(whole(table, ["cat"] * 5)))).labels.tolist() == [0, 0, 0]


def test_classes_that_train_does_not_have_are_named_with_their_places(table: WriteTable) -> None:
    root = table({"train/a.png": [GOOD], "val/b.png": ["dog,1,1,5,4", GOOD], "test/c.png": ["cow,1,1,2,2"]})
    message = (
        rf"the train split does not have: cow \({root}/boxes.csv line 5\); dog \({root}/boxes.csv line 3\); .* cat: add"
    )
    with pytest.raises(InputError, match=message):
        CSVBoxes(str(root), on_bad_sample="skip").setup()
    with pytest.raises(
        InputError,
        match=r"classes does not have: cow \(.*line 5\); expected some of dog, cat: add them to data",
    ):
        CSVBoxes(str(root), classes=["dog", "cat"]).setup()


def test_a_class_that_no_taken_object_has_is_named(table: WriteTable) -> None:
    root = str(table({"train/a.png": ["dog,0,0,1,1", "cat,0,0,2,2"], "val/b.png": [GOOD]}))
    with pytest.raises(InputError, match=r"no training object of dog, with data.init_args.multiple: largest"):
        CSVBoxes(root).setup()
    assert opened(CSVBoxes(root, num_objects=2))[0]["labels"].tolist() == [0, 1]


def test_an_image_in_two_splits_is_refused(table: WriteTable) -> None:
    root = table({"train/a.png": [GOOD], "val/b.png": [GOOD]})
    with (root / "boxes.csv").open("a") as file:
        file.write(f"\nval,train/a.png,{GOOD}")
    with pytest.raises(InputError, match=r"images listed twice: .*/train/a.png \(train, val\); list each once"):
        CSVBoxes(str(root)).setup()


def test_a_split_of_bad_samples_alone_is_named(table: WriteTable) -> None:
    root = str(table({"train/a.png": [GOOD], "val/b.png": ["cat,1,1,1,1"]}))
    with pytest.raises(InputError, match=r"on_bad_sample: skip, but all 1 image\(s\) of the val split are bad"):
        CSVBoxes(root, on_bad_sample="skip").setup()


def test_the_problems_are_listed_where_there_is_no_class_at_all(table: WriteTable) -> None:
    data = CSVBoxes(str(table({"train/a.png": [",,,,"]})))
    with pytest.raises(BadSamplesError, match="no object in"):
        _ = data.class_names


def test_too_few_images_to_be_split_are_refused(table: WriteTable) -> None:
    with pytest.raises(InputError, match="split into train, val, test; add .* a class needs 3, none has more than"):
        CSVBoxes(str(whole(table, ["cat", "dog", "cow"]))).setup()


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no folder .*/none/: point --data\.init_args\.root"):
        _ = CSVBoxes(str(tmp_path / "none")).class_names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiple": "middle"}, "multiple: 'middle', expected one of largest, first, refuse"),
        ({"on_bad_sample": "warn"}, "on_bad_sample: 'warn', expected one of error, skip"),
        ({"num_objects": 0}, "num_objects: 0, expected at least 1"),
        ({"classes": ["a", "a"]}, "classes: a, a, expected each name once"),
        ({"val_fraction": 0.0}, "val_fraction: 0.0, expected between 0 and 1"),
        ({"splits": {"training": "a"}}, "data.init_args.splits: training, expected some of train, val, test"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CSVBoxes("root", **options)
