"""What a caller gives becomes single images, or a refusal that names what was got and what to pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.errors import InputError, MissingFileError
from visiontasks.predict.given import single_images

RED = np.zeros((4, 5, 3), np.uint8)
RED[..., 0] = 255
CHW = torch.from_numpy(RED.copy()).movedim(-1, 0)


@pytest.fixture
def photos(in_tmp: Path) -> Path:
    for name in ("photos/b2.png", "photos/b10.png", "photos/deep/a.png", "other/c.png"):
        (in_tmp / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RED).save(in_tmp / name)
    (in_tmp / "photos" / "notes.txt").write_text("no image")
    return in_tmp


def test_folders_globs_and_files_mix_in_the_order_given(photos: Path) -> None:
    given = ["other/c.png", Path("photos"), "photos/b*.png", photos / "other"]
    assert list(single_images(given)) == [
        *("other/c.png", "photos/b2.png", "photos/b10.png", "photos/deep/a.png"),
        *("photos/b2.png", "photos/b10.png", str(photos / "other" / "c.png")),
    ]
    assert list(single_images("photos")) == ["photos/b2.png", "photos/b10.png", "photos/deep/a.png"]
    assert list(single_images(Path("other/c.png"))) == ["other/c.png"]


@pytest.mark.parametrize("name", ["nowhere.png", "nowhere", "photos/x*.png", "empty"])
def test_what_is_missing_is_an_error_alone_and_an_entry_in_a_list(name: str, photos: Path) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(MissingFileError, match="no such file or folder|matches no file|no images in empty"):
        list(single_images(name))
    first, second = single_images([name, "other/c.png"])
    assert first == name or isinstance(first, MissingFileError)
    assert second == "other/c.png"


@pytest.mark.parametrize(
    "given",
    [
        *(RED, RED[None], RED[:, ::-1], CHW, CHW[None], CHW / 255, CHW.half() / 255, CHW.double()[None] / 255),
        *((CHW / 255).requires_grad_(), [RED], (CHW,)),
    ],
)
def test_pixels_come_as_rgb_bytes(given: Any) -> None:
    (image,) = single_images(given)
    assert isinstance(image, np.ndarray)
    assert image.dtype == np.uint8
    assert image.tolist() == RED.tolist()


@pytest.mark.parametrize("batch", [np.stack([RED, 0 * RED]), torch.stack([CHW, 0 * CHW])])
def test_a_batch_is_its_images(batch: Any) -> None:
    first, second = single_images(batch)
    assert (np.asarray(first) == RED).all()
    assert (np.asarray(second) == 0).all()


def test_floats_are_rounded_to_the_bytes_that_they_were_made_of() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    (image,) = single_images(levels.float() / 255)
    assert (np.moveaxis(np.asarray(image), -1, 0) == levels.numpy()).all()


def test_the_memory_of_pixels_may_be_reused() -> None:
    frame = RED.copy()
    (image,) = single_images(frame)
    frame[:] = 7
    assert np.asarray(image).max() == 255
    tensor = CHW.clone()
    (image,) = single_images(tensor)
    tensor.fill_(7)
    assert np.asarray(image).max() == 255


def test_images_are_taken_one_at_a_time() -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield RED

    assert next(single_images(endless())) is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (RED.astype(np.float32), r"got an array float32 \(4, 5, 3\), expected RGB uint8 .*: scale to 0..255 and round"),
        (RED.astype(np.int64), r"got an array int64 \(4, 5, 3\), expected RGB uint8 \(H, W, 3\)"),
        (np.zeros((4, 5, 4), np.uint8), r"\(4, 5, 4\), .*: of four channels drop the last one if it is alpha"),
        (np.zeros((4, 5), np.uint8), r"\(4, 5\), .*: repeat the grey channel, np.stack"),
        (np.zeros((4, 5, 1), np.uint8), r"\(4, 5, 1\), .*: repeat the grey channel"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\), .*: its channels come first, pass np.moveaxis"),
        (np.zeros((2, 3, 4, 5), np.uint8), r"\(2, 3, 4, 5\), .*: its channels come first"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\), expected RGB"),
        (np.zeros(3, np.uint8), r"\(3,\), expected RGB"),
        (
            CHW.movedim(0, -1),
            r"a tensor uint8 \(4, 5, 3\), expected RGB .*: its channels come last, pass image.movedim",
        ),
        (CHW.float(), r"a tensor float32 \(3, 4, 5\), .*: its values are 0 to 255; divide it by 255"),
        (CHW / 255 - 0.5, r"its values are -0.5 to 0.5; pass it before its normalization, which the run does"),
        (torch.full((3, 4, 5), float("nan")), r"its values are nan to nan"),
        (CHW.long(), r"a tensor int64 .*: pass image.to\(torch.uint8\) if its values are 0..255"),
        (torch.zeros(4, 5), r"a tensor float32 \(4, 5\), expected RGB \(3, H, W\)"),
        (None, "got NoneType, expected files, folders or globs"),
        (3, "got int, expected files"),
        ({"image": CHW}, "got dict, expected files"),
        (b"bytes", "got bytes, expected files"),
    ],
    ids=str,
)
def test_what_cannot_be_taken_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list(single_images(given))
    assert "\n" not in str(caught.value)
    (entry,) = single_images([given])
    assert str(entry) == str(caught.value)
