"""The batch contract, workers that change nothing, and errors that arrive whole."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from visiontasks.data import DataModule
from visiontasks.data.pipeline.loader import Loader, SplitDataset, _Joined, chosen_workers
from visiontasks.data.pipeline.sources import ArraySource, FileSource, Source
from visiontasks.data.targets import BoxesTarget, LabelTarget, MaskTarget, Target
from visiontasks.errors import InputError, MissingFileError

IN_MEMORY: Source = ArraySource(np.zeros((1, 2, 2), np.uint8), np.array([0]))
FILES: Source = FileSource(["a.jpg"], np.array([0]))


def dataset_of(source: Source, size: tuple[int, int], resize: Any, target: Target, *, training: bool) -> SplitDataset:
    return SplitDataset(source, size, resize, None, target=target, training=training)


def test_collate_keeps_the_batch_contract_without_moving_pixels() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    source = ArraySource(pixels, np.array([3, 2]))
    dataset = dataset_of(source, (4, 5), "squash", LabelTarget(), training=True)
    batch = dataset.collate([dataset[0], dataset[1]])
    assert sorted(batch) == ["geometry", "image", "index", "label"]
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["image"][1, 2, 3, 4] == pixels[1, 3, 4, 2]
    assert batch["label"].dtype == batch["index"].dtype == batch["geometry"].dtype == torch.int64
    assert batch["label"].tolist() == [3, 2]
    assert batch["index"].tolist() == [0, 1]
    assert batch["geometry"].tolist() == [[4, 5, 4, 5, 4, 5, 0, 0]] * 2


def test_a_sample_without_an_epoch_is_its_index_alone() -> None:
    dataset = dataset_of(IN_MEMORY, (2, 2), "squash", LabelTarget(), training=True)
    batch = dataset.collate([dataset[None, 0]])
    assert {key: value.tolist() for key, value in batch.items()} == {"index": [0]}


class Crowded:
    """`n` images of 6x8 pixels; image i has i % 6 boxes, xyxy = (b, 0, b + 1, i) with label b for b = 0, 1, ..."""

    def __init__(self, n: int) -> None:
        self.labels = np.zeros(n, np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        boxes = [[b, 0, b + 1, index] for b in range(index % 6)]
        return {
            "image": np.zeros((6, 8, 3), np.uint8),
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "labels": np.arange(len(boxes)),
        }


def test_a_list_is_pinned_as_one_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    joined = _Joined.of([torch.tensor([[1, 2], [3, 4]]), torch.zeros(0, 2, dtype=torch.int64), torch.tensor([[5, 6]])])
    assert joined.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert [part.tolist() for part in pin_memory(joined).parts()] == [[[2, 3], [4, 5]], [], [[6, 7]]]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_lists_of_boxes_pass_from_loading_processes_without_a_file_for_each() -> None:
    dataset = dataset_of(Crowded(192), (6, 8), "squash", BoxesTarget(), training=False)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, limit[1]))  # 384 tensors, which the test holds all at once
    try:
        batches = list(Loader(dataset, batch_size=64, num_workers=2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    boxes, labels = ([part for batch in batches for part in batch[key]] for key in ("boxes", "labels"))
    assert [len(part) for part in boxes] == [i % 6 for i in range(192)]
    assert boxes[11].tolist() == [[b, 0, b + 1, 11] for b in range(5)]
    assert labels[11].tolist() == [0, 1, 2, 3, 4]
    assert (boxes[12].shape, boxes[12].dtype, labels[12].shape) == ((0, 4), torch.float32, (0,))


def test_a_sample_is_asked_for_by_epoch_and_index_or_index() -> None:
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    dataset = dataset_of(ArraySource(images, np.array([0, 1, 2])), (2, 2), "crop", LabelTarget(), training=True)
    sample = dataset[5, 1]
    assert sample["image"][:, :, 0].tolist() == [[4, 5], [6, 7]]
    assert (sample["label"], sample["index"]) == (1, 1)
    np.testing.assert_array_equal(dataset[1]["image"], sample["image"])


def test_in_epochs_of_another_size_the_sample_is_scaled_with_its_boxes() -> None:
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[:, 4:] = 200
    source: Any = Listed({"image": pixels, "boxes": np.array([[2, 0, 8, 3]], np.float32), "labels": np.array([1])})
    dataset = sized_dataset(source, BoxesTarget())
    small, full = dataset[0, 0], dataset[1, 0]
    assert small["image"][:, :, 0].tolist() == [[0, 0, 200, 200]] * 3
    assert small["boxes"].tolist() == [[1.0, 0.0, 4.0, 1.5]]
    assert small["geometry"].tolist() == [6, 8, 3, 4, 3, 4, 0, 0]
    np.testing.assert_array_equal(full["image"], pixels)
    assert full["boxes"].tolist() == [[2.0, 0.0, 8.0, 3.0]]
    assert full["geometry"].tolist() == [6, 8, 6, 8, 6, 8, 0, 0]
    assert dataset.collate([small])["image"].shape == (1, 3, 3, 4)


def test_in_epochs_of_another_size_a_mask_takes_the_nearest_pixels() -> None:
    mask = np.repeat(np.arange(6, dtype=np.uint8)[:, None], 8, axis=1)
    source: Any = Listed({"image": np.zeros((6, 8, 3), np.uint8), "mask": mask})
    small = sized_dataset(source, MaskTarget())[0, 0]
    assert small["mask"].shape == (3, 4)
    assert small["mask"][:, 0].tolist() == [1, 3, 5]  # of the pixels 2i and 2i + 1 that lie equally near


def test_a_lost_box_stays_lost_in_epochs_of_another_size() -> None:
    boxes = np.array([[-90, 0, 1, 3]], np.float32)  # 1.1 % of it are in the image
    source: Any = Listed({"image": np.zeros((6, 8, 3), np.uint8), "boxes": boxes, "labels": np.array([1])})
    assert np.isnan(sized_dataset(source, BoxesTarget())[0, 0]["boxes"]).all()


class Listed:
    """One sample."""

    labels = np.zeros(1, np.int64)

    def __init__(self, sample: dict[str, Any]) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.sample)


def sized_dataset(source: Source, target: Target) -> SplitDataset:
    """Images of 6x8 pixels, in epoch 0 of 3x4."""
    return SplitDataset(source, (6, 8), "squash", None, target=target, training=True, sizes=[(3, 4)])


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
        dataset = dataset_of(source, (8, 8), "crop", LabelTarget(), training=True)
        loader = Loader(dataset, sampler=[key], num_workers=workers)
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


def test_images_that_keep_their_size_must_have_that_of_the_batch_in_training() -> None:
    source = ArraySource(np.zeros((1, 4, 8, 3), np.uint8), np.array([0]))
    with pytest.raises(InputError, match=r"resize: keep, but training image 0 has 8x4 pixels .* expected 5x4"):
        dataset_of(source, (4, 5), "keep", LabelTarget(), training=True)[0]
    assert dataset_of(source, (4, 5), "keep", LabelTarget(), training=False)[0]["image"].shape == (4, 8, 3)
