"""Which image and which split a name in an annotation means."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export
from visiontasks.errors import InputError

Write = Callable[..., Path]
SIZE = (8, 6)


def shown(root: Path, found: tuple[str, str]) -> tuple[str, str]:
    return found[0].replace(f"{root}/", ""), found[1].replace(f"{root}/", "")


def test_the_image_that_agrees_in_more_folders_or_lies_closer_is_meant(written: Write) -> None:
    root = written({}, dict.fromkeys(("a/0.png", "b/0.png", "c/d/0.png", "1.png", "c/1.PNG"), SIZE))
    folder = ExportFolder(root)
    for name, annotation, expected in (
        ("a/0.png", "x.json", "a/0.png"),
        ("/home/someone/b/0.png", "x.json", "b/0.png"),
        ("C:\\data\\c\\d\\0.png", "x.json", "c/d/0.png"),
        ("./0.png", "b/x.json", "b/0.png"),
        ("../b/0.png", "a/x.json", "b/0.png"),
        ("1.png", "x.json", "1.png"),
        ("1.PNG", "x.json", "c/1.PNG"),
    ):
        assert shown(root, folder.find_image(name, str(root / annotation))) == (expected, ""), name


def test_what_may_be_several_or_is_not_there_is_stated(written: Write) -> None:
    root = written({}, {"a/0.png": SIZE, "b/0.png": SIZE})
    folder = ExportFolder(root)
    several = "0.png may be any of a/0.png, b/0.png; rename or remove all but one"
    assert shown(root, folder.find_image("0.png", str(root / "x.json"))) == ("", several)
    for name in ("7.png", "", ".", "..", "/"):
        assert folder.find_image(name, str(root / "x.json")) == ("", f"no image {name} in {root}/")


def test_an_image_in_the_folder_of_another_split_is_another_image(written: Write) -> None:
    root = written({}, {"train/0.png": SIZE, "valid/0.png": SIZE, "valid/1.png": SIZE})
    folder = ExportFolder(root)
    place = str(root / "annotations/x.json")
    assert shown(root, folder.find_image("0.png", place, "val")) == ("valid/0.png", "")
    assert folder.find_image("1.png", place, "train")[0] == ""
    assert shown(root, folder.find_stem("1", place, "val")) == ("valid/1.png", "")


def test_names_are_found_in_the_other_form_of_unicode(written: Write) -> None:
    root = written({}, {normalize("NFD", "café.png"): SIZE})
    assert ExportFolder(root).find_image(normalize("NFC", "café.png"), str(root / "a.json"))[0].endswith(".png")


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("valid/_annotations.coco.json", "val"),
        ("data/TestSet/labels/a.txt", "test"),
        ("a.json", ""),
        ("predict/a.json", ""),
        ("train/deep/er/validation.csv", "val"),
    ],
)
def test_the_split_is_in_the_file_name_or_in_the_closest_folder(written: Write, file: str, split: str) -> None:
    root = written({file: ""}, {})
    assert ExportFolder(root).split_of_file(str(root / file)) == split


def test_a_root_that_is_called_train_is_not_a_split(written: Write, tmp_path: Path) -> None:
    written({"train/a.json": "{}"}, {})
    folder = ExportFolder(tmp_path / "train")
    assert folder.split_of_file(str(tmp_path / "train/a.json")) == ""


def test_hidden_files_are_passed_over_and_counted(written: Write) -> None:
    root = written({"__MACOSX/._0.png": "x"}, {"0.png": SIZE, ".trash/1.png": SIZE})
    hidden: Counter[str] = Counter()
    assert [Path(image).name for image in ExportFolder(root, hidden).images] == ["0.png"]
    assert hidden.total() > 0


def test_of_many_files_the_first_and_the_largest_are_looked_at(written: Write) -> None:
    """The file of a whole dataset is found among those of single images by its size."""
    files = {f"{i:02d}.json": "[1]" for i in range(40)} | {"35.json": "[1, 2]"}
    folder = ExportFolder(written(files, {}))
    looked = [Path(file).name for file in folder.sample(".json")]
    assert looked[:10] == [f"{i:02d}.json" for i in range(10)]
    assert "35.json" in looked
    assert len(looked) <= 20
    assert folder.matching(lambda file: file.endswith("35.json"), ".json") == [str(folder.root / "35.json")]


def test_images_outside_of_the_splits_are_refused(written: Write) -> None:
    root = written({}, {"train/0.png": SIZE, "more/1.png": SIZE})
    export = Export(ExportFolder(root))
    for name in ("0.png", "1.png"):
        export.add(name, str(root / "a.json"), "a.json")
    with pytest.raises(
        InputError, match=r"1 image\(s\) of .*/ are in no split \(such as more/1.png\), others are in train"
    ):
        export.splits()


def test_missing_images_are_listed_with_the_first_split(written: Write) -> None:
    root = written({}, {"val/0.png": SIZE})
    export = Export(ExportFolder(root))
    for name in ("0.png", "7.png"):
        export.add(name, str(root / "a.json"), f"{name} there")
    assert {split: [image.path for image in images] for split, images in export.splits().items()} == {
        "val": [str(root / "val/0.png"), ""]
    }
