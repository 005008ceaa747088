"""Splits, shares of processes, and what is refused before training."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.data import CSVBoxes, DataModule, Digits, MaskFolder, OxfordPets, Source
from visiontasks.data.pipeline.sources import ArraySource, base_row
from visiontasks.data.targets import MaskTarget
from visiontasks.errors import InputError

MakeData = Callable[..., DataModule]


def place(data: DataModule, *, rank: int, world_size: int, use_distributed_sampler: bool = False) -> DataModule:
    """Attach what of a trainer the data reads."""
    data.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        num_nodes=1,
        overfit_batches=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=use_distributed_sampler),
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(started=0, processed=0)),
        ),
    )
    data.trainer.fit_loop.epoch_loop = SimpleNamespace(
        batch_progress=SimpleNamespace(is_last_batch=False, current=SimpleNamespace(ready=0, processed=0))
    )
    return data


class Given(DataModule):
    """Splits with given labels."""

    def __init__(self, names: list[str], **labels: list[int]) -> None:
        super().__init__(image_size=2, batch_size=1)
        self.names = names
        self.labels = labels

    @property
    def class_names(self) -> list[str]:
        return self.names

    def load_sources(self) -> dict[str, Source]:
        return {
            split: ArraySource(np.zeros((len(of_rows), 2, 2), np.uint8), np.array(of_rows, np.int64))
            for split, of_rows in self.labels.items()
        }


def indices(loader: Any) -> list[int]:
    return [index for batch in loader for index in batch["index"].tolist()]


def test_sizes_counts_and_classes(make_data: MakeData) -> None:
    data = make_data(train=23, val=5, test=7)
    assert data.num_classes == 2
    assert data.class_counts == [12, 11]
    assert data.split_sizes == {"train": 23, "val": 5, "test": 7}


class Masked(DataModule):
    """Two training masks of 3x1 pixels."""

    def __init__(self, **options: Any) -> None:
        super().__init__(target=MaskTarget(), **options)

    @property
    def class_names(self) -> list[str]:
        return ["sky", "tree", "car"]

    def load_sources(self) -> dict[str, Source]:
        masks = np.array([[[0, 2, 255]], [[0, 0, 255]]], np.uint8)
        return {"train": ArraySource(np.zeros((2, 1, 3), np.uint8), np.zeros(2, np.int64), masks=masks)}


def test_classes_of_masks_are_counted_in_pixels_without_ignored_ones() -> None:
    data = Masked(image_size=(1, 3), resize="squash")
    assert data.class_counts == [3, 0, 1]
    assert data.skipped == {}


def test_evaluation_is_in_order_and_whole(make_data: MakeData) -> None:
    data = make_data(val=5, test=7, batch_size=3)
    data.setup()
    assert indices(data.val_dataloader()) == list(range(5))
    assert indices(data.test_dataloader()) == list(range(7))


def test_only_training_is_augmented(make_data: MakeData) -> None:
    import albumentations as A

    data = make_data(train=8, val=8, batch_size=8, augment=[A.InvertImg(p=1)])
    data.setup()
    train = next(iter(data.train_dataloader()))
    val = next(iter(data.val_dataloader()))
    torch.testing.assert_close(255 - train["image"][train["index"].argsort()], val["image"])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_splits_without_overlap(make_data: MakeData, world_size: int) -> None:
    train, val = [], []
    for rank in range(world_size):
        data = place(make_data(train=23, val=21, batch_size=2), rank=rank, world_size=world_size)
        data.setup("fit")
        train += indices(data.train_dataloader())
        val += indices(data.val_dataloader())
    assert sorted(val) == list(range(21))
    assert len(set(train)) == len(train) == {1: 22, 2: 20, 3: 18}[world_size]


def test_lightnings_own_sampler_is_refused_under_several_processes(make_data: MakeData) -> None:
    data = place(make_data(batch_size=2), rank=0, world_size=2, use_distributed_sampler=True)
    with pytest.raises(InputError, match="use_distributed_sampler: true, expected false"):
        data.setup("fit")
    place(data, rank=0, world_size=1, use_distributed_sampler=True).setup("fit")


def test_a_process_without_a_validation_image_is_refused(make_data: MakeData) -> None:
    data = place(make_data(val=2, batch_size=2), rank=0, world_size=3)
    data.setup("fit")
    with pytest.raises(InputError, match=r"the val split has 2 image\(s\) for 3 processes.*trainer\.devices"):
        data.val_dataloader()


@pytest.mark.parametrize(
    ("world_size", "note"),
    [
        (1, "batches of 23, not 24: train has 23 image(s)"),
        (2, "batches of 11 in each of 2 processes, not 24: train has 23 image(s)"),
    ],
)
def test_a_batch_larger_than_the_training_split_becomes_the_split(
    make_data: MakeData, world_size: int, note: str
) -> None:
    data = place(make_data(train=23, batch_size=24), rank=0, world_size=world_size)
    data.setup("test")  # evaluation has no need of whole batches
    assert (data.batch_size, data.notes) == (24, [])
    data.setup("fit")
    assert (data.batch_size, data.notes) == (23 // world_size, [note])
    assert [len(batch["index"]) for batch in data.train_dataloader()] == [23 // world_size]
    assert data.notes == [note]


def test_fewer_training_images_than_processes_are_refused(make_data: MakeData) -> None:
    data = place(make_data(train=2, batch_size=2), rank=0, world_size=3)
    with pytest.raises(InputError, match=r"trainer\.devices: 3 processes, but the training split has 2 image"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["a"], {"train": [0, 0]}, r"1 class\(es\) \(a\), expected at least 2"),
        (["a", "b"], {"train": []}, "no images in the train split"),
        (["a", "b"], {"train": [0, 1], "val": []}, "no images in the val split"),
        (["a", "b", "c"], {"train": [0, 0, 2]}, r"no training images of b;"),
        (["a", "b"], {"train": [0, 1, 2]}, r"labels from 0 to 2 in the train split, expected 0 to 1"),
        (["a", "b"], {"train": [0, 1], "test": [-1]}, r"labels from -1 to -1 in the test split"),
    ],
)
def test_unusable_data_is_refused(names: list[str], labels: dict[str, list[int]], message: str) -> None:
    with pytest.raises(InputError, match=f"data.init_args.root: {message}"):
        Given(names, **labels).setup()


def test_a_class_may_be_missing_in_evaluation() -> None:
    data = Given(["a", "b"], train=[0, 1], val=[0])
    data.setup()
    assert data.split_sizes == {"train": 2, "val": 1}


def test_a_split_that_is_not_there_is_named() -> None:
    data = Given(["a", "b"], train=[0, 1], val=[0])
    data.setup()
    with pytest.raises(InputError, match="Given has no test split here, only: train, val;.*--split"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "data.init_args.image_size: 0, expected at least 1"),
        ({"batch_size": 0}, "data.init_args.batch_size: 0, expected at least 1"),
        ({"seed": -1}, "data.init_args.seed: -1, expected at least 0"),
        ({"num_workers": -1}, "data.init_args.num_workers: -1, expected 0 or more"),
        ({"image_size": (32, 0)}, "data.init_args.image_size: 0, expected at least 1"),
        (
            {"target": MaskTarget()},
            "data.init_args.resize: crop, which would leave pixels of a mask without a prediction",
        ),
        ({"resize": "centre"}, "data.init_args.resize: 'centre', expected one of crop, squash, letterbox"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DataModule(**options)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            ["a", "c"],
            r"trained on 2 classes \(a, b\), Given has 2 \(a, c\): the data has no b and the",
        ),
        (["a"], "the data has no b;"),
        (["b", "a"], "the order differs"),
    ],
)
def test_a_checkpoint_of_other_classes_is_refused(found: list[str], message: str) -> None:
    state = Given(["a", "b"]).state_dict()
    assert state["class_names"] == ["a", "b"]
    Given(["a", "b"]).load_state_dict(state)
    with pytest.raises(InputError, match=message):
        Given(found).load_state_dict(state)


def test_loaders_pin_memory_for_an_accelerator_only(make_data: MakeData) -> None:
    data = place(make_data(batch_size=2), rank=0, world_size=1)
    data.setup()
    assert not data.val_dataloader().pin_memory
    data.trainer.strategy.root_device = torch.device("cuda")
    assert data.val_dataloader().pin_memory


def test_seed_everything_decides_the_order_unless_a_seed_is_given() -> None:
    def first_rows(torch_seed: int, seed: int | None) -> list[int]:
        torch.manual_seed(torch_seed)
        data = Digits(batch_size=8, num_workers=0, seed=seed)
        data.setup()
        rows: list[int] = next(iter(data.train_dataloader()))["index"].tolist()
        return rows

    assert first_rows(1, None) == first_rows(1, None) == first_rows(2, 1)
    assert first_rows(1, None) != first_rows(2, None)


def test_a_checkpoint_in_another_unicode_form_has_the_same_classes() -> None:
    Given(["cr\u00e8me", "a"]).load_state_dict({"class_names": ["cre\u0300me", "a"]})
    with pytest.raises(InputError, match="the data has no b and the checkpoint has no a"):
        Given(["cr\u00e8me", "a"]).load_state_dict({"class_names": ["cre\u0300me", "b"]})


@pytest.mark.parametrize("kind", [Digits, CSVBoxes, MaskFolder, OxfordPets])
def test_an_unknown_argument_is_named_though_arguments_are_passed_on(kind: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        kind(**({} if kind is Digits else {"root": "photos"}), batchsize=4)


@pytest.mark.parametrize("key", ["cache_images_gb", "max_16bit", "target"])
def test_what_a_dataset_decides_itself_is_no_argument_of_it(key: str) -> None:
    with pytest.raises(TypeError, match=f"keyword argument '{key}'"):
        Digits(**{key: 1})


def test_a_checkpoint_stores_how_images_are_prepared() -> None:
    state = Given(["a", "b"]).state_dict()
    assert state.pop("class_path").endswith("test_base.Given")
    assert state == {
        "class_names": ["a", "b"],
        "image_size": [2, 2],
        "resize": "crop",
        "max_16bit": None,
        "batch_size": 1,
    }


def test_a_fold_takes_a_fifth_of_train_and_of_what_was_split_off_it() -> None:
    """1,797 digits: 359 or 360 are tested on, a fifth of the rest chooses, and the folds hold each image once."""
    held: list[int] = []
    for number in range(1, 6):
        data = Digits(fold=f"{number}/5")
        data.setup()
        assert sum(data.split_sizes.values()) == 1797
        assert data.split_sizes["test"] == pytest.approx(359.4, abs=3)
        assert data.split_sizes["val"] == pytest.approx(287.5, abs=3)
        held += [base_row(data.source("test"), row)[1] for row in range(data.split_sizes["test"])]
    assert sorted(held) == list(range(1797))


def test_a_fold_leaves_a_validation_split_of_other_images_alone(make_data: MakeData) -> None:
    data = make_data(train=20, val=6, test=7, fold="1/2")
    data.setup()
    assert data.split_sizes == {"train": 10, "val": 6, "test": 10}
