"""The command check-data on every kind of bad file, made for real: what it lists, and its exit status."""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.commands.arguments import PROBLEM_KINDS
from visiontasks.commands.main import main
from visiontasks.data.audit.checks import PROBLEMS
from visiontasks.data.pipeline.reader import UInt8Array

RECIPE = """
seed_everything: 0
model:
  class_path: {task}
  init_args: {{backbone: resnet18.a1_in1k, weights: hub{more}}}
data:
  class_path: {data}
  init_args: {{root: {root}, image_size: {image_size}}}
"""
SIDE_PX = 64
ORIENTATION = 0x0112


def picture(seed: int) -> UInt8Array:
    patches = np.random.default_rng(seed).uniform(0, 255, (6, 6, 3))
    pixels = cv2.resize(patches, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Class folders cat and dog: 4 images to train, 2 to validate, 2 to test of each, all different."""
    seed = 0
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                Image.fromarray(picture(seed)).save(folder / f"{i}.png")
                seed += 1
    return tmp_path / "images"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`check(root)`: exit status and JSON of check-data, run in a folder of its own that stays empty."""
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets

    def run(root: Path, *options: str, data: str = "ImageFolder", image_size: int = SIDE_PX) -> tuple[int, Any]:
        segmenting = data in ("MaskFolder", "VOCSegmentation")
        boxes = "Boxes" in data or data == "DetectionFolder"
        task = "SegmentationTask" if segmenting else "LocalizationTask" if boxes else "ClassificationTask"
        recipe, file = tmp_path / "recipe.yaml", tmp_path / "report.json"
        more = ", head: {class_path: FCNHead}" if segmenting else ""
        recipe.write_text(RECIPE.format(task=task, more=more, data=data, root=root, image_size=image_size))
        folder = tmp_path / "empty"
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        status = main(["check-data", str(recipe), "--json", str(file), *options])
        assert list(folder.iterdir()) == []
        return status, json.loads(file.read_text()) if file.is_file() else {}

    return run


Check = Callable[..., tuple[int, dict[str, Any]]]


def bomb() -> bytes:
    """A PNG that claims 20,000 x 20,000 pixels."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def cut(path: Path, share: float = 0.6) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def damage_within(path: Path) -> None:
    """Nothing of it shows at the file's beginning and end."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    path.write_bytes(whole)


def make_truncated_jpeg(path: Path) -> Path:
    Image.fromarray(picture(99)).save(path.with_suffix(".jpg"))
    cut(path.with_suffix(".jpg"))
    return path.with_suffix(".jpg")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated PNG": (cut, "damaged, cannot be decoded"),
    "damaged PNG": (damage_within, "damaged, a checksum is wrong"),
    "truncated JPEG": (make_truncated_jpeg, "damaged, cannot be decoded"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text": (lambda path: path.write_text("<html>404</html>"), "not an image that PIL can read"),
    "bomb": (lambda path: path.write_bytes(bomb()), "refused as a decompression bomb"),
    "32-bit": (lambda path: Image.new("I", (64, 64), 70_000).save(path, "TIFF"), "expected 8 or 16 bits"),
}


def test_clean_data_passes_without_weights_or_network(
    images: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = check(images)
    assert status == 0
    assert report["splits"] == {"train": 8, "val": 4, "test": 4}
    assert report["class_counts"]["train"] == {"cat": 4, "dog": 4}
    assert report["problem_count"] == 0
    assert report["notes"] == []
    shown = capsys.readouterr()
    assert "no problems in 16 images (" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_that_cannot_be_used_is_a_problem(images: Path, check: Check, kind: str, split: str) -> None:
    path = images / split / "cat" / "1.png"
    make, what = BAD[kind]
    made = make(path)
    path = made if isinstance(made, Path) else path
    status, report = check(images)
    assert status == 1
    (problem,) = report["problems"]["bad"]
    assert problem["file"] == str(path)
    assert what in problem["what"]
    assert problem["fix"]


def test_all_bad_files_are_listed_together(images: Path, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    for i, kind in enumerate(("truncated PNG", "damaged PNG", "empty")):
        BAD[kind][0](images / "train" / ("cat", "dog", "dog")[i] / f"{i}.png")
    BAD["text"][0](images / "val/cat/0.png")
    BAD["bomb"][0](images / "test/dog/1.png")
    status, report = check(images)
    assert status == 1
    assert len(report["problems"]["bad"]) == 5
    shown = capsys.readouterr()
    assert "cannot be used (bad, 5):" in shown.out
    assert "5 problems in 16 images (" in shown.out
    assert shown.err == ""


def test_a_split_without_a_good_file_is_listed(images: Path, check: Check) -> None:
    for path in (images / "test").rglob("*.png"):
        path.write_bytes(b"")
    status, report = check(images)
    assert status == 1
    assert [problem["what"].split(",")[0] for problem in report["problems"]["bad"][:4]] == [
        "the file is empty (0 bytes)"
    ] * 4
    assert "all 4 image(s) of the test split are bad" in report["problems"]["bad"][4]["what"]


def test_a_folder_without_any_good_file_is_listed(images: Path, check: Check) -> None:
    for path in images.rglob("*.png"):
        path.write_bytes(b"")
    status, report = check(images)
    assert status == 1
    assert len(report["problems"]["bad"]) == 16


def test_the_same_pixels_in_two_splits_are_a_problem_whatever_the_file(images: Path, check: Check) -> None:
    Image.open(images / "train/cat/2.png").save(images / "test/cat/again.bmp")
    status, report = check(images)
    assert status == 1
    (problem,) = report["problems"]["duplicates"]
    assert problem["file"] == str(images / "test/cat/again.bmp")
    assert problem["what"] == f"the same pixels as {images}/train/cat/2.png (test, train)"
    assert report["problems"]["near-duplicates"] == report["problems"]["labels"] == []


def test_nearly_the_same_image_in_two_splits_is_a_problem_that_can_be_ignored(images: Path, check: Check) -> None:
    Image.open(images / "train/cat/2.png").resize((52, 52)).save(images / "val/cat/small.jpg", quality=60)
    status, report = check(images, image_size=32)
    assert status == 1
    (problem,) = report["problems"]["near-duplicates"]
    assert problem["file"] == str(images / "val/cat/small.jpg")
    assert f"nearly the same as {images}/train/cat/2.png (val, train)" in problem["what"]
    status, report = check(images, "--ignore", "near-duplicates", image_size=32)
    assert status == 0
    assert report["problem_count"] == 0
    assert len(report["problems"]["near-duplicates"]) == 1


def test_images_too_small_to_tell_are_not_searched_for_near_duplicates(images: Path, check: Check) -> None:
    for path in images.rglob("*.png"):
        Image.open(path).resize((31, 31)).save(path)
    Image.open(images / "train/cat/2.png").save(images / "val/cat/copy.jpg", quality=90)
    assert check(images, image_size=31)[0] == 0
    shutil.copy(images / "train/cat/2.png", images / "val/cat/same.png")
    assert check(images, image_size=31)[0] == 1


def test_one_image_with_two_labels_is_a_problem_within_a_split_too(images: Path, check: Check) -> None:
    shutil.copy(images / "train/cat/2.png", images / "train/dog/copy.png")
    status, report = check(images)
    assert status == 1
    (problem,) = report["problems"]["labels"]
    assert problem["what"] == f"the same pixels as {images}/train/cat/2.png, but labelled dog, not cat"
    assert report["problems"]["duplicates"] == []


def test_duplicates_within_a_split_are_a_note(images: Path, check: Check) -> None:
    shutil.copy(images / "train/cat/2.png", images / "train/cat/copy.png")
    status, report = check(images)
    assert status == 0
    (note,) = report["notes"]
    assert note["kind"] == "duplicates-within"
    assert note["files"] == [f"{images}/train/cat/copy.png = {images}/train/cat/2.png"]


def save_rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(path, exif=exif)


def save_transparent(image: Image.Image, path: Path) -> None:
    image.putalpha(100)
    image.save(path)


def save_16_bit_colours(image: Image.Image, path: Path) -> None:
    cv2.imwrite(str(path), np.asarray(image).astype(np.uint16) * 257)


def save_animated(image: Image.Image, path: Path) -> None:
    image.save(path, save_all=True, append_images=[Image.new("RGB", image.size)])


UNUSUAL: dict[str, tuple[str, str, Callable[[Image.Image, Path], object]]] = {
    "16-bit grey": (
        "16-bit",
        "png",
        lambda i, path: Image.fromarray(np.asarray(i)[:, :, 0].astype(np.uint16) * 257).save(path),
    ),
    "16-bit colours": ("16-bit", "png", save_16_bit_colours),
    "CMYK": ("CMYK", "jpg", lambda image, path: image.convert("CMYK").save(path)),
    "palette": ("palette", "png", lambda image, path: image.quantize(200).save(path)),
    "rotated": ("EXIF-rotated", "jpg", save_rotated),
    "transparent": ("transparent", "png", save_transparent),
    "animated": ("animated", "webp", save_animated),
    "small": ("small", "png", lambda image, path: image.resize((SIDE_PX, SIDE_PX - 1)).save(path)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_is_a_note_and_no_problem(images: Path, check: Check, name: str) -> None:
    kind, suffix, save = UNUSUAL[name]
    path = images / "train/cat" / f"unusual.{suffix}"
    save(Image.fromarray(picture(77)), path)
    status, report = check(images)
    assert status == 0
    assert [(note["kind"], note["files"]) for note in report["notes"]] == [(kind, [str(path)])]


def test_an_opaque_alpha_channel_and_plain_files_are_no_note(images: Path, check: Check) -> None:
    Image.fromarray(picture(77)).convert("RGBA").save(images / "train/cat/opaque.png")
    Image.fromarray(picture(78)).convert("L").save(images / "train/cat/grey.png")
    Image.fromarray(picture(79)).save(images / "train/cat/plain.bmp")
    assert check(images)[1]["notes"] == []


def test_classes_of_very_different_sizes_are_a_note(images: Path, check: Check) -> None:
    for seed in range(100, 136):
        Image.fromarray(picture(seed)).save(images / "train/cat" / f"{seed}.png")
    status, report = check(images)
    assert status == 0
    (note,) = report["notes"]
    assert note["what"] == "the largest class has 10 times the images of the smallest: cat 40 and dog 4"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Images with masks in train, val and test; one class left, one right."""
    seed = 0
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        for folder in ("images", "masks"):
            (tmp_path / "masked" / split / folder).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(picture(seed)).save(tmp_path / "masked" / split / "images" / f"{i}.jpg")
            mask = np.repeat(np.arange(SIDE_PX)[None] > 20 + seed, SIDE_PX, 0).astype(np.uint8)
            Image.fromarray(mask).save(tmp_path / "masked" / split / "masks" / f"{i}.png")
            seed += 1
    return tmp_path / "masked"


def test_masks_are_checked_and_their_pixels_counted(masks: Path, check: Check) -> None:
    status, report = check(masks, data="MaskFolder")
    assert status == 0
    assert report["unit"] == "pixels"
    assert report["class_counts"]["val"] == {"0": (25 + 26) * SIDE_PX, "1": (128 - 25 - 26) * SIDE_PX}


def test_bad_masks_and_images_of_masks_are_problems(masks: Path, check: Check) -> None:
    Image.new("L", (10, 10)).save(masks / "train/masks/0.png")
    Image.new("L", (SIDE_PX, SIDE_PX), 9).save(masks / "val/masks/0.png")
    cut(masks / "test/masks/1.png")
    cut(masks / "train/images/3.jpg")
    status, report = check(masks, data="MaskFolder")
    assert status == 1
    found = {
        Path(problem["file"]).relative_to(masks).as_posix(): problem["what"] for problem in report["problems"]["bad"]
    }
    assert set(found) == {"train/masks/0.png", "val/masks/0.png", "test/masks/1.png", "train/images/3.jpg"}
    assert found["train/masks/0.png"].startswith("the mask has 10x10 pixels, but its image 64x64")


def test_a_class_without_a_training_pixel_is_a_problem_with_the_option_to_set(
    masks: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in masks.rglob("masks/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255)).save(path)
    (masks / "classes.txt").write_text("background\nroad\n")
    status, report = check(masks, data="MaskFolder")
    assert status == 1
    (problem,) = report["problems"]["classes"]
    assert problem["what"] == "no training pixel of the class road"
    assert "of the training pixels that are 255" in problem["fix"]
    assert "set data.init_args.values: {255: 1}; else" in problem["fix"]
    assert "without a training pixel (classes, 1):" in capsys.readouterr().out
    status, report = check(masks, "--data.values", "{255: 1}", data="MaskFolder")
    assert (status, report["class_counts"]["val"]["road"]) == (0, (128 - 25 - 26) * SIDE_PX)


def test_colours_of_masks_are_named_on_the_command_line(masks: Path, check: Check) -> None:
    for path in masks.rglob("masks/*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.stack([128 * mask, 0 * mask, 0 * mask], axis=2).astype(np.uint8)).save(path)
    status, report = check(masks, "--data.values", '{"0,0,0": 0, "#800000": 1}', data="MaskFolder")
    assert (status, report["class_counts"]["val"]) == (0, {"0": (25 + 26) * SIDE_PX, "1": (128 - 25 - 26) * SIDE_PX})


def test_a_colour_without_quotes_is_refused_with_an_example(
    masks: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(masks, "--data.values", "{0,0,0: 0, 128,0,0: 1}", data="MaskFolder")[0] == 2
    assert 'or colours such as {"0,0,0": 0, "128,0,0": 1}' in capsys.readouterr().err


def test_few_16_bit_images_that_leave_their_range_unused_are_a_note(images: Path, check: Check) -> None:
    for i in range(64):
        Image.fromarray(picture(200 + i)).save(images / f"train/cat/{200 + i}.png")
    rare = images / "train/cat/201.png"
    Image.fromarray(np.asarray(picture(201)).astype(np.uint16)[:, :, 0] * 16).save(rare)
    status, report = check(images)
    assert status == 0  # it is none of the 64 that are looked at before
    (note,) = [note for note in report["notes"] if note["kind"] == "16-bit-range"]
    assert "such as 4095 for 12 bits" in note["what"]
    assert note["files"] == [str(rare)]
    assert not [n for n in check(images, "--data.max_16bit", "4095")[1]["notes"] if n["kind"] == "16-bit-range"]


def test_masks_that_no_source_has_looked_at_are_checked(
    tmp_path: Path, check: Check, write_scenes: Callable[..., None]
) -> None:
    write_scenes(tmp_path / "voc", "VOCSegmentation")
    folder = tmp_path / "voc/VOCdevkit/VOC2012"
    lists = folder / "ImageSets/Segmentation"
    stems = (lists / "val.txt").read_text().split()
    (lists / "train.txt").write_text("\n".join(stems[:16]))
    (lists / "val.txt").write_text("\n".join(stems[16:]))
    small, foreign = (folder / "SegmentationClass" / f"{stem}.png" for stem in (stems[3], stems[20]))
    Image.new("L", (20, 32)).save(small)
    Image.new("L", (40, 32), 77).save(foreign)
    status, report = check(tmp_path / "voc", data="VOCSegmentation")
    assert status == 1
    found = {problem["file"]: problem["what"] for problem in report["problems"]["bad"]}
    assert found[str(small)] == "the mask has 20x32 pixels, but its image 40x32 (upright)"
    assert found[str(foreign)].startswith("value(s) 77, expected")
    assert len(found) == 2


def test_boxes_are_checked_with_their_images(images: Path, check: Check) -> None:
    lines = [
        f"{path.relative_to(images)},{path.parent.name},1,1,{50 if i else 900},40,{path.parts[-3]}"
        for i, path in enumerate(sorted(images.rglob("*.png")))
    ]
    (images / "boxes.csv").write_text("\n".join(["path,label,x1,y1,x2,y2,split", *lines]))
    damage_within(images / "val/dog/1.png")
    status, report = check(images, data="CSVBoxes")
    assert status == 1
    assert report["unit"] == "objects"
    assert sorted(problem["what"][:20] for problem in report["problems"]["bad"]) == [
        "cat's box 1 1 900 40",
        "damaged, a checksum ",
    ]


def test_images_in_memory_are_compared_and_named_by_their_index(
    check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for split, per_class in (("train", 12), ("test", 2)):
        for label, name in enumerate(
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
        ):
            folder = tmp_path / "cifar" / split / name
            folder.mkdir(parents=True)
            for i in range(per_class):
                pixels = picture(1000 * len(split) + 100 * label + i)
                Image.fromarray(cv2.resize(pixels, (32, 32))).save(folder / f"{i}.png")
    shutil.copy(tmp_path / "cifar/train/cat/3.png", tmp_path / "cifar/test/dog/1.png")
    status, report = check(tmp_path / "cifar", data="CIFAR10", image_size=32)
    assert status == 1
    assert report["splits"] == {"train": 108, "val": 12, "test": 20}
    (problem,) = report["problems"]["duplicates"]
    assert problem["file"] == str(tmp_path / "cifar/test/dog/1.png")
    (label,) = report["problems"]["labels"]
    assert label["what"].endswith("but labelled dog, not cat")


def test_what_must_be_mended_first_ends_with_status_2(
    images: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(images / "nowhere")[0] == 2
    assert "no folder" in capsys.readouterr().err
    assert check(images, "--data.image_siz", "3")[0] == 2
    assert "image_siz" in capsys.readouterr().err
    assert main(["check-data", "no_such_recipe"]) == 2


def test_a_report_for_no_folder_is_refused_before_the_check(
    images: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(images, "--json", str(images / "none" / "report.json"))[0] == 2
    assert "no folder" in capsys.readouterr().err


def test_the_kinds_that_can_be_ignored_are_all_there_are() -> None:
    assert tuple(PROBLEMS) == PROBLEM_KINDS


def test_what_is_passed_over_is_a_note(images: Path, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(images / "train/cat", images / "train/cat/@eaDir")
    shutil.copytree(images / "val/cat", images / "pred")
    status, report = check(images)
    assert status == 0
    assert report["class_counts"]["train"] == {"cat": 4, "dog": 4}
    assert {note["kind"]: note["what"] for note in report["notes"]} == {
        "reading": "not read beside train/, val/, test/: pred/",
        "hidden": "hidden or a system's own, passed over: @eaDir (1)",
    }
    assert "not read beside train/, val/, test/: pred/" in capsys.readouterr().out


def test_names_that_are_no_utf8_are_spelled_out(images: Path, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    name = images / "train/cat" / os.fsdecode(b"bad\xff.png")
    name.write_bytes(b"")
    status, report = check(images)
    assert status == 1
    assert report["problems"]["bad"][0]["file"] == str(name)
    assert r"bad\udcff.png: the file is empty" in capsys.readouterr().out


@pytest.mark.realdata
def test_pets_have_two_near_duplicates_across_their_splits(unpacked: Callable[[str], Path], tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    data = ["--data.root", str(unpacked("pets3")), "--data.download", "false"]
    assert main(["check-data", "pets_segment_unet_resnet", *data, "--json", str(file)]) == 1
    report = json.loads(file.read_text())
    assert sum(report["splits"].values()) == 598
    assert report["problem_count"] == len(report["problems"]["near-duplicates"])
    test = [problem for problem in report["problems"]["near-duplicates"] if "(test, train)" in problem["what"]]
    assert [Path(problem["file"]).name for problem in test] == ["Abyssinian_99.jpg"]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of YOLO: four images to train and two to validate, of which the last is one of training saved again."""
    (tmp_path / "export").mkdir()
    (tmp_path / "export/data.yaml").write_text("names: [cat, dog]\n")
    for split, seeds in (("train", (0, 1, 2, 3)), ("valid", (4, 3))):
        for folder in ("images", "labels"):
            (tmp_path / "export" / split / folder).mkdir(parents=True)
        for number, seed in enumerate(seeds):
            Image.fromarray(picture(seed)).save(
                tmp_path / f"export/{split}/images/{number}.jpg", quality=60 + 10 * len(seeds)
            )
            lines = ["1 0.25 0.5 0.25 0.5", "0 0.5 0.5 0.5 0.5"][number % 2 :]
            (tmp_path / f"export/{split}/labels/{number}.txt").write_text("\n".join(lines))
    return tmp_path / "export"


def test_frames_of_an_export_that_are_nearly_the_same_in_two_splits_are_reported(export: Path, check: Check) -> None:
    status, report = check(export, data="DetectionFolder")
    assert status == 1
    assert report["unit"] == "objects"
    assert report["class_counts"] == {"train": {"cat": 4, "dog": 2}, "val": {"cat": 2, "dog": 1}}
    (problem,) = report["problems"].pop("near-duplicates")
    assert problem["file"] == f"{export}/valid/images/1.jpg"
    assert f"nearly the same as {export}/train/images/3.jpg (val, train), correlation" in problem["what"]
    assert "labelled" not in problem["what"]  # an image of several objects has no label
    assert not any(report["problems"].values())
    assert [note["what"] for note in report["notes"]] == [
        "format: YOLO: data.yaml has the class names and train/labels/0.txt has lines of a class and shares of the "
        "image"
    ]


def test_all_faults_of_an_export_are_listed_at_once(export: Path, check: Check) -> None:
    """A bad line, an image cut off, one that is in no pair, and a class that only validation has."""
    (export / "train/labels/0.txt").write_text("0 0.5 0.5 0.5\n")
    cut(export / "train/images/1.jpg")
    (export / "valid/labels/9.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    for number in (1, 2, 3):
        (export / f"train/labels/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    status, report = check(export, data="DetectionFolder")
    assert status == 1
    found = [f"{problem['file']}: {problem['what']}".replace(f"{export}/", "") for problem in report["problems"]["bad"]]
    assert len(found) == 4
    assert found[0].startswith("train/labels/0.txt line 1: '0 0.5 0.5 0.5', expected a class number")
    assert found[1].startswith("train/images/1.jpg: damaged, cannot be decoded")
    assert found[2].startswith("valid/labels/9.txt: no image 9.* in")
    assert found[3].startswith("after skipping bad samples: data.init_args.root: the val split has objects of classes")


def test_long_lines_wrap_between_words_where_the_terminal_is_narrow(
    images: Path, check: Check, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path stays whole, and options are named as they are typed."""
    bad = images / "train/cat/0.png"
    bad.write_bytes(b"")
    monkeypatch.setenv("COLUMNS", "60")
    check(images)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"  {bad}: the") if f"  {bad}: the" in lines else lines.index(f"  {bad}:")
    first, *more = lines[start : start + 3]
    assert all(line.startswith("    ") and len(line) <= 60 for line in more)
    assert " ".join([first.strip(), *(line.strip() for line in more)]).startswith(f"{bad}: the file is empty (0 bytes)")


def test_groups_in_two_splits_are_a_problem_of_each(images: Path, check: Check) -> None:
    """Files 0.png to 3.png of train, 0.png and 1.png of val and test: by name groups 0 and 1 are in all three."""
    status, report = check(images, "--data.groups", r"(\d+)\.png")
    assert status == 1
    found = [f"{problem['file']}: {problem['what']}" for problem in report["problems"]["groups"]]
    assert found == [rf"{k}: group of (\d+)\.png with images in train (2) and val (2) and test (2)" for k in (0, 1)]
    assert check(images, "--data.groups", r"(\d+)\.png", "--ignore", "groups")[0] == 0
    assert check(images)[1]["problems"]["groups"] == []


def test_files_without_a_group_are_named(images: Path, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(images, "--data.groups", r"([1-9])\.png")[0] == 2
    assert "matches nothing in the name of 6 of 16 images: train/cat/0.png" in capsys.readouterr().err


def test_groups_whose_images_look_alike_are_noted(tmp_path: Path, check: Check) -> None:
    """Of 10 films of 4 frames each, which shift by a pixel; numbers that mean nothing make no note."""
    for film in range(10):
        for frame in range(4):
            name = ("cat", "dog")[film % 2]
            folder = tmp_path / "images" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(picture(film), frame, 1)).save(folder / f"{film}_{frame}.png")
            other = tmp_path / "others" / name
            other.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(100 + 4 * film + frame)).save(other / f"{film}_{frame}.png")
    notes = [note["what"] for note in check(tmp_path / "images")[1]["notes"] if note["kind"] == "groups"]
    assert notes[0].startswith("10 groups of 4 to 4 images by the file name before its last number, ")
    assert "the most similar image is of the same group for 100% of 40 images, for 7.7% by chance" in notes[0]
    assert "visiontasks study groups" in notes[0]
    assert not any(note["kind"] == "groups" for note in check(tmp_path / "others")[1]["notes"])
