"""A pipe, socket or device in the place of a file is named at once, whatever reads it; nothing waits for it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Never

import pytest

from visiontasks.commands.main import main
from visiontasks.data import COCOBoxes, CSVBoxes, ImageFolder, MaskFolder, OxfordPets, VOCBoxes, VOCSegmentation
from visiontasks.data.pipeline.reader import inspect_image, is_turned, read_image, read_mask, upright_size
from visiontasks.errors import InputError
from visiontasks.export.stored import read_json
from visiontasks.recipe import read_recipe
from visiontasks.regular_files import check_regular
from visiontasks.runs.folder import read_result

PATIENCE_S = 20
PIPE = "a named pipe, expected a regular file; remove it"
WriteScenes = Callable[..., None]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """Fail where something waits for a pipe, which would be for ever."""

    def waited(number: int, frame: FrameType | None) -> Never:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replaced_by_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("read", [read_image, read_mask, inspect_image, upright_size, is_turned])
def test_an_image_that_is_a_pipe_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "link.png").symlink_to("x.png")
    for name in ("x.png", "link.png"):
        with pytest.raises(InputError, match=f"{tmp_path}/{name}: {PIPE}"):
            read(tmp_path / name)


def test_sockets_and_devices_are_refused_and_files_folders_and_what_is_missing_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s.png")
        with pytest.raises(InputError, match=r"^s.png: a socket, expected a regular file"):
            check_regular("s.png")
    with pytest.raises(InputError, match=r"^/dev/zero: a device, expected a regular file"):
        check_regular("/dev/zero")
    Path("file").touch()
    for name in ("file", ".", "missing", "nul\0"):
        check_regular(name)


@pytest.mark.parametrize(
    ("kind", "file", "options"),
    [
        (CSVBoxes, "boxes.csv", {}),
        (COCOBoxes, "instances.json", {"splits": {"train": "instances.json"}}),
        (VOCBoxes, "train.txt", {"splits": {"train": "train.txt"}}),
        (VOCBoxes, "annotations/cat_1.xml", {}),
        (VOCBoxes, "images/cat_1.jpg", {}),
        (MaskFolder, "masks/cat_1.png", {}),
        (OxfordPets, "oxford-iiit-pet/annotations/test.txt", {}),
        (VOCSegmentation, "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", {}),
    ],
)
def test_no_dataset_waits_for_a_file_that_is_a_pipe(
    kind: Any, file: str, options: dict[str, Any], tmp_path: Path, write_scenes: WriteScenes
) -> None:
    write_scenes(tmp_path, kind.__name__ if kind not in (CSVBoxes, COCOBoxes) else "VOCBoxes")
    replaced_by_pipe(tmp_path / file)
    with pytest.raises(InputError):
        kind(str(tmp_path), **options).setup()


def test_an_image_of_a_class_folder_that_is_a_pipe_is_a_bad_sample(
    tmp_path: Path, class_folders: Callable[..., Path]
) -> None:
    root = class_folders(tmp_path / "photos", {"cat": 6, "dog": 6})
    os.mkfifo(root / "cat" / "x.png")
    with pytest.raises(InputError, match=f"cat/x.png: {PIPE}"):
        ImageFolder(str(root)).setup()


def test_files_of_a_run_that_are_pipes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("result.json", "recipe.yaml", "classes.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=PIPE):
        read_result(tmp_path)
    with pytest.raises(InputError, match=PIPE):
        read_json(tmp_path / "classes.json")
    with pytest.raises(InputError, match="no recipe file"):
        read_recipe(tmp_path / "recipe.yaml")
    assert main(["report", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
