"""Images before a network: decoded as in an evaluation, ahead of it, and an error where one cannot be read."""

import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.pipeline.reduction import reduction
from visiontasks.errors import InputError
from visiontasks.predict.given import SingleImage
from visiontasks.predict.inputs import Preprocessing, in_batches, prepare

SQUASH = Preprocessing((4, 6), "squash")


def pixels(height: int = 8, width: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_file_an_array_and_an_image_of_pil_give_the_same_input(tmp_path: Path) -> None:
    array = pixels()
    Image.fromarray(array).save(tmp_path / "a.png")
    given = [tmp_path / "a.png", str(tmp_path / "a.png"), array, Image.fromarray(array), Image.open(tmp_path / "a.png")]
    prepared = [prepare(i, image, [SQUASH]) for i, image in enumerate(given)]
    file = str(tmp_path / "a.png")
    assert [each.name for each in prepared] == [file, file, "2", "3", file]
    assert {each.size for each in prepared} == {(8, 12)}
    assert {each.inputs[0][0].shape for each in prepared} == {(4, 6, 3)}
    assert all(np.array_equal(each.inputs[0][0], prepared[0].inputs[0][0]) for each in prepared)


def test_a_jpeg_that_is_decoded_smaller_keeps_its_own_size(tmp_path: Path) -> None:
    Image.fromarray(pixels(80, 120)).save(tmp_path / "a.jpg")
    small = Preprocessing((10, 10), "crop", reduction((10, 10), "crop", None))
    prepared = prepare(0, tmp_path / "a.jpg", [small])
    assert prepared.size == (80, 120)
    assert prepared.inputs[0][1].size == (80, 120)
    # a quarter: still twice the 10 x 15 that it is scaled to
    assert small.read(tmp_path / "a.jpg")[0].shape == (20, 30, 3)


def test_a_file_is_decoded_once_for_each_way_to_decode_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(pixels(80, 120)).save(tmp_path / "a.jpg")
    read: list[object] = []
    original = Preprocessing.read
    monkeypatch.setattr(Preprocessing, "read", lambda self, image: (read.append(image), original(self, image))[1])
    small = Preprocessing((10, 10), "crop", reduction((10, 10), "crop", None))
    prepared = prepare(0, tmp_path / "a.jpg", [SQUASH, small, Preprocessing((9, 9), "letterbox")])
    assert len(read) == 2
    assert [shown.shape[:2] for shown, _ in prepared.inputs] == [(4, 6), (10, 10), (9, 9)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (InputError("got an array float32 (3, 4, 3)"), r"^got an array float32 \(3, 4, 3\)$"),
        (Image.new("RGB", (0, 3)), "0x3 pixels, expected at least 1x1"),
        ("nowhere.jpg", "^no such image file"),
    ],
    ids=["refused", "pil", "missing"],
)
def test_what_is_not_an_image_is_an_error_in_the_result(image: SingleImage, message: str) -> None:
    prepared = prepare(7, image, [SQUASH])
    assert prepared.inputs == ()
    assert prepared.size is None
    assert prepared.error is not None
    assert re.search(message, prepared.error)


def test_a_damaged_image_of_pil_is_an_error() -> None:
    content = io.BytesIO()
    Image.fromarray(pixels(64, 64)).save(content, format="JPEG")
    broken = Image.open(io.BytesIO(content.getvalue()[:-600]))
    prepared = prepare(0, broken, [SQUASH])
    assert prepared.name == "0"
    assert prepared.error is not None
    assert prepared.error.startswith("damaged, cannot be decoded (")


def test_an_image_of_one_pixel_is_enlarged() -> None:
    pixels, geometry = prepare(0, np.full((1, 1, 3), 7, np.uint8), [SQUASH]).inputs[0]
    assert pixels.shape == (4, 6, 3)
    assert (pixels == 7).all()
    assert geometry.size == (1, 1)


def test_a_long_line_is_not_enlarged_for_the_sake_of_its_middle() -> None:
    line = np.zeros((1, 20_000, 3), np.uint8)
    crop = prepare(0, line, [Preprocessing((224, 224), "crop")])
    assert crop.error is not None
    assert crop.error.startswith("20000x1 pixels, which would be enlarged to 4480000x224 so that a crop of 224x224")
    assert prepare(0, line, [Preprocessing((224, 224), "letterbox"), Preprocessing((9, 9), "keep")]).error is None


@pytest.mark.parametrize(("ahead", "begun"), [(True, 9), (False, 6)], ids=["ahead", "when asked"])
def test_batches_come_in_order_and_only_the_next_one_is_begun_ahead(ahead: bool, begun: int) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return -i

    batches = in_batches(slow_first, numbers(), size=3, threads=3, ahead=ahead)
    assert [next(batches), next(batches)] == [[0, -1, -2], [-3, -4, -5]]
    assert len(taken) == begun
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("ahead", [True, False])
def test_the_last_batch_has_what_is_left(ahead: bool) -> None:
    assert list(in_batches(abs, range(5), size=2, threads=2, ahead=ahead)) == [[0, 1], [2, 3], [4]]
    assert list(in_batches(abs, range(4), size=2, threads=2, ahead=ahead)) == [[0, 1], [2, 3]]
    assert list(in_batches(abs, [], size=2, threads=2, ahead=ahead)) == []


def test_what_a_function_raises_comes_where_its_batch_would() -> None:
    batches = in_batches(lambda i: 6 // (2 - i), range(4), size=2, threads=2, ahead=True)
    assert next(batches) == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_16_bit_images_have_the_range_of_the_run(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 4095, np.uint16)).save(tmp_path / "a.png")
    stated, whole = Preprocessing((4, 6), "squash", max_16bit=4095), Preprocessing((4, 6), "squash")
    prepared = prepare(0, tmp_path / "a.png", [stated, whole])
    assert [int(pixels.max()) for pixels, _ in prepared.inputs] == [255, 16]
    assert prepare(0, Image.open(tmp_path / "a.png"), [stated]).inputs[0][0].max() == 255
