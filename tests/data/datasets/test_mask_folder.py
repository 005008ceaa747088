"""Folders of images and masks as users have them, and the mistakes in them."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.data import MaskFolder
from visiontasks.data.datasets.mask_folder import read_class_names
from visiontasks.data.formats.masks import MaskSource
from visiontasks.errors import BadSamplesError, InputError, MissingFileError
from visiontasks.outputs.geometry import Geometry

Write = Callable[..., Path]
BOTH = [[0, 1, 1], [0, 0, 1]]  # an image of 3x2 pixels


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("train", "a", "b", values=BOTH)`: images of 3x2 pixels with this mask, in a root, which is given."""

    def write_pairs(folder: str, *stems: str, values: Any = BOTH, size: tuple[int, int] = (3, 2)) -> Path:
        for part in ("images", "masks"):
            (tmp_path / folder / part).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            Image.new("RGB", size, (10, 20, 30)).save(tmp_path / folder / "images" / f"{stem}.png")
            Image.fromarray(np.array(values, np.uint8)).save(tmp_path / folder / "masks" / f"{stem}.png")
        return tmp_path

    return write_pairs


def stems(data: MaskFolder) -> dict[str, list[str]]:
    data.setup()
    found = {}
    for split in data.split_sizes:
        source = data.source(split)
        assert isinstance(source, MaskSource)
        found[split] = [Path(path).stem for path in source.paths]
    return found


def sizes(data: MaskFolder) -> dict[str, int]:
    data.setup()
    return data.split_sizes


def problems(data: MaskFolder) -> list[str]:
    with pytest.raises(BadSamplesError) as raised:
        data.setup()
    return str(raised.value).replace(f"{data.root}/", "").splitlines()[1:-1]


def test_three_split_folders_are_the_splits(write: Write) -> None:
    for folder, names in (("train", "abc"), ("val", "d"), ("test", "ef")):
        root = write(folder, *names)
    assert stems(MaskFolder(str(root))) == {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}


def test_one_folder_is_divided_by_split_seed_alone(write: Write) -> None:
    root = str(write(".", *"abcdefghij"))
    parts = stems(MaskFolder(root))
    assert {split: len(part) for split, part in parts.items()} == {"train": 6, "val": 2, "test": 2}
    assert sorted(chain(*parts.values())) == list("abcdefghij")
    assert stems(MaskFolder(root, seed=1)) == parts
    assert stems(MaskFolder(root, split_seed=1)) != parts


def test_what_is_missing_of_the_splits_is_split_off_train(write: Write) -> None:
    root = str(write("train", *"abcdefghij"))
    assert sizes(MaskFolder(root)) == {"train": 6, "val": 2, "test": 2}
    assert sizes(MaskFolder(root, test_fraction=0.0)) == {"train": 8, "val": 2}
    write("test", "k")
    assert sizes(MaskFolder(root)) == {"train": 8, "val": 2, "test": 1}
    write("val", "l")
    assert sizes(MaskFolder(root)) == {"train": 10, "val": 1, "test": 1}


def test_all_of_one_folder_is_the_test_split_with_fraction_1(write: Write) -> None:
    assert sizes(MaskFolder(str(write(".", *"abc")), test_fraction=1.0)) == {"test": 3}


def test_train_is_not_opened_with_fraction_1(write: Write) -> None:
    root = write("train", "a", values=[[9]])
    assert sizes(MaskFolder(str(write("test", "b", "c")), test_fraction=1.0)) == {"test": 2}
    assert sizes(MaskFolder(str(write("val", "d")), test_fraction=1.0)) == {"val": 1, "test": 2}
    assert (root / "train").is_dir()


def test_an_image_with_a_class_that_train_would_lack_stays_in_train(write: Write) -> None:
    root = write(".", *(f"common{i}" for i in range(8)))
    write(".", "rare1", values=[[0, 2, 2], [0, 0, 0]])
    write(".", "rare2", values=[[3, 3, 3], [0, 0, 0]])
    for split_seed in range(5):
        data = MaskFolder(str(root), split_seed=split_seed)
        found = stems(data)
        assert {"rare1", "rare2"} <= set(found["train"])
        assert all(data.class_counts)


def test_without_classes_txt_the_values_in_train_are_the_classes(write: Write) -> None:
    root = write("train", *"ab", values=[[0, 128, 255], [40, 40, 40]])
    write("val", "c", values=[[40, 40, 0], [255, 0, 0]])
    data = MaskFolder(str(root), ignored=[255])
    assert data.class_names == ["0", "40", "128"]
    data.setup()
    assert data.source("train")[0]["mask"].tolist() == [[0, 2, 255], [1, 1, 1]]
    assert data.class_counts == [2, 6, 2]  # of two masks


@pytest.mark.parametrize(
    "text", ["Sky\nTree\n\nRoad \nCar\n", "3 Car\n0 Sky\n 1 Tree\n2\tRoad", "\ufeffSky\nTree\nRoad\nCar"]
)
def test_classes_txt_names_values_by_line_or_by_number(write: Write, text: str) -> None:
    root = write("train", "a")
    write("val", "b")
    (root / "classes.txt").write_text(text, encoding="utf-8")
    data = MaskFolder(str(root))
    assert data.class_names == ["Sky", "Tree", "Road", "Car"]
    data.setup()
    assert data.source("val")[0]["mask"].tolist() == BOTH
    assert data.class_counts == [3, 3, 0, 0]


def test_names_may_have_spaces_and_values_gaps(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 open sky\n7 big tree\n")
    assert read_class_names(tmp_path / "classes.txt") == {0: "open sky", 7: "big tree"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 Sky\nTree", "only some lines begin with a value, expected all"),
        ("0 Sky\n0 Tree", r"expected each value \(0 to 254\) and each name once, got 0 Sky, 0 Tree"),
        ("Sky\nSky", "each name once"),
        ("0 Sky\n1 Sky", "each name once"),
        ("0 Sky\n255 Tree", r"each value \(0 to 254\).*; 255 means no class, unless data\.init_args\.values maps it"),
        ("\n".join(map(str, range(1000, 1256))), r"each value \(0 to 254\)"),
        (b"\xff\xfe\x00", r"cannot be read \(.*, expected text in UTF-8"),
    ],
)
def test_a_wrong_classes_txt_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "classes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"classes\.txt: .*{message}"):
        _ = MaskFolder(str(tmp_path)).class_names


def test_ignored_values_are_no_classes_and_those_behind_move_up(write: Write) -> None:
    root = write("train", "a", values=[[0, 1, 2], [255, 1, 0]])
    write("val", "b", values=[[2, 2, 2], [1, 1, 1]])
    expected = [[0, 255, 1], [255, 255, 0]]
    data = MaskFolder(str(root), ignored=[1])
    data.setup()
    assert (data.class_names, data.source("train")[0]["mask"].tolist()) == (["0", "2"], expected)
    (root / "classes.txt").write_text("Sky\nVoid\nTree")
    data = MaskFolder(str(root), ignored=[1])
    data.setup()
    assert (data.class_names, data.source("train")[0]["mask"].tolist()) == (["Sky", "Tree"], expected)
    assert data.class_counts == [2, 1]


def test_named_classes_keep_their_labels_where_the_data_has_only_some(write: Write) -> None:
    root = write("test", "a", values=[[0, 5, 5], [9, 0, 0]])
    by_value = MaskFolder(str(root), classes=["0", "5", "7", "9"])  # how they are called without classes.txt
    by_value.setup()
    assert by_value.source("test")[0]["mask"].tolist() == [[0, 1, 1], [3, 0, 0]]
    (root / "classes.txt").write_text("0 Sky\n5 Tree\n9 Car")
    by_file = MaskFolder(str(root), classes=["Car", "Road", "Sky", "Tree"])
    by_file.setup()
    assert by_file.class_names == ["Car", "Road", "Sky", "Tree"]
    assert by_file.source("test")[0]["mask"].tolist() == [[2, 3, 3], [0, 2, 2]]


def test_named_classes_without_values_have_those_that_are_not_ignored_in_order(write: Write) -> None:
    root = write("test", "a", values=[[0, 1, 2], [3, 0, 0]])
    data = MaskFolder(str(root), classes=["Sky", "Tree", "Car"], ignored=[1])
    data.setup()
    assert data.source("test")[0]["mask"].tolist() == [[0, 255, 1], [2, 0, 0]]


def test_all_faults_are_listed_at_once(write: Write) -> None:
    root = write("train", "good", "a", "b", "bare", "cut")
    write("train", "size", values=[[0, 1]])
    write("train", "colours", values=np.zeros((2, 3, 3)))
    write("train", "value", values=[[0, 7, 1], [0, 9, 1]])
    write("val", "lonely", "good")
    write("val", "untaught", values=[[2, 2, 0], [0, 0, 0]])
    Image.new("RGB", (3, 2)).save(root / "train/images/a.jpg")
    (root / "train/images/b.png").write_bytes(b"no image")
    (root / "train/masks/bare.png").unlink()
    (root / "train/masks/cut.png").write_bytes((root / "train/masks/cut.png").read_bytes()[:45])
    (root / "val/images/lonely.png").unlink()
    (root / "classes.txt").write_text("Sky\nTree\nCar")
    data = MaskFolder(str(root))
    found = problems(data)
    naming = "255; fix the mask, name the class in classes.txt, or ignore the value"
    untaught = "fix the mask, add training images of it, or ignore the value"
    assert [line.partition(" (data.")[0] for line in found if "cut" not in line] == [
        "train/images/a.jpg: the stem of train/images/a.png too; rename or remove one",
        "train/images/b.png: not an image that PIL can read; convert it to PNG or JPEG, or remove it",
        "train/images/bare.png: no mask train/masks/bare.png; copy it there, or remove the image",
        "train/masks/colours.png: has colours or floats (mode RGB), expected one channel of class indices "
        "(mode L or P); save the mask as such a PNG",
        "train/masks/size.png: the mask has 2x1 pixels, but its image 3x2 (upright); save it at its image's size",
        f"train/masks/value.png: value(s) 7, 9, expected those of the classes and of ignored pixels: 0-2, {naming}",
        "val/masks/lonely.png: no image val/images/lonely.*; copy it there, or remove the mask",
        f"val/masks/untaught.png: class(es) that no training mask has: Car; {untaught}",
    ]
    (cut,) = [line for line in found if "cut" in line]
    assert cut.startswith("train/masks/cut.png: damaged, cannot be decoded")

    skipping = MaskFolder(str(root), on_bad_sample="skip")
    assert stems(skipping) == {"train": ["good"], "val": ["good"]}
    assert skipping.skipped == {"train": 7, "val": 2}


@pytest.mark.parametrize(
    ("listing", "classes", "naming"),
    [
        ("", None, "name the class in classes.txt, add training images of it, or"),
        ("Sky\nTree", None, "name the class in classes.txt, or"),
        ("", ["0", "1"], "name the class in data.init_args.classes, or"),
        ("Sky\nTree\nCar", ["Sky", "Tree"], "name the class in classes.txt and data.init_args.classes, or"),
    ],
)
def test_only_what_is_not_done_already_is_advised_for_an_unknown_value(
    write: Write, listing: str, classes: list[str] | None, naming: str
) -> None:
    root = write("train", "a")  # values 0 and 1
    write("val", "b", values=[[2, 2, 0], [0, 0, 0]])
    if listing:
        (root / "classes.txt").write_text(listing)
    (found,) = problems(MaskFolder(str(root), classes=classes))
    assert found.endswith(f"; fix the mask, {naming} ignore the value (data.init_args.ignored)")


def test_fixing_one_file_leaves_the_others_in_their_splits(write: Write) -> None:
    root = write(".", *"abcdefghij")
    whole = stems(MaskFolder(str(root)))
    (root / "masks/c.png").unlink()
    data = MaskFolder(str(root), on_bad_sample="skip")
    assert stems(data) == {split: [stem for stem in part if stem != "c"] for split, part in whole.items()}
    assert sum(data.skipped.values()) == 1


def test_files_can_be_fixed_and_checked_again(write: Write) -> None:
    data = MaskFolder(str(write("train", "a", "b")))
    write("val", "c", values=[[0]])
    assert len(problems(data)) == 1
    assert len(problems(data)) == 1
    write("val", "c")
    assert sizes(data) == {"train": 2, "val": 1}


def test_a_split_of_bad_samples_only_is_refused_even_if_they_are_to_be_skipped(write: Write) -> None:
    write("train", "a", "b")
    root = write("val", "c", values=[[0]])
    with pytest.raises(InputError, match=r"skip, but all 1 image\(s\) of the val split are bad"):
        MaskFolder(str(root), on_bad_sample="skip").setup()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 255, 255], [0, 0, 0]], r"hold no two classes, only the value\(s\) 0, 255 \(255 and .* mean no class"),
        ([[3, 3, 3], [3, 3, 3]], r"only the value\(s\) 3 "),
        (np.zeros((2, 3, 3)), r"2 problem\(s\) in 2 of 2 samples"),
    ],
)
def test_masks_without_two_classes_are_refused_before_a_network_is_made(
    write: Write, values: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _ = MaskFolder(str(write("train", "a", "b", values=values))).num_classes


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], r"no folder .*root/: point --data\.init_args\.root at your images"),
        (["elsewhere"], "has no images/ and no train/: expected images/ and masks/, or train/"),
        (["images"], r"no folder .*/masks/: point"),
        (["images", "masks"], "no images and masks in .*root/; expected images/ and masks/"),
        (["train/images", "train/masks"], "no images and masks in .*train/;"),
        (["train/images", "train/masks", "valid/images"], "no folder .*/valid/masks/"),
        (["train/images", "train/masks", "extra/images"], "has extra beside train; expected .* rename or move"),
        (["images", "masks", "test/images"], "has images, masks beside test"),
        (
            ["train/images", "train/masks", "train2/images", "train2/masks"],
            r"data\.init_args\.root: .*root/ has train/ and train2/ \(both train\): one folder for each split",
        ),
        (
            ["images/val", "images/valid", "masks"],
            r"data\.init_args\.root: .*/images/ has val/ and valid/ \(both val\)",
        ),
    ],
)
def test_folders_that_are_not_laid_out_so_are_refused(tmp_path: Path, folders: list[str], message: str) -> None:
    for folder in folders:
        (tmp_path / "root" / folder).mkdir(parents=True)
    with pytest.raises(InputError, match=message) as raised:
        MaskFolder(str(tmp_path / "root")).setup()
    assert isinstance(raised.value, MissingFileError) == ("no folder" in message or "has no" in message)


@pytest.mark.parametrize(
    ("number", "options", "message"),
    [
        (2, {}, r"2 training image\(s\), too few to be split into train, val, test; add"),
        (1, {"test_fraction": 0.0}, r"1 training image\(s\), too few to be split into train, val; add"),
    ],
)
def test_too_few_images_to_split_are_refused(write: Write, number: int, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MaskFolder(str(write(".", *"ab"[:number])), **options).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignored": [256]}, r"ignored: \[256\], expected values from 0 to 255"),
        ({"classes": ["a", "b", "a"]}, "classes: a, b, a, expected each name once"),
        ({"on_bad_sample": "drop"}, "on_bad_sample: 'drop', expected one of error, skip"),
        ({"resize": "crop"}, "resize: crop, which would leave pixels of a mask without a prediction"),
        ({"val_fraction": 0.0}, "val_fraction: 0.0, expected between 0 and 1"),
    ],
)
def test_values_out_of_range_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"data\.init_args\.{message}"):
        MaskFolder("masks", **options)


def test_no_class_counts_without_training_masks(write: Write) -> None:
    with pytest.raises(InputError, match="no train split here, only: test"):
        _ = MaskFolder(str(write("test", "a"))).class_counts


def test_training_masks_follow_the_image_and_evaluation_masks_keep_their_size(write: Write) -> None:
    root = write("train", *"ab")
    write("val", "c")
    write("val", "d", values=[[1], [0], [255], [0]], size=(1, 4))
    flip = A.HorizontalFlip(p=1.0)
    data = MaskFolder(
        str(root), image_size=(4, 6), batch_size=2, resize="letterbox", augment=[flip], num_workers=0, seed=0
    )
    data.setup()
    train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    assert train["mask"].dtype == torch.int64
    # flipped, then each pixel doubled
    assert train["mask"][0].tolist() == np.kron(np.fliplr(BOTH), np.ones((2, 2))).tolist()
    assert [mask.tolist() for mask in val["mask"]] == [BOTH, [[1], [0], [255], [0]]]
    geometries = [Geometry.of(row) for row in val["geometry"]]
    assert [geometry.content for geometry in geometries] == [(0, 0, 6, 4), (2, 0, 3, 4)]
    assert [geometry.size for geometry in geometries] == [(2, 3), (4, 1)]


def test_values_name_classes_from_recoded_masks(write: Write) -> None:
    root = write("train", "a", values=[[0, 128, 255], [128, 128, 0]])
    write("val", "b", values=[[255, 0, 0], [0, 0, 128]])
    data = MaskFolder(str(root), values={128: 1, 255: 2})
    data.setup()
    assert data.class_names == ["0", "1", "2"]
    assert data.class_counts == [2, 3, 1]
    assert data.source("val")[0]["mask"].tolist() == [[2, 0, 0], [0, 0, 1]]
    (root / "classes.txt").write_text("Sky\nTree\nCar")
    named = MaskFolder(str(root), values={128: 2, 255: 255, 0: 0}, ignored=[1])
    named.setup()
    assert named.class_names == ["Sky", "Car"]
    assert named.source("train")[0]["mask"].tolist() == [[0, 1, 255], [1, 1, 0]]


def test_values_of_colours_read_colour_masks(write: Write) -> None:
    red, black = [128, 0, 0], [0, 0, 0]
    root = write("train", "a", values=[[red, red, black]] * 2)
    write("val", "b", values=[[black, red, black]] * 2)
    data = MaskFolder(str(root), values={"0,0,0": 0, "#800000": 1})
    data.setup()
    assert (data.class_names, data.class_counts) == (["0", "1"], [2, 4])
    assert data.source("val")[0]["mask"].tolist() == [[0, 1, 0]] * 2
    write("val", "soft", values=[[black, [64, 0, 0], red]] * 2)
    assert problems(MaskFolder(str(root), values={"0,0,0": 0, "#800000": 1})) == [
        "val/masks/soft.png: 1 colour(s) that data.init_args.values does not name: 64,0,0 (2 pixels); name them there "
        "(255 means no class), or save the mask without them"
    ]


def test_a_class_index_that_is_none_is_refused(write: Write) -> None:
    root = write("train", "a", values=[[0, 255, 255]] * 2)
    (root / "classes.txt").write_text("Sky\nTree")
    with pytest.raises(InputError, match=r"values: class index 7, expected those of classes\.txt .*: 0-1, 255$"):
        MaskFolder(str(root), values={255: 7}).setup()


def test_palettes_that_differ_are_refused_even_if_bad_samples_are_skipped(write: Write) -> None:
    root = write("train", "a", "b")
    write("val", "c")
    for stem, colour in (("a", (200, 0, 0)), ("b", (0, 200, 0))):
        mask = Image.fromarray(np.array(BOTH, np.uint8)).convert("P")
        mask.putpalette([0, 0, 0, *colour])
        mask.save(root / f"train/masks/{stem}.png")
    (root / "classes.txt").write_text("Sky\nTree")
    with pytest.raises(InputError, match=r"palettes that differ.*the value 1 is .* 0,200,0 in .*b\.png, but .*a\.png"):
        MaskFolder(str(root), on_bad_sample="skip").setup()


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ([[0, 128, 255]] * 2, "values: {128: 1, 255: 2}; if it is none, data.init_args.ignored: [255]"),
        ([[0, 100, 255]] * 2, "values: {100: 1, 255: 2}"),
        ([[0, 50, 255], [100, 50, 255]], "values: {50: 1, 100: 2, 255: 3}"),
    ],
)
def test_grey_levels_with_255_as_the_brightest_are_refused(write: Write, values: Any, option: str) -> None:
    root = str(write("train", *"ab", values=values))
    with pytest.raises(InputError) as raised:
        MaskFolder(root).setup()
    assert "33.3% of the pixels of the masks are 255, which means no class" in str(raised.value)
    assert f"if it is a class, set data.init_args.{option}" in str(raised.value)
    assert MaskFolder(root, ignored=[255]).num_classes == len(np.unique(values)) - 1  # stated


def test_few_ignored_pixels_beside_grey_levels_are_borders(write: Write) -> None:
    values = np.array([[0, 128] * 15, [0, 128] * 14 + [0, 255]])
    assert MaskFolder(str(write("train", *"ab", values=values, size=(30, 2)))).class_names == ["0", "128"]


def soft_edge(width: int = 20) -> Any:
    row = [0] * 8 + [40, 90, 140, 200] + [255] * (width - 12)
    return [row] * 6


def test_masks_resized_with_interpolation_are_refused(write: Write) -> None:
    edge = np.array(soft_edge())
    slanted = np.stack([np.roll(row, i) for i, row in enumerate(edge)])
    root = write("train", *"ab", values=slanted, size=(20, 6))
    with pytest.raises(
        InputError, match=r"6 values, of which 4 form no areas \(40, 90, 140, 200; 0, 255 do\)"
    ) as raised:
        MaskFolder(str(root)).setup()
    assert "nearest neighbour, as PNG, and set data.init_args.values: {255: 1}" in str(raised.value)


def objects(number: int) -> list[list[int]]:
    """A mask of 0 in two rows and of 1, 2, 3, ... to a number, four pixels each."""
    return [[0] * 60, [0] * 60, *[[*(1 + k for k in range(number) for _ in (0, 1)), *[0] * (60 - 2 * number)]] * 2]


def test_masks_that_number_objects_are_refused_by_name(write: Write) -> None:
    for i, number in enumerate((3, 7, 30, 12, 5)):
        root = write(".", str(i), values=objects(number), size=(60, 4))
    message = r"hold 31 values, in 5 of 5 of them 1, 2, 3, ... without a gap, from 3 to 30 of them: they seem to number"
    with pytest.raises(InputError, match=message):
        MaskFolder(str(root)).setup()
    (root / "classes.txt").write_text("\n".join(f"class {value}" for value in range(31)))
    assert len(MaskFolder(str(root), val_fraction=0.3, test_fraction=0.0).class_names) == 31


def test_classes_of_which_an_image_has_some_number_no_objects(write: Write) -> None:
    """The same values, but each mask has a gap."""
    for i, number in enumerate((3, 7, 30, 12, 5)):
        values = np.array(objects(number))
        root = write(".", str(i), values=np.where(values == 2, 1, values), size=(60, 4))
    assert len(MaskFolder(str(root), val_fraction=0.3, test_fraction=0.0).class_names) == 30


def test_many_classes_of_small_areas_are_no_interpolation(write: Write) -> None:
    small = np.kron(np.arange(30).reshape(3, 10), np.ones((2, 2), int))
    assert MaskFolder(str(write("train", *"ab", values=small, size=(20, 6)))).num_classes == 30


def test_a_class_without_a_training_pixel_is_refused_in_a_training_alone(write: Write) -> None:
    root = write("train", "a", "b", values=[[0, 255, 255]] * 2)
    write("val", "c", values=[[0, 255, 0]] * 2)
    (root / "classes.txt").write_text("Sky\nTree\nCar")
    data = MaskFolder(str(root), batch_size=1)
    data.setup()
    with pytest.raises(InputError) as raised:
        data.setup("fit")
    assert str(raised.value) == (
        "data.init_args.root: no training pixel of the class Tree, no training pixel of the class Car; if the 66.7% of "
        "the training pixels that are 255, which means no class, are Tree, set data.init_args.values: {255: 1}; else "
        "add training images of it, or leave it out (data.init_args.ignored: [1])"
    )
    MaskFolder(str(root), batch_size=1, values={255: 1}, ignored=[2]).setup("fit")


@pytest.mark.parametrize(
    ("listing", "option"),
    [
        ("Tree", r", background first, and set data\.init_args\.values: \{255: 1\}$"),
        ("255 Tree", "255 means no class, unless data.init_args.values maps it"),
        ("1 Tree", r", background first, and set data\.init_args\.values: \{255: 1\}$"),
    ],
)
def test_one_class_with_masks_of_0_and_255_gets_the_option(write: Write, listing: str, option: str) -> None:
    root = write("train", "a", "b", values=[[0, 255, 255]] * 2)
    (root / "classes.txt").write_text(listing)
    with pytest.raises(InputError, match=option):
        MaskFolder(str(root)).setup("fit")
    (root / "classes.txt").write_text("background\nTree")
    write("val", "c", values=[[0, 255, 0]] * 2)
    MaskFolder(str(root), batch_size=1, values={255: 1}).setup("fit")


def test_one_class_with_masks_of_0_and_1_is_told_to_name_both(write: Write) -> None:
    root = write("train", "a", "b", values=[[0, 1, 1]] * 2)
    with pytest.raises(InputError) as raised:
        MaskFolder(str(root), classes=["Tree"]).setup()
    assert str(raised.value) == (
        "data.init_args.root: data.init_args.classes names 1 class (Tree), expected at least 2; if Tree are the pixels "
        "of 1, name both classes, background first"
    )


def test_levels_that_are_as_many_as_the_classes_get_the_option(write: Write) -> None:
    root = write("train", "a", values=[[0, 128, 255]] * 2)
    write("val", "b", values=[[0, 128, 255]] * 2)
    (root / "classes.txt").write_text("Sky\nTree\nCar")
    found = problems(MaskFolder(str(root)))
    assert found[0].startswith("train/masks/a.png: value(s) 128, expected")
    assert found[0].endswith("(data.init_args.ignored), or set data.init_args.values: {128: 1, 255: 2}")


def test_splits_are_known_under_other_names_and_in_any_case(write: Write) -> None:
    for folder, names in (("Training", "abc"), ("valid", "d"), ("Test1", "ef")):
        root = write(folder, *names)
    (root / "Test1/images").rename(root / "Test1/Images")
    expected = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}
    assert stems(MaskFolder(str(root))) == expected
    for part in ("images", "masks"):
        (root / part).mkdir()
        for split, given in (("Training", part), ("valid", part), ("Test1", "Images" if part == "images" else part)):
            (root / split / given).rename(root / part / split)
    for split in ("Training", "valid", "Test1"):
        (root / split).rmdir()
    assert stems(MaskFolder(str(root))) == expected
    (root / "images/extra").mkdir()
    with pytest.raises(InputError, match=r"/images/ has extra beside Training, valid, Test1: move them"):
        MaskFolder(str(root)).setup()


def test_splits_of_images_and_of_masks_may_differ_in_their_names(write: Write) -> None:
    for split, name in (("train", "abc"), ("val", "d")):
        write(f"all/{split}", *name)
    root = write("all/test", *"ef") / "all"
    for part in ("images", "masks"):
        (root / part).mkdir()
        for split in ("train", "val", "test"):
            (root / split / part).rename(root / part / (f"{split}_images" if part == "images" else split.title()))
    for split in ("train", "val", "test"):
        (root / split).rmdir()
    assert stems(MaskFolder(str(root))) == {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}


def test_a_class_that_colours_ignore_gets_an_option_of_colours(write: Write) -> None:
    root = write("train", "a", values=[[[0, 0, 0], [0, 0, 0], [9, 0, 0]]] * 2)
    write("val", "b", values=[[[0, 0, 0]] * 3] * 2)
    (root / "classes.txt").write_text("Sky\nTree")
    with pytest.raises(InputError, match=r'are Tree, set data\.init_args\.values: \{"0,0,0": 0, "9,0,0": 1\}; else'):
        MaskFolder(str(root), batch_size=1, values={"0,0,0": 0, "9,0,0": 255}).setup("fit")


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1 0.2 0.2")
    with pytest.raises(InputError, match=r"has no images/ and no train/: .*a\.txt is in YOLO's format"):
        MaskFolder(str(tmp_path)).setup()
    (tmp_path / "images/train").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no folder .*/masks/train/: .*a\.txt is in YOLO's format"):
        MaskFolder(str(tmp_path)).setup()


@pytest.mark.realdata
def test_camvid_has_eleven_classes_without_the_unlabelled_one(unpacked: Callable[[str], Path]) -> None:
    data = MaskFolder(str(unpacked("camvid")), ignored=[11])
    data.setup()
    assert data.split_sizes == {"train": 367, "val": 101, "test": 233}
    assert (data.num_classes, data.class_names[:2]) == (11, ["Sky", "Building"])
    assert data.class_counts == data.count_classes(data.source("train")).tolist()


def test_groups_are_not_divided(write: Write) -> None:
    root = str(write(".", *(f"{place}{view}" for place in "abcdefghij" for view in "123")))
    for options in ({}, {"fold": "2/5"}):
        parts = stems(MaskFolder(root, groups=r"^(\w)\d", **options))
        assert len(parts["test"]) == 6
        assert sum(len({stem[0] for stem in part}) for part in parts.values()) == 10
