"""What names of folders mean."""

from pathlib import Path

import pytest

from visiontasks.data.formats.split_folders import SplitNames, split_names, split_of, suspicious
from visiontasks.errors import InputError

ROOT = Path("cats")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Train", ("train", "")),
        ("TRAINING", ("train", "")),
        ("training_set", ("train", "")),
        ("TrainImages", ("train", "")),
        ("trainset", ("train", "")),
        ("test1", ("test", "")),
        ("valid", ("val", "")),
        ("dev", ("val", "")),
        ("seg_pred", ("pred", "seg")),
        ("train station", ("train", "station")),
        ("trainval", None),
        ("train_test", None),
        ("Trainingsdaten", ("train", "")),
        ("Validierung", ("val", "")),
        ("测试集", ("test", "")),
        ("latest", None),
        ("valley", None),
        ("trainer", None),
        ("contest", None),
    ],
)
def test_a_split_is_a_word_of_a_name(name: str, meaning: tuple[str, str] | None) -> None:
    assert split_of(name) == meaning


def test_splits_share_all_other_words() -> None:
    names = ["seg_pred", "seg_test", "seg_train"]
    assert split_names(names, folder=ROOT) == SplitNames({"train": "seg_train", "test": "seg_test"}, ["seg_pred"], [])
    assert split_names(["bird_train", "cat_test", "x"], folder=ROOT) == SplitNames(
        {}, [], ["bird_train", "cat_test", "x"]
    )
    assert split_names(["Train", "Test", "test-multiple"], folder=ROOT) == SplitNames(
        {"train": "Train", "test": "Test"}, [], ["test-multiple"]
    )


def test_two_folders_of_one_split_are_refused() -> None:
    with pytest.raises(InputError, match=r"root: cats/ has dev/ and eval/ \(both val\): one folder for each split"):
        split_names(["train", "dev", "eval"], folder=ROOT)


def test_class_names_are_suspicious_where_several_are_of_splits() -> None:
    assert suspicious(["a_train", "b_test", "cat", "dog", "owl"]) == ["a_train", "b_test"]
    assert suspicious(["pred_a", "pred_b", "cat", "dog", "owl"]) == ["pred_a", "pred_b"]
    assert suspicious(["train1", "train2", "cat", "dog", "owl"]) == ["train1", "train2"]
    assert suspicious(["my_train", "my_train2", "cat"]) == ["my_train", "my_train2"]
    assert suspicious(["train_station", "train_interior", "bar", "cafe", "pub"]) == []
    assert suspicious(["train", "bus"]) == []


def test_one_class_called_like_a_split_is_suspicious_unless_it_names_a_thing() -> None:
    assert suspicious(["cat", "dog", "test1"]) == ["test1"]
    assert suspicious(["cat", "dog", "Unlabelled"]) == ["Unlabelled"]
    assert suspicious(["cat", "dog", "test_tube"]) == []
    assert suspicious(["Invalid", "Valid"]) == []
