"""`visiontasks study` as a user types it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiontasks.commands.main import main

SHIPPED = "--backbone resnet20_cifar.vt_cifar10 --image-size 32 --workers 0"


@pytest.fixture
def images(in_tmp: Path, class_folders: Callable[..., Path]) -> Path:
    root = class_folders(in_tmp / "images", {"train/cat": 12, "train/dog": 12})
    (root / "train/cat/3.png").rename(root / "train/dog/30.png")  # a wrong label
    return root


def study(question: str, more: str = SHIPPED) -> dict[str, Any]:
    assert main(["study", *question.split(), "images", *more.split()]) == 0
    content: dict[str, Any] = json.loads(Path(f"studies/images/{question}.json").read_text(encoding="utf-8"))
    return content


def test_a_wrong_label_is_named_and_can_be_corrected(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = study("labels")
    assert [(each["name"], each["label"], each["predicted"]) for each in content["suspects"]] == [
        ("train/dog/30.png", "dog", "cat")
    ]
    out = capsys.readouterr().out
    assert "23 of 24 labels are as predicted by heads that have not seen the image" in out
    assert re.search(r"train/dog/30\.png +dog +0\.\d+ +cat +0\.\d+", out)
    page = Path("studies/images/index.html").read_text(encoding="utf-8")
    assert f"page: {Path('studies/images/index.html').resolve().as_uri()}" in out
    assert 'data-file="train/dog/30.png" data-label="dog"' in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "script-src 'sha256-" in page
    Path("corrections.csv").write_text("file,label,correct\ntrain/dog/30.png,dog,cat\n", encoding="utf-8")
    assert study("labels", f"{SHIPPED} --data.corrections corrections.csv")["suspects"] == []


def test_the_page_has_a_section_for_each_study(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study("how-much-data")
    assert "2 times the images: " in capsys.readouterr().out
    page = Path("studies/images/index.html")
    assert "script" not in page.read_text(encoding="utf-8")
    probed = study("probe", "--backbones resnet20_cifar.vt_cifar10 --image-size 32 --workers 0")["probed"]
    assert [(each["name"], each["n"]) for each in probed] == [("resnet20_cifar.vt_cifar10", 19)]  # 5 of 24 are for test
    assert "n = 19 training and validation images" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text.index("Which backbone?") < text.index("How much data?")


def test_wrong_words_are_answered_at_once(images: Path, refused: Any) -> None:
    assert "did you mean labels?" in refused("study lables images")
    said = refused("study images")
    assert "expected one of probe, labels, how-much-data, groups, folds, search, next, similar, field, extend" in said
    assert "QUESTION" in refused("study")
    assert "RECIPE|FOLDER" in refused("study labels")
    assert "--folds" in refused("study labels images --folds 1")
    assert "--backbone" in refused(f"study labels images --backbones a,b {SHIPPED}")


def test_too_few_images_of_a_class_are_refused(in_tmp: Path, class_folders: Callable[..., Path], refused: Any) -> None:
    class_folders(in_tmp / "images", {"train/cat": 9, "train/dog": 4, "val/cat": 1, "test/cat": 1})
    assert "too few of dog (4)" in refused(f"study labels images {SHIPPED}")


def test_what_a_random_split_claims_of_groups(
    in_tmp: Path, class_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str], refused: Any
) -> None:
    """Of 12 images of each class in films of two; the colour tells the class, so nothing is claimed too much."""
    root = class_folders(in_tmp / "images", {"cat": 12, "dog": 12})
    for path in sorted(root.rglob("*.png")):
        film, frame = divmod(int(path.stem), 2)
        path.rename(path.with_name(f"{path.parent.name}{film}_{frame}.png"))
    words = f"{SHIPPED} --data.groups ([a-z]+[0-9])_"
    (found,) = study("groups", f"{words} --folds 3")["studies"]
    assert [found[key] for key in ("groups", "number", "n", "largest")] == ["([a-z]+[0-9])_", 12, 24, 2]
    assert found["random"]["value"] == found["whole"]["value"] == 1.0
    assert "the interval of the difference holds 0" in capsys.readouterr().out
    assert "Do images belong together?" in Path("studies/images/index.html").read_text(encoding="utf-8")
    assert "needs 7 groups of each class, too few of cat (6), dog (6)" in refused(
        f"study groups images {words} --folds 7"
    )


def test_a_list_of_images_to_label_is_written(
    images: Path, class_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(images.parent / "photos", {"owl": 16})  # the first 12 have the noise of labelled ones
    (images.parent / "photos" / "empty.jpg").touch()
    assert main(["study", "next", "images", "photos", "--count", "2", *SHIPPED.split()]) == 0
    out = capsys.readouterr().out
    assert "n = 19 labelled and 16 unlabelled images; 12 of these are near duplicates" in out  # 5 of 24 are for test
    assert "whether choosing beats chance is not known: that takes 36 labelled images, got 19" in out
    assert "1 files cannot be read" in out
    rows = Path("studies/images/next.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "image,predicted,probability,margin,error"
    assert {row.split(",")[0] for row in rows[1:3]} < {f"photos/owl/{i}.png" for i in range(12, 16)}
    assert rows[3].startswith("photos/empty.jpg,,,,")
    assert len(rows) == 4
    page = Path("studies/images/index.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "a replay takes 36 labelled images, there are 19" in page


def test_words_to_next_that_are_missing_or_wrong(images: Path, refused: Any) -> None:
    assert "IMAGE|FOLDER|GLOB" in refused("study next images")
    assert "no such file" in refused("study next images photos")
    Path("bad.jpg").touch()
    assert "none of 1 images can be read" in refused(f"study next images bad.jpg {SHIPPED}")
