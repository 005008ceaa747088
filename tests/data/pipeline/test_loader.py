"""The batch contract, workers that change nothing, and errors that arrive whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.data import DataModule
from visiontasks.data.pipeline.loader import Loader, SplitDataset, chosen_workers, collate, init_worker
from visiontasks.data.pipeline.sources import ArraySource, FileSource, Source
from visiontasks.errors import InputError, MissingFileError

IN_MEMORY: Source = ArraySource(np.zeros((1, 2, 2), np.uint8), np.array([0]))
FILES: Source = FileSource(["a.jpg"], np.array([0]))


def test_collate_keeps_the_batch_contract_without_moving_pixels() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    batch = collate([{"image": pixels[i], "label": 3 - i, "index": 7 + i} for i in range(2)])
    assert sorted(batch) == ["image", "index", "label"]
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["image"][1, 2, 3, 4] == pixels[1, 3, 4, 2]
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert batch["label"].tolist() == [3, 2]
    assert batch["index"].tolist() == [7, 8]


def test_collate_stacks_arrays_of_other_targets() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    box = np.array([0.0, 0.0, 0.5, 1.0], np.float32)
    mask = np.full((2, 2), 255, np.int64)
    batch = collate([{"image": image, "box": box, "mask": mask}])
    assert batch["box"].dtype == torch.float32
    assert batch["box"].shape == (1, 4)
    assert batch["mask"].dtype == torch.int64
    assert batch["mask"].shape == (1, 2, 2)


def test_a_sample_is_asked_for_by_epoch_and_index_or_index() -> None:
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    dataset = SplitDataset(ArraySource(images, np.array([0, 1, 2])), (2, 2), "crop", None, training=True)
    sample = dataset[5, 1]
    assert sample["image"][:, :, 0].tolist() == [[4, 5], [6, 7]]
    assert (sample["label"], sample["index"]) == (1, 1)
    np.testing.assert_array_equal(dataset[1]["image"], sample["image"])


@pytest.mark.parametrize(
    ("source", "cores", "accelerated", "processes", "expected"),
    [
        (IN_MEMORY, 2, False, 1, 0),
        (IN_MEMORY, 64, False, 1, 0),
        (FILES, 1, False, 1, 0),
        (FILES, 16, False, 1, 4),
        (FILES, 16, False, 4, 1),
        (FILES, 2, False, 1, 0),
        (FILES, 3, False, 1, 0),
        (FILES, 4, False, 1, 1),
        (FILES, 4, False, 2, 0),
        (FILES, 16, True, 1, 15),
        (FILES, 64, True, 1, 16),
        (FILES, 64, True, 8, 7),
        (IN_MEMORY, 8, True, 1, 7),
        (FILES, 1, True, 4, 0),
    ],
)
def test_workers_chosen_from_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    source: Source,
    cores: int,
    accelerated: bool,
    processes: int,
    expected: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert chosen_workers(source, accelerated=accelerated, processes=processes) == expected


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_an_input_error_arrives_as_it_was_raised(tmp_path: Path, workers: int) -> None:
    (tmp_path / "empty.jpg").touch()
    source = FileSource([str(tmp_path / "empty.jpg"), str(tmp_path / "none.jpg")], np.array([0, 1]))
    for key, kind, message in (
        (
            0,
            InputError,
            "empty.jpg: the file is empty (0 bytes), expected an image; copy it again or remove it",
        ),
        (1, MissingFileError, "none.jpg: no such image file"),
    ):
        loader = Loader(
            SplitDataset(source, (8, 8), "crop", None, training=True),
            sampler=[key],
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=init_worker,
        )
        with pytest.raises(InputError) as caught:
            list(loader)
        assert type(caught.value) is kind
        assert str(caught.value) == f"{tmp_path}/{message}"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_do_not_change_a_batch(make_data: Callable[..., DataModule]) -> None:
    import albumentations as A

    def batches(workers: int, epochs: int = 2) -> list[list[torch.Tensor]]:
        noise = A.OneOf([A.GaussNoise(p=1), A.RandomBrightnessContrast(p=1)], p=1)
        data = make_data(batch_size=4, num_workers=workers, augment=[A.RandomCrop(6, 6), noise])
        data.setup()
        loader = data.train_dataloader()
        return [[batch["image"] for batch in loader] for _ in range(epochs)]

    alone, shared = batches(0), batches(2)
    for epoch in range(2):
        assert len(alone[epoch]) == len(shared[epoch]) == 5
        assert all(torch.equal(a, b) for a, b in zip(alone[epoch], shared[epoch], strict=True))
    assert not torch.equal(alone[0][0], alone[1][0])
    assert torch.equal(batches(0)[1][0], alone[1][0])


class OneSample:
    """A source of one image of 4x8 pixels."""

    labels = np.zeros(1, np.int64)

    def __init__(self, **targets: Any) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return {"image": np.zeros((4, 8, 3), np.uint8), **self.targets}


def test_training_cuts_boxes_and_evaluation_does_not() -> None:
    # 4x8 to 4x4 by crop: two columns cut at each side
    boxes = np.array([[0, 0, 4, 4], [0, 0, 2, 4], [1, 0, 7, 2], [0, 0, 2.1, 4]], np.float32)
    whole, gone = [-0.5, 0, 0.5, 1], [np.nan] * 4
    for training, expected in (
        (False, [whole, [-0.5, 0, 0, 1], [-0.25, 0, 1.25, 0.5], [-0.5, 0, 0.025, 1]]),
        (True, [[0, 0, 0.5, 1], gone, [0, 0, 1, 0.5], gone]),
    ):
        sample = SplitDataset(OneSample(box=boxes), (4, 4), "crop", None, training=training)[0]
        np.testing.assert_allclose(sample["box"], expected, atol=1e-6)


def test_training_resizes_masks_and_evaluation_keeps_them() -> None:
    mask = np.arange(32, dtype=np.uint8).reshape(4, 8)
    source = OneSample(mask=mask)
    trained = collate([SplitDataset(source, (4, 4), "letterbox", None, training=True)[0]])
    assert trained["mask"].dtype == torch.int64
    assert trained["mask"].shape == (1, 4, 4)
    assert trained["mask"][0, 0].tolist() == [255] * 4
    measured = collate([SplitDataset(source, (4, 4), "letterbox", None, training=False)[0]])
    assert [m.tolist() for m in measured["masks"]] == [mask.tolist()]
    assert measured["content"].tolist() == [[0, 1, 4, 3]]
    assert measured["size"].tolist() == [[4, 8]]
    assert "mask" not in measured


def test_images_that_keep_their_size_must_have_that_of_the_batch_in_training() -> None:
    with pytest.raises(InputError, match=r"resize: keep, but training image 0 has 8x4 pixels .* expected 5x4"):
        SplitDataset(OneSample(), (4, 5), "keep", None, training=True)[0]
    assert SplitDataset(OneSample(), (4, 5), "keep", None, training=False)[0]["image"].shape == (4, 8, 3)
