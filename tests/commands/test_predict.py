"""The command `predict` as a user types it."""

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.commands.main import main
from visiontasks.data.pipeline.reader import read_mask
from visiontasks.tasks import ClassificationTask, LocalizationTask, SegmentationTask
from visiontasks.tasks.calibration import Calibration

Refused = Callable[[str], str]
CLASSES = ["cat", "dog", "owl"]
LENET = {"backbone": "lenet5", "in_chans": 3}


@pytest.fixture
def runs(saved_run: Callable[..., Path], in_tmp: Path) -> Path:
    """runs/classify/{1,2}, runs/box, runs/mask, runs/other; photos/{a,b}.png, photos/deep/a.jpg."""
    for name in ("classify/1", "classify/2"):
        torch.manual_seed(len(list(in_tmp.rglob("recipe.yaml"))))
        task: Any = ClassificationTask(**LENET, weights="none", num_classes=3)
        task.head.linear.weight.data.normal_(std=3)
        saved_run(in_tmp / "runs" / name, task, LENET, CLASSES)
    task = ClassificationTask(**LENET, weights="none", num_classes=2)
    saved_run(in_tmp / "runs" / "other", task, LENET, ["cat", "cow"])
    options = {**LENET, "box_grid": 0}
    task = LocalizationTask(**options, weights="none", num_classes=3)
    saved_run(in_tmp / "runs" / "box", task, options, CLASSES)
    options = {"backbone": "resnet20_cifar"}
    task = SegmentationTask(**options, weights="none", num_classes=3)
    saved_run(in_tmp / "runs" / "mask", task, options, CLASSES)
    (in_tmp / "photos" / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "deep/a.jpg")):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(in_tmp / "photos" / name)
    return in_tmp / "runs"


def predict(arguments: str) -> int:
    return main(["predict", *shlex.split(arguments)])


def rows_in(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_lines_are_printed_and_the_number_goes_to_stderr(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("runs/classify/2 photos --top 2") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines] == ["photos/a.png", "photos/b.png", "photos/deep/a.jpg"]
    for line in lines:
        _, first, probability, second, other = line.split()
        assert {first, second} < set(CLASSES)
        assert 1 >= float(probability) >= float(other) >= 0
    assert printed.err.startswith("3 images, ")
    assert printed.err.endswith(" per second\n")


def test_the_newest_finished_run_of_a_folder_predicts_and_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "classify" / "1" / "result.json").touch()  # the second one was interrupted
    assert predict("runs/classify/1 photos") == 0
    wanted = capsys.readouterr()
    assert predict("runs/classify photos") == 0
    printed = capsys.readouterr()
    assert printed.out == wanted.out
    line, *others = printed.err.splitlines()
    assert line == "runs/classify: taking its newest finished run, 1; 1 newer not finished"
    assert len(others) == len(wanted.err.splitlines())


def test_a_csv_has_a_row_for_each_image_and_the_classes_by_name(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("runs/classify photos --out new/p.csv") == 0
    rows = rows_in("new/p.csv")
    assert list(rows[0]) == [
        *("image", "predicted", "probability", "class_2", "probability_2", "class_3", "probability_3", "error")
    ]
    assert [row["image"] for row in rows] == ["photos/a.png", "photos/b.png", "photos/deep/a.jpg"]
    for row in rows:
        shares = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert shares == sorted(shares, reverse=True)
        assert row["error"] == ""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith(" per second: new/p.csv\n")


def test_the_time_of_a_single_image_is_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("runs/other photos/a.png") == 0
    assert re.fullmatch(r"1 image in \d+ s\n", capsys.readouterr().err)


def test_json_has_the_same_rows(runs: Path) -> None:
    assert predict("runs/classify photos --out p.csv") == predict("runs/classify photos --out p.json") == 0
    for row, other in zip(rows_in("p.csv"), json.loads(Path("p.json").read_text()), strict=True):
        assert {name: "" if value is None else str(value) for name, value in other.items()} == row


def test_several_runs_are_averaged(runs: Path) -> None:
    for name, given in (("1", "runs/classify/1"), ("2", "runs/classify/2"), ("both", "runs/classify/*")):
        assert predict(f"{' '.join(map(str, sorted(Path().glob(given))))} photos --out {name}.csv") == 0
    for first, second, both in zip(rows_in("1.csv"), rows_in("2.csv"), rows_in("both.csv"), strict=True):
        one, two, mean = (by_class(row) for row in (first, second, both))
        assert one != two
        for name in CLASSES:
            assert mean[name] == pytest.approx((one[name] + two[name]) / 2, abs=2e-6)


def by_class(row: dict[str, str]) -> dict[str, float]:
    pairs = [("predicted", "probability"), ("class_2", "probability_2"), ("class_3", "probability_3")]
    return {row[name]: float(row[probability]) for name, probability in pairs}


@pytest.mark.parametrize("tta", ["flip", "tencrop"])
def test_views_are_averaged_too(tta: str, runs: Path) -> None:
    assert (
        predict("runs/classify photos --out plain.csv") == predict(f"runs/classify photos --out p.csv --tta {tta}") == 0
    )
    assert [by_class(row) for row in rows_in("plain.csv")] != [by_class(row) for row in rows_in("p.csv")]


def test_boxes_have_columns_and_are_drawn(runs: Path) -> None:
    assert predict("runs/box photos --out p.csv --draw drawn --top 1") == 0
    rows = rows_in("p.csv")
    assert list(rows[0]) == ["image", "predicted", "probability", "x1", "y1", "x2", "y2", "error"]
    assert [rows[0][edge] for edge in ("x1", "y1", "x2", "y2")] == ["10.0", "5.0", "30.0", "15.0"]  # where boxes start
    assert sorted(str(path) for path in Path("drawn").rglob("*.jpg")) == [
        "drawn/a.jpg",
        "drawn/b.jpg",
        "drawn/deep/a.jpg",
    ]


def test_masks_lie_beside_the_rows_at_the_size_of_the_images(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("runs/mask photos photos/deep/../a.png --out p.csv --draw drawn") == 0
    rows = rows_in("p.csv")
    assert list(rows[0]) == ["image", "mask", "error"]
    assert [row["mask"] for row in rows] == [
        *("p_masks/a.png", "p_masks/b.png", "p_masks/deep/a.png", "p_masks/a_2.png")
    ]
    for row in rows:
        assert read_mask(row["mask"]).shape == (20, 40)
        assert read_mask(row["mask"]).max() < 3
    assert len(list(Path("drawn").rglob("*.jpg"))) == 4
    assert capsys.readouterr().err.endswith(" per second: p.csv, p_masks/, drawn/\n")


def test_without_a_file_a_mask_is_said_in_shares(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("runs/mask photos/a.png") == 0
    words = capsys.readouterr().out.split()
    assert words[0] == "photos/a.png"
    assert sum(float(share.rstrip("%")) for share in words[2::2]) == pytest.approx(100, abs=0.2)
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "runs"]


def test_an_unreadable_image_is_a_row_and_not_a_stop(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/aa.png").write_bytes(b"\x89PNG broken")
    assert predict("runs/classify/2 photos --out p.csv --draw drawn") == 0
    rows = rows_in("p.csv")
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert rows[1]["error"].startswith("not an image that PIL can read")
    assert rows[1]["predicted"] == ""
    assert len(list(Path("drawn").rglob("*.jpg"))) == 3
    assert capsys.readouterr().err.splitlines()[1] == "1 of them could not be predicted: photos/aa.png"
    assert predict("runs/classify photos/aa.png") == 1
    assert capsys.readouterr().out.startswith("photos/aa.png  error: not an image that PIL can read")


def test_an_interruption_leaves_the_rows_before_it(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = ClassificationTask.predict
    calls = []

    def interrupted(self: Any, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(ClassificationTask, "predict", interrupted)
    assert predict("runs/classify/2 photos --out p.csv --batch-size 1") == 130
    assert [row["image"] for row in rows_in("p.csv")] == ["photos/a.png", "photos/b.png"]
    calls.clear()
    assert predict("runs/classify/2 photos --out p.json --batch-size 1") == 130
    assert not list(Path().glob("p.json*"))
    assert capsys.readouterr().err == "interrupted\n" * 2


def test_options_may_stand_anywhere(runs: Path) -> None:
    assert predict("runs/classify --top 1 photos/a.png --out p.csv photos/b.png") == 0
    assert [row["image"] for row in rows_in("p.csv")] == ["photos/a.png", "photos/b.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("runs/none photos", "no run in runs/none: give a folder like runs/<recipe>/<start time>"),
        ("runs/classify", "no images after runs/classify: name files, folders or globs"),
        ("runs/classify nowhere.jpg", "nowhere.jpg: no such file or folder"),
        ("runs/classify 'photos/*.webp'", "photos/*.webp: matches no file"),
        ("runs/classify photos runs/box", "runs must come before images: move runs/box to the front"),
        (
            "runs/classify runs/other photos",
            "runs/classify/2 and runs/other have different classes: dog, owl missing in the second",
        ),
        ("runs/classify runs/box photos", "is of ClassificationTask, but runs/box is of LocalizationTask"),
        ("runs/classify photos --out p.xlsx", "--out p.xlsx: expected a file that ends in .csv or .json"),
        ("runs/classify photos --draw photos", "--draw photos: holds images that are to be read"),
        ("runs/classify photos --draw photos/a.png", "--draw photos/a.png: a file, expected a folder to write into"),
        ("runs/mask photos --tta tencrop", "--tta tencrop: runs/mask is of SegmentationTask"),
        ("runs/classify photos --tta twice", "invalid choice: 'twice'"),
        ("runs/classify photos --top 0", "expected a whole number above 0, got '0'"),
        ("runs/classify photos --device warp", "--device warp: cannot be used here"),
        ("runs/classify photos --data.root x", "visiontasks predict does not take --data.root"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_written(
    arguments: str, message: str, runs: Path, refused: Refused
) -> None:
    assert message in refused(f"predict {arguments}")
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "runs"]


def test_masks_are_not_written_among_the_images(runs: Path, refused: Refused) -> None:
    Path("photos/p_masks").mkdir()
    Image.new("L", (2, 2)).save("photos/p_masks/a.png")
    assert "--out: its masks, photos/p_masks: holds images" in refused("predict runs/mask photos --out photos/p.csv")


def test_a_file_name_cannot_change_the_terminal(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/a.png").rename("photos/\x1b[2J.png")
    assert predict("runs/classify photos") == 0
    assert capsys.readouterr().out.startswith("photos/\\x1b[2J.png")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Experiment logs directory", "ignore:.*sync_dist=True")
def test_the_test_images_of_a_run_get_the_accuracy_of_its_evaluation(
    class_folders: Callable[..., Path], in_tmp: Path
) -> None:
    class_folders(in_tmp / "photos", {f"{split}/{name}": 20 for split in ("train", "test") for name in CLASSES})
    options = "--data ImageFolder --data.root photos --model.in_chans 3 --data.batch_size 8 --trainer.max_epochs 1"
    assert main(shlex.split(f"finetune digits_lenet {options} --data.num_workers 0")) == 0
    (result,) = Path("runs/digits_lenet").glob("*/result.json")
    measured = json.loads(result.read_text())["metrics"]["test/top1"]
    assert predict("runs/digits_lenet photos/test --out p.csv") == 0
    right = [row["predicted"] == Path(row["image"]).parent.name for row in rows_in("p.csv")]
    assert (sum(right), len(right)) == (measured["count"], measured["n"])


def test_what_is_passed_over_is_said_on_stderr(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("photos/notes.txt", "photos/more.txt", "photos/x.psd", "photos/@eaDir/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert predict("runs/classify/2 photos") == 0
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].startswith("3 images, ")
    assert printed[1] == "passed over: 3 files (.txt 2, .psd 1); hidden @eaDir (1)"


def test_16_bit_images_that_would_be_nearly_black_are_noted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("deep").mkdir()
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save("deep/a.png")
    assert predict("runs/classify deep") == 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("note: "))
    assert note == (
        "note: the 16-bit images have no value above 4095 of 65535 (1 looked at, as deep/a.png), so that 16 of 256 "
        "grey levels would be left; the run was trained without data.init_args.max_16bit: train it so, or save these "
        "images with 8 bits"
    )
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save("deep/b.png")
    assert predict("runs/classify deep") == 0
    assert "note: " not in capsys.readouterr().err


def test_a_coverage_names_sets_in_lines_csv_and_json(
    saved_run: Callable[..., Path], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of 0 lets all classes in."""
    task = ClassificationTask(**LENET, weights="none", num_classes=3)
    task.calibration = Calibration(1.0, torch.zeros(19))
    saved_run(runs / "sure", task, LENET, CLASSES)
    for out in ("", "--out sets.csv", "--out sets.json"):
        assert predict(f"runs/sure photos --coverage 0.95 --top 2 {out}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(re.search(r"  \w+ 0\.\d+ or \w+ 0\.\d+ or 1 more$", line) for line in lines)
    assert [sorted(row["set"].split(" or ")) for row in rows_in("sets.csv")] == [CLASSES] * 3
    assert [sorted(row["set"]) for row in json.loads(Path("sets.json").read_text())] == [CLASSES] * 3
