"""Questions of `visiontasks study` about finished runs, as a user types them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from visiontasks.commands.main import main
from visiontasks.recipe.open_run import open_run
from visiontasks.runs.folder import RECIPE
from visiontasks.tasks import ClassificationTask, SegmentationTask

OPTIONS = {"backbone": "resnet20_cifar.vt_cifar10"}


@pytest.fixture
def run(in_tmp: Path, class_folders: Callable[..., Path], saved_run: Callable[..., Path]) -> Path:
    """A run of images/, an untrained head on the shipped backbone; photos/ with one image that cannot be read."""
    folders = {"train/cat": 6, "train/dog": 6, "val/cat": 3, "val/dog": 3, "test/cat": 2, "test/dog": 2}
    class_folders(in_tmp / "images", folders)
    class_folders(in_tmp / "photos", {"cat": 2, "dog": 1})
    (in_tmp / "photos" / "empty.jpg").touch()
    task = ClassificationTask(**OPTIONS, weights="hub", num_classes=2)
    torch.nn.init.normal_(task.head.linear.weight)
    folder = saved_run(in_tmp / "runs" / "pets" / "1", task, OPTIONS, ["cat", "dog"], resize="crop")
    recipe = yaml.safe_load((folder / RECIPE).read_text())
    recipe["data"]["init_args"] |= {"root": "images", "image_size": 32, "num_workers": 0}
    (folder / RECIPE).write_text(yaml.safe_dump(recipe))
    return folder


def content(run: Path, question: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "study" / f"{question}.json").read_text(encoding="utf-8"))
    return found


def test_the_same_image_is_the_nearest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "similar", "runs/pets", "images/train/dog/3.png", "--count", "3"]) == 0
    out = capsys.readouterr().out
    assert "0.0000    dog    images/train/dog/3.png" in out
    assert "n = 12 training images" in out
    assert "of 6 validation images are nearer" in out
    (query,) = content(run, "similar")["queries"]
    assert [each["label"] for each in query["neighbours"]] == ["dog"] * 3
    page = (run / "study" / "index.html").read_text(encoding="utf-8")
    assert "<h1>pets/1</h1>" in page
    assert page.count("data:image/jpeg;base64,") == 4


def test_a_folder_has_a_line_for_each_image_and_each_error(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "similar", "runs/pets", "photos", "--embeddings", "out/photos.csv"]) == 0
    out = capsys.readouterr().out
    assert "photos/empty.jpg: " in out
    assert "out/photos.csv: 3 embeddings of 64 values" in out
    assert [each["name"] for each in content(run, "similar")["queries"]] == [
        "photos/cat/0.png",
        "photos/cat/1.png",
        "photos/dog/0.png",
    ]
    with Path("out/photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows][-1] == "photos/empty.jpg"
    assert rows[-1]["error"]


def test_embeddings_of_the_own_images_have_split_and_label(run: Path) -> None:
    assert main(["study", "similar", "runs/pets", "--embeddings", "own.npz"]) == 0
    with np.load("own.npz") as found:
        assert found["vectors"].shape == (22, 64)
        assert found["splits"].tolist() == ["train"] * 12 + ["val"] * 6 + ["test"] * 4
        assert found["labels"].tolist()[:12] == ["cat"] * 6 + ["dog"] * 6


def test_wrong_words_to_similar_are_answered(run: Path, refused: Callable[[str], str]) -> None:
    assert "--embeddings" in refused("study similar runs/pets")
    assert "expected a file that ends in .npz or .csv" in refused("study similar runs/pets --embeddings a.parquet")
    assert "no such file" in refused("study similar runs/pets none.png")
    assert "none of 1 images can be read: photos/empty.jpg: " in refused("study similar runs/pets photos/empty.jpg")


def test_other_images_than_those_of_the_training_are_refused(run: Path, refused: Callable[[str], str]) -> None:
    (run / "result.json").write_text(json.dumps({"data": {"splits": {"train": 12, "val": 5, "test": 4}}}))
    assert "was trained with 5 val images, but images has 6" in refused("study similar runs/pets photos")


def test_a_run_without_one_vector_for_an_image_is_refused(
    run: Path, saved_run: Callable[..., Path], refused: Callable[[str], str]
) -> None:
    task = SegmentationTask(backbone="resnet20_cifar", weights="none", num_classes=2)
    saved_run(Path("runs/masks/1"), task, {"backbone": "resnet20_cifar"}, ["cat", "dog"])
    assert "give a run that classifies images" in refused("study similar runs/masks photos")


def test_dark_photographs_are_told_and_a_forecast_is_made(
    run: Path, class_folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(Path("images"), {"val/cat": 20, "val/dog": 20})
    class_folders(Path("dark"), {"cat": 9, "dog": 9})
    for path in Path("dark").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 3).save(path)
    Path("dark/empty.jpg").touch()
    monkeypatch.setattr("visiontasks.commands.studies.field.MOST_ALTERED", 6)
    assert main(["study", "field", "runs/pets", "dark"]) == 0
    out = capsys.readouterr().out
    assert "the photographs differ from the validation images" in out
    assert "n = 18 photographs, 40 validation images" in out
    assert "dark/empty.jpg: " in out
    found = content(run, "field")
    assert found["differs"]
    light = next(each for each in found["differences"] if each["name"] == "light")
    assert light["field"] == pytest.approx(light["clean"] / 3, rel=0.1)
    assert light["p"] < 0.001
    assert found["forecast"]["low"] <= found["forecast"]["accuracy"] <= found["forecast"]["high"]
    assert found["forecast"]["ways"] == 30
    assert "Accuracy to expect on the 18 photographs" in (run / "study/index.html").read_text(encoding="utf-8")


def test_too_few_photographs_are_told(run: Path, refused: Callable[[str], str]) -> None:
    assert "a comparison needs 30 validation images, got 6" in refused("study field runs/pets photos")


def test_a_class_is_added_and_predicted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    owls(Path("new/owl"), 20)
    Path("new/owl/empty.jpg").touch()
    assert main(["study", "extend", "runs/pets", "new", "--out", "runs/owls/1", "--allow-fall"]) == 0
    out = capsys.readouterr().out
    assert "new/owl/empty.jpg: " in out
    assert "run: runs/owls/1" in out
    assert "n = 10 images" in out  # 6 of cat and dog, 4 of owl
    result = json.loads(Path("runs/owls/1/result.json").read_text(encoding="utf-8"))
    assert result["data"] == {"splits": {"train": 24, "val": 10, "test": 8}, "classes": ["cat", "dog", "owl"]}
    assert result["metrics"]["test/top1"]["n"] == 8
    assert main(["predict", "runs/owls", "new/owl/0.png", "images/val/cat/0.png", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["owl", "cat"]
    assert (Path("runs/owls/1/study/index.html")).is_file()
    assert open_run("runs/owls/1").class_names == ("cat", "dog", "owl")


def test_what_cannot_be_added_is_refused(run: Path, refused: Callable[[str], str]) -> None:
    assert "no such file or folder" in refused("study extend runs/pets nothing")
    owls(Path("new/owl"), 8)
    assert "10 images of each new class are needed" in refused("study extend runs/pets new --out runs/new/1")
    assert "too few of owl (8)" in refused("study extend runs/pets new --out runs/new/1")
    assert not Path("runs/new").exists()
    owls(Path("new/Cat"), 1)
    assert "new/owl has no class folders" in refused("study extend runs/pets new/owl")
    owls(Path("again/cat"), 1)
    assert "again has classes that the run has already: cat" in refused("study extend runs/pets again")


def owls(folder: Path, n: int) -> None:
    """Images of noise that no other has."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        noise = np.random.default_rng(1000 + i).integers(0, 60, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(noise + np.array([190, 30, 190], np.uint8)).save(folder / f"{i}.png")
