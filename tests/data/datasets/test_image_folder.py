"""Class folders as users have them, and the mistakes in them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.sources import sample_name, sample_path
from visiontasks.errors import BadSamplesError, InputError, MissingFileError

WriteImages = Callable[..., Path]


@pytest.fixture
def filled(tmp_path: Path, write_images: WriteImages) -> Callable[..., Path]:
    """`filled({"train/cat": 3})`: a root with these numbers of images in folders."""

    def fill(folders: dict[str, int]) -> Path:
        for name, number in folders.items():
            write_images(tmp_path / name, number)
        return tmp_path

    return fill


def counts(data: ImageFolder) -> dict[str, list[int]]:
    data.prepare_data()
    data.setup()
    return {
        split: np.bincount(data.source(split).labels, minlength=data.num_classes).tolist() for split in data.split_sizes
    }


def test_three_split_folders_are_the_splits(filled: Callable[..., Path]) -> None:
    root = filled({"train/cat": 3, "train/dog": 2, "val/cat": 1, "val/dog": 1, "test/dog": 2})
    data = ImageFolder(str(root))
    assert data.class_names == ["cat", "dog"]
    assert counts(data) == {"train": [3, 2], "val": [1, 1], "test": [0, 2]}


def test_one_folder_is_split_in_three(filled: Callable[..., Path]) -> None:
    data = ImageFolder(str(filled({"a": 10, "b": 20})))
    assert counts(data) == {"train": [6, 12], "val": [2, 4], "test": [2, 4]}


def test_the_parts_of_one_folder_are_disjoint_and_depend_on_split_seed_alone(filled: Callable[..., Path]) -> None:
    root = filled({"a": 10, "b": 10})

    def rows(**seeds: int) -> dict[str, list[int]]:
        data = ImageFolder(str(root), **seeds)
        data.setup()
        return {split: data.source(split).rows.tolist() for split in data.split_sizes}

    parts = rows()
    assert sorted(sum(parts.values(), [])) == list(range(20))  # noqa: RUF017
    assert rows(seed=1) == parts
    assert rows(split_seed=1) != parts


def test_only_train_is_split_in_three(filled: Callable[..., Path]) -> None:
    assert counts(ImageFolder(str(filled({"train/a": 5, "train/b": 5})))) == {
        "train": [3, 3],
        "val": [1, 1],
        "test": [1, 1],
    }


def test_validation_comes_from_train_where_only_test_is_given(filled: Callable[..., Path]) -> None:
    root = filled({"train/a": 5, "train/b": 10, "test/a": 3, "test/b": 3})
    assert counts(ImageFolder(str(root))) == {"train": [4, 8], "val": [1, 2], "test": [3, 3]}


def test_without_a_test_folder_there_is_no_test_split(filled: Callable[..., Path]) -> None:
    data = ImageFolder(str(filled({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})))
    assert counts(data) == {"train": [2, 2], "val": [1, 1]}
    with pytest.raises(InputError, match=r"no test split here, only: train, val.*--split"):
        data.test_dataloader()


def test_a_folder_of_test_images_can_be_evaluated(filled: Callable[..., Path]) -> None:
    assert counts(ImageFolder(str(filled({"test/a": 2, "test/b": 1})))) == {"test": [2, 1]}


def test_a_whole_folder_becomes_the_test_split(filled: Callable[..., Path]) -> None:
    assert counts(ImageFolder(str(filled({"a": 2, "b": 1})), test_fraction=1.0)) == {"test": [2, 1]}


def test_only_the_test_folder_is_opened_to_evaluate_where_train_misses_a_class(
    filled: Callable[..., Path],
) -> None:
    root = filled({"train/a": 1, "test/a": 2, "test/b": 3})
    assert counts(ImageFolder(str(root), test_fraction=1.0, classes=["a", "b"])) == {"test": [2, 3]}


def test_a_folder_without_test_images_cannot_be_evaluated_on_test(filled: Callable[..., Path]) -> None:
    data = ImageFolder(str(filled({"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})), test_fraction=1.0)
    assert counts(data) == {"val": [1, 1]}
    with pytest.raises(InputError, match=r"no test split here, only: val; .*--split"):
        data.test_dataloader()


def test_no_test_split_when_its_fraction_is_0(filled: Callable[..., Path]) -> None:
    assert counts(ImageFolder(str(filled({"a": 5, "b": 5})), test_fraction=0.0)) == {"train": [4, 4], "val": [1, 1]}


def test_named_classes_keep_their_labels_where_a_folder_has_only_some(filled: Callable[..., Path]) -> None:
    root = filled({"test/b": 2})
    data = ImageFolder(str(root), classes=["c", "b", "a"])
    data.setup()
    assert data.class_names == ["c", "b", "a"]
    assert data.source("test").labels.tolist() == [1, 1]


def test_classes_are_in_natural_order_and_a_class_may_be_called_train(filled: Callable[..., Path]) -> None:
    assert ImageFolder(str(filled({"train": 3, "class10": 3, "class2": 3}))).class_names == [
        "class2",
        "class10",
        "train",
    ]


def test_nested_and_linked_images_belong_to_their_class(
    tmp_path: Path, filled: Callable[..., Path], write_images: WriteImages
) -> None:
    root = filled({"root/train/a": 1, "root/train/a/deep/er": 2, "root/train/b": 1, "root/val/a": 1}) / "root"
    (root / "train/c").symlink_to(write_images(tmp_path / "elsewhere", 4))
    assert counts(ImageFolder(str(root))) == {"train": [3, 1, 4], "val": [1, 0, 0]}


def test_images_become_batches_with_their_class(filled: Callable[..., Path]) -> None:
    data = ImageFolder(str(filled({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})), image_size=4, num_workers=0)
    data.setup()
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (2, 3, 4, 4)
    assert batch["image"][0, :, 0, 0].tolist() == [0, 100, 200]
    assert batch["label"].tolist() == [0, 1]


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no folder .*/none/: point --data\.init_args\.root at your images"):
        _ = ImageFolder(str(tmp_path / "none")).class_names


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, r"no class folders in .*: expected <class>/ with images, or train/<class>/"),
        ({"train": 3}, "no class folders in .*/train/"),
        ({"a": 0, "b": 0}, r"data\.init_args\.root: .* has no images in a/, b/; expected <class>/"),
        (
            {"train/a": 2, "train/b": 2, "val": 0},
            r"data\.init_args\.root: .*/val/ has no class folders; expected <class>/",
        ),
        ({"a": 9}, r"1 class \(a\), expected at least 2"),
        ({"train/a": 2, "train/b": 0, "val/a": 1}, "no training images of b"),
        (
            {"train/a": 2, "train/b": 2, "val/a": 1, "val/zebra": 1},
            r"/val/ has classes that .*/train/ does not have: zebra",
        ),
        ({"train/a": 2, "train/b": 2, "test/x": 1, "test/y": 1}, "/test/ has classes that .* does not have: x, y"),
        ({"a": 9, "b": 2, "c": 1}, r"too few images to be split into train, val, test: b \(2\), c \(1\)"),
        ({"training/a": 9, "testing/a": 9}, r"training/ has 1 class \(a\)"),
        ({"train/a": 9, "train/b": 9, "val/a": 9, "valid/b": 9}, r"val/ and valid/ \(both val\): one folder for each"),
        ({"train": 3, "test1": 3}, "has test1/, train/, named like splits and not like classes"),
        ({"my_train": 3, "the_test": 3, "cat": 3}, "has my_train/, the_test/, named like splits"),
        ({"cat": 3, "dog": 3, "test": 4}, "has test/, named like splits .*: sort, rename or move these images"),
        ({"cat": 3, "dog": 3, "Test_Images": 4}, "has Test_Images/, named like splits"),
        ({"cat": 3, "dog": 3, "validation": 4}, "has validation/, named like splits"),
        ({"cat": 3, "dog": 3, "unlabeled": 4}, "has unlabeled/, named like splits"),
        ({"one/a": 3, "one/b": 3, "two/A": 3, "two/b": 3}, r"one/, two/ in .* hold the same folders \(a, b\)"),
        ({"a/train": 3, "a/test": 3, "b/train": 3}, r"/a/ holds test/ and train/; the split comes first"),
        ({"train/steam": 3, "train/diesel": 3, "car": 3}, "has car/ beside the split train/"),
        (
            {"train/a": 3, "train/b": 3, "test/a": 3, "test/b": 3, "check/a": 3, "check/b": 3},
            "has check/ beside train/, test/, with the same class folders: rename it to val/",
        ),
        ({"train/a": 3, "train/b": 3, "test": 4}, r"/test/ has 4 image\(s\) and no class folders"),
        ({"train/a": 3, "train/b": 3, "test/test": 4}, r"/test/test/ has 4 image\(s\) and no class folders"),
        (
            {"data/a": 3, "data/b": 3},
            r"1 class \(data\).*Are the classes in .*/data/\? Then point --data.init_args.root",
        ),
        ({"images": 3, "masks": 3}, "has images/, masks/, which are parts of samples .* recipe folder_segment"),
        (
            {"images/train": 3, "images/val": 3, "labels/train": 0, "labels/val": 0},
            "has images/, labels/, which are parts",
        ),
        ({"train/Cat": 3, "train/cat": 3, "train/dog": 3}, "whose names differ in case alone: Cat and cat"),
        (
            {"train/Cat": 3, "train/dog": 3, "val/cat": 3},
            "does not have: cat; expected some of Cat, dog.*cat is called Cat there",
        ),
        ({"train/a": 2, "train/b": 2, "val/a": 1, "val": 1}, r"/val/ has images outside of class folders: 0\.png"),
        ({"a": 3, "b": 3, ".": 1}, r"has images outside of class folders: 0\.png"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    filled: Callable[..., Path], folders: dict[str, int], message: str
) -> None:
    data = ImageFolder(str(filled(folders)))
    with pytest.raises(InputError, match=message):
        data.setup("fit")


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "VAL", "Test"),
        ("training", "validation", "testing"),
        ("seg_train/seg_train", "seg_val", "seg_test/seg_test"),
        ("train_images", "valid_images", "test1"),
        ("TrainSet", "dev_set", "TestSet"),
        ("train2017", "eval2017", "test2017"),
        ("birds-train", "birds-valid", "birds-test"),
        ("train/images", "val/images", "test/images"),
    ],
)
def test_splits_are_known_under_other_names(filled: Callable[..., Path], train: str, val: str, test: str) -> None:
    root = filled({f"{train}/a": 3, f"{train}/b": 2, f"{val}/a": 1, f"{test}/b": 2})
    data = ImageFolder(str(root))
    assert counts(data) == {"train": [3, 2], "val": [1, 0], "test": [0, 2]}
    assert data.class_names == ["a", "b"]
    assert data.notes == []


def test_images_to_predict_beside_splits_are_noted(filled: Callable[..., Path]) -> None:
    folders = {
        "seg_train/seg_train/a": 3,
        "seg_train/seg_train/b": 3,
        "seg_test/seg_test/a": 2,
        "seg_test/seg_test/b": 2,
    }
    data = ImageFolder(str(filled({**folders, "seg_pred/seg_pred": 4})))
    assert counts(data) == {"train": [2, 2], "val": [1, 1], "test": [2, 2]}
    assert data.notes == ["not read beside seg_train/, seg_test/: seg_pred/"]


def test_classes_that_are_named_may_be_called_like_splits(filled: Callable[..., Path]) -> None:
    root = filled({"train": 3, "test tube": 3})
    with pytest.raises(InputError, match=r"or name all classes if these are some \(data\.init_args\.classes\)"):
        ImageFolder(str(root)).setup()
    data = ImageFolder(str(root), classes=["train", "test tube"])
    assert counts(data) == {"train": [1, 1], "val": [1, 1], "test": [1, 1]}


@pytest.mark.parametrize(
    "names",
    [("train_station", "train_interior", "bar", "cafe", "pub"), ("bus", "train"), ("A", "a"), ("valid", "invalid")],
)
def test_classes_of_such_words_stay_classes(filled: Callable[..., Path], names: tuple[str, ...]) -> None:
    data = ImageFolder(str(filled(dict.fromkeys(names, 3))))
    assert set(data.class_names) == set(names)


def test_thumbnails_and_bins_are_neither_classes_nor_images(filled: Callable[..., Path]) -> None:
    system = {"@eaDir/a": 2, "a/@eaDir": 5, "a/.ipynb_checkpoints": 1, "__MACOSX/a": 2, "#recycle": 1, "lost+found": 1}
    data = ImageFolder(str(filled({"a": 3, "b": 3, **system})))
    assert counts(data) == {"train": [1, 1], "val": [1, 1], "test": [1, 1]}
    assert data.hidden == {"@eaDir": 2, ".ipynb_checkpoints": 1, "__MACOSX": 1, "#recycle": 1, "lost+found": 1}


NFC, NFD = "cr\u00e8me", "cre\u0300me"


def test_two_unicode_forms_of_a_name_are_one_class(filled: Callable[..., Path]) -> None:
    root = filled({f"train/{NFD}": 3, "train/a": 2, f"val/{NFC}": 1})
    data = ImageFolder(str(root))
    assert counts(data) == {"train": [2, 3], "val": [0, 1]}
    assert data.class_names == ["a", NFC]
    assert (root / "train" / NFD).is_dir()
    data.load_state_dict({"class_names": ["a", NFD]})
    assert counts(ImageFolder(str(root), classes=[NFD, "a"])) == {"train": [3, 2], "val": [1, 0]}


def test_two_folders_of_one_name_in_two_unicode_forms_are_refused(filled: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="two folders called .*, in two Unicode forms; move"):
        ImageFolder(str(filled({f"train/{NFD}": 3, f"train/{NFC}": 3, "train/a": 3}))).setup()


def test_a_table_of_labels_is_named(filled: Callable[..., Path]) -> None:
    root = filled({"train_images": 4})
    (root / "train.csv").write_text("image_id,label\n0.png,0\n")
    with pytest.raises(InputError, match=r"train\.csv is a CSV file of labels \(columns image_id,label\).*/<label>/"):
        ImageFolder(str(root)).setup()


@pytest.mark.parametrize("folder", [".", "train"])
def test_classes_in_file_names_are_noticed(filled: Callable[..., Path], folder: str) -> None:
    root = filled({folder: 3})
    for i in range(3):
        (root / folder / f"{i}.png").rename(root / folder / f"cat.{i}.png")
    filled({folder: 3})
    for i in range(3):
        (root / folder / f"{i}.png").rename(root / folder / f"dog.{i}.png")
    with pytest.raises(InputError, match=r"class seems to be in the file names \(cat\.0\.png and dog\.0\.png\): move"):
        ImageFolder(str(root)).setup()


def test_files_that_are_no_images_are_all_named(filled: Callable[..., Path]) -> None:
    root = filled({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    for name in ("train/a/x.psd", "train/b/y.mp4", "train/b/labels.txt", "train/a/.DS_Store"):
        (root / name).touch()
    with pytest.raises(InputError, match=r"2 file\(s\) in folders of images are not images: .*x\.psd, .*y\.mp4;"):
        ImageFolder(str(root)).setup()


def test_unknown_classes_are_named_when_the_classes_are_given(filled: Callable[..., Path]) -> None:
    data = ImageFolder(str(filled({"test/a": 1, "test/b": 1})), classes=["a", "c"])
    with pytest.raises(
        InputError, match=r"/test/ has classes that data\.init_args\.classes does not have: b; .*: add them to data\."
    ):
        data.setup()


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.classes: a, b, a, expected each name once"):
        ImageFolder("images", classes=["a", "b", "a"])


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (0.0, 0.2, "val_fraction: 0.0, expected between 0 and 1"),
        (0.2, 1.2, "test_fraction: 1.2, expected 0 to 1"),
        (0.5, 0.5, "leave nothing to train on"),
    ],
)
def test_fractions_out_of_range_are_refused(val: float, test: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageFolder("images", val_fraction=val, test_fraction=test)


def spoil(root: Path, *names: str) -> None:
    """Cut a file off, empty one, put text into one, in turns."""
    for i, name in enumerate(names):
        whole = (root / name).read_bytes()
        (root / name).write_bytes((whole[:45], b"", b"<html>")[i % 3])


def test_all_bad_files_are_listed_before_training(filled: Callable[..., Path]) -> None:
    root = filled({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    spoil(root, "train/a/1.png", "train/b/0.png", "val/b/1.png")
    with pytest.raises(BadSamplesError, match=r"3 problem\(s\) in 3 of 10 samples(.|\n)*on_bad_sample skip$") as raised:
        ImageFolder(str(root)).setup("fit")
    lines = str(raised.value).splitlines()[1:-1]
    assert [line.partition(":")[0] for line in lines] == [
        str(root / name) for name in ("train/a/1.png", "train/b/0.png", "val/b/1.png")
    ]
    assert ["damaged" in lines[0], "is empty" in lines[1], "not an image" in lines[2]] == [True] * 3


def test_bad_files_can_be_skipped_and_are_counted(filled: Callable[..., Path]) -> None:
    root = filled({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    spoil(root, "train/a/1.png", "train/b/0.png", "val/b/1.png")
    data = ImageFolder(str(root), on_bad_sample="skip")
    assert counts(data) == {"train": [2, 2], "val": [2, 1]}
    assert data.skipped == {"train": 2, "val": 1}
    assert [sample_name(data.source("train"), i) for i in range(4)] == ["0.png", "2.png", "1.png", "2.png"]
    assert len(data.source("train")[3]["image"]) == 6


def test_skipping_finds_damage_that_shows_only_when_a_file_is_decoded(
    filled: Callable[..., Path], write_images: WriteImages
) -> None:
    root = filled({"val/a": 1, "val/b": 1})
    write_images(root / "train/a", 3, size=(80, 60))
    write_images(root / "train/b", 3, size=(80, 60))
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(root / "train/a/1.png")
    whole = bytearray((root / "train/a/1.png").read_bytes())
    whole[5000:5200] = bytes(200)
    (root / "train/a/1.png").write_bytes(whole)
    assert counts(ImageFolder(str(root)))["train"] == [3, 3]
    data = ImageFolder(str(root), on_bad_sample="skip")
    assert counts(data)["train"] == [2, 3]
    assert data.skipped == {"train": 1, "val": 0}


def test_a_bad_file_leaves_all_others_in_their_splits(filled: Callable[..., Path]) -> None:
    root = filled({"a": 10, "b": 10})

    def files() -> dict[str, list[str]]:
        data = ImageFolder(str(root), on_bad_sample="skip")
        data.setup()
        return {
            split: [sample_path(data.source(split), i) for i in range(size)] for split, size in data.split_sizes.items()
        }

    before = files()
    spoil(root, "a/4.png", "b/0.png", "b/7.png")
    bad = {str(root / name) for name in ("a/4.png", "b/0.png", "b/7.png")}
    assert files() == {split: [path for path in paths if path not in bad] for split, paths in before.items()}


def test_a_split_of_bad_files_alone_is_refused(filled: Callable[..., Path]) -> None:
    root = filled({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    spoil(root, "val/a/0.png", "val/b/0.png")
    with pytest.raises(InputError, match=r"skip, but all 2 image\(s\) of the val split are bad; correct some of them"):
        ImageFolder(str(root), on_bad_sample="skip").setup()


def test_a_wrong_choice_about_bad_files_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.on_bad_sample: 'no', expected one of error, skip"):
        ImageFolder("images", on_bad_sample="no")


@pytest.mark.realdata
def test_pets_in_linked_class_folders_are_read(unpacked: Callable[[str], Path], tmp_path: Path) -> None:
    pets = unpacked("pets3") / "oxford-iiit-pet"
    for split, listing in (("train", "trainval"), ("test", "test")):
        for line in (pets / f"annotations/{listing}.txt").read_text().splitlines():
            stem = line.split()[0]
            link = tmp_path / split / stem.rpartition("_")[0] / f"{stem}.jpg"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(pets / f"images/{stem}.jpg")
    data = ImageFolder(str(tmp_path), image_size=64, batch_size=50, num_workers=2)
    assert data.class_names == ["Abyssinian", "american_bulldog", "Bengal"]
    assert counts(data) == {"train": [80, 80, 80], "val": [20, 20, 20], "test": [98, 100, 100]}
    assert sum(len(batch["index"]) for batch in data.test_dataloader()) == 298
    assert sum(len(batch["index"]) for batch in data.train_dataloader()) == 200


def films(root: Path, part: str = ".") -> Path:
    """Per class 6 films of 2 to 7 frames."""
    for label, name in enumerate(("cat", "dog")):
        folder = root / part / name
        folder.mkdir(parents=True)
        for film in range(6):
            for frame in range(2 + film):
                Image.new("RGB", (8, 6)).save(folder / f"film{film + 6 * label:02d}_{frame}.png")
    return root


def films_of(data: ImageFolder) -> dict[str, set[str]]:
    data.setup()
    names = {split: [data.source(split), range(data.split_sizes[split])] for split in data.split_sizes}
    return {split: {sample_name(source, row)[:6] for row in rows} for split, (source, rows) in names.items()}


def test_a_group_is_in_one_of_the_splits_that_are_made(tmp_path: Path) -> None:
    """12 films, of which a split of single images would divide nearly all."""
    data = ImageFolder(str(films(tmp_path)), groups=r"(film\d+)_")
    found = films_of(data)
    assert sum(map(len, found.values())) == 12
    assert data.notes == [r"groups by (film\d+)_: 12 of 2 to 7 images; splits that are made here divide none"]
    assert data.made_splits == {"val", "test"}
    assert sum(map(len, films_of(ImageFolder(str(tmp_path))).values())) > 12
    assert films_of(ImageFolder(str(tmp_path), groups=r"(film\d+)_")) == found
    assert films_of(ImageFolder(str(tmp_path), groups=r"(film\d+)_", split_seed=1)) != found


def test_a_split_that_is_there_stays_beside_groups(tmp_path: Path) -> None:
    films(tmp_path, "train")
    films(tmp_path, "test")
    found = films_of(ImageFolder(str(tmp_path), groups=r"(film\d+)_"))
    assert len(found["test"]) == 12
    assert not found["train"] & found["val"]


def test_too_few_groups_for_a_split_are_refused(tmp_path: Path) -> None:
    message = r"groups: too few groups to be split into train, val, test: all classes \(54 images in 2 groups\)"
    with pytest.raises(InputError, match=message):
        ImageFolder(str(films(tmp_path)), groups="folder").setup()


def test_a_fold_is_the_test_split_and_the_folds_hold_each_image_once(tmp_path: Path) -> None:
    films(tmp_path)
    held: list[str] = []
    for number in (1, 2, 3):
        data = ImageFolder(str(tmp_path), fold=f"{number}/3", groups=r"(film\d+)_")
        assert sum(map(len, films_of(data).values())) == 12
        held += [sample_path(data.source("test"), row) for row in range(data.split_sizes["test"])]
    assert sorted(held) == sorted(map(str, tmp_path.rglob("*.png")))


def test_a_validation_split_that_is_there_is_that_of_each_fold(filled: Callable[..., Path]) -> None:
    """And the test split is not opened."""
    root = filled({"train/a": 9, "train/b": 6, "val/a": 2, "test/a": 7})
    assert counts(ImageFolder(str(root), fold="1/3")) == {"train": [6, 4], "val": [2, 0], "test": [3, 2]}


def test_a_class_with_fewer_images_than_folds_is_refused(filled: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"split into 5 folds: b \(4\); expected 5 or more of each"):
        ImageFolder(str(filled({"a": 10, "b": 4})), fold="1/5").setup()
