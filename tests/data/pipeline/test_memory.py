"""Images that are kept in memory give bitwise the batches that there are without, and are decoded once."""

import copy
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from visiontasks.data import DataModule, ImageFolder, MaskFolder, VOCBoxes
from visiontasks.data import base as data_base
from visiontasks.data.datasets import boxes
from visiontasks.data.formats import masks
from visiontasks.data.pipeline import memory as data_memory
from visiontasks.data.pipeline import sources
from visiontasks.data.pipeline.memory import GB, ImageMemory, available_memory
from visiontasks.data.pipeline.reader import read_image
from visiontasks.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

EPOCHS = 3
KINDS: dict[str, Any] = {"label": ImageFolder, "box": VOCBoxes, "mask": MaskFolder}


@pytest.fixture(scope="module")
def roots(
    tmp_path_factory: pytest.TempPathFactory, write_scenes: Callable[..., None], class_folders: Callable[..., Path]
) -> Path:
    root = tmp_path_factory.mktemp("memory")
    class_folders(root / "label", {"cat": 10, "dog": 10}, size=(21, 18))
    write_scenes(root / "box", "VOCBoxes", n=16)
    write_scenes(root / "mask", "MaskFolder", n=16)
    return root


def make(target: str, roots: Path, **options: Any) -> DataModule:
    transforms = [A.HorizontalFlip(p=0.5), A.Affine(rotate=(-20, 20), p=1)]
    chosen = {"resize": "squash", "augment": transforms, "num_workers": 0, **options}
    data: DataModule = KINDS[target](str(roots / target), image_size=(16, 14), batch_size=4, seed=3, **chosen)
    data.setup("fit")
    return data


def batches(data: DataModule) -> list[dict[str, Any]]:
    train, val = data.train_dataloader(), data.val_dataloader()
    return [batch for _ in range(EPOCHS) for loader in (train, val) for batch in loader]


def assert_equal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        assert list(a) == list(b)
        for key in a:
            pairs = zip(a[key], b[key], strict=True) if isinstance(a[key], list) else [(a[key], b[key])]
            for x, y in pairs:
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image files that are read, in their order."""
    found: list[str] = []
    whole = read_image

    def read(path: str, **options: Any) -> Any:
        found.append(path)
        return whole(path, **options)

    for module in (sources, boxes, masks):
        monkeypatch.setattr(module, "read_image", read)
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("target", list(KINDS))
def test_kept_images_give_the_batches_that_there_are_without(target: str, workers: int, roots: Path) -> None:
    expected = batches(make(target, roots, cache_images_gb=0))
    assert_equal(batches(make(target, roots, num_workers=workers)), expected)


@pytest.mark.parametrize("options", [{"augment": None}, {"resize": "letterbox"}, {"cache_images_gb": 9e-6}])
@pytest.mark.parametrize("target", list(KINDS))
def test_so_they_do_without_augmentation_with_padding_and_where_not_all_fit(
    target: str, options: dict[str, Any], roots: Path
) -> None:
    expected = batches(make(target, roots, **{**options, "cache_images_gb": 0}))
    assert_equal(batches(make(target, roots, **options)), expected)


@pytest.mark.parametrize("target", list(KINDS))
def test_each_image_is_decoded_once(target: str, roots: Path, decoded: list[str]) -> None:
    data = make(target, roots)
    batches(data)
    assert len(decoded) == len(set(decoded)) >= EPOCHS  # a training image left over may not come at all
    decoded.clear()
    batches(make(target, roots, cache_images_gb=0))
    assert len(decoded) > 2 * len(set(decoded))


def test_workers_share_what_one_of_them_has_decoded(roots: Path) -> None:
    data = make("label", roots, num_workers=2)
    batches(data)
    assert len(data._memories["val"]) == data.split_sizes["val"] == 4
    assert len(data._memories["train"]) == data.split_sizes["train"] == 12


def test_a_split_that_is_all_in_memory_needs_no_workers_unless_they_are_asked_for(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_base, "chosen_workers", lambda *_, **__: 2)
    data = make("label", roots, num_workers=None)
    assert data.val_dataloader().num_workers == 2
    first = list(data.val_dataloader())
    after = data.val_dataloader()
    assert after.num_workers == 0
    assert_equal(list(after), first)
    assert data.train_dataloader().num_workers == 2  # there is work left: to augment
    asked = make("label", roots, num_workers=1)
    list(asked.val_dataloader())
    assert asked.val_dataloader().num_workers == 1


def test_memory_is_bounded_and_what_fits_is_kept(roots: Path, decoded: list[str]) -> None:
    # 4 resized images of 16 * 14 * 3 = 672 bytes to validate, 21 * 18 * 3 = 1,134 bytes each to train: 5 fit in 6,000.
    data = make("label", roots, cache_images_gb=(4 * 672 + 6000) / GB)
    batches(data)
    assert data._memories["val"].room == 4 * 672
    assert data._memories["train"].room == 6000
    assert (len(data._memories["val"]), len(data._memories["train"])) == (4, 5)
    assert len(decoded) == 4 + 5 + 7 * EPOCHS


def test_no_more_than_half_of_the_free_memory_is_taken(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_base, "available_memory", lambda: 20000)
    data = make("label", roots)
    data.train_dataloader()
    assert sum(memory.room for memory in data._memories.values()) == 10000


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text("5000\n")
    (tmp_path / "used").write_text("2000\n")
    monkeypatch.setattr(data_memory, "_CGROUP_FILES", [(str(tmp_path / "max"), str(tmp_path / "used"))])
    assert available_memory() == 3000
    (tmp_path / "max").write_text("max\n")
    assert available_memory() > 3000


def test_images_that_are_seen_once_or_lie_in_memory_anyway_are_not_kept(
    roots: Path, make_data: Callable[..., DataModule]
) -> None:
    data = make("label", roots)
    assert data.dataset("test").memory is None
    arrays = make_data()
    arrays.setup()
    assert arrays.dataset("train").memory is None


def test_a_bad_image_is_still_named_and_never_kept(tmp_path: Path, class_folders: Callable[..., Path]) -> None:
    class_folders(tmp_path / "label", {"cat": 10, "dog": 10})
    data = make("label", tmp_path)
    dataset = data.dataset("val")
    path = Path(str(sources.sample_path(data.source("val"), 1)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for _ in range(2):
        with pytest.raises(InputError, match=f"{path.name}: damaged"):
            dataset[1]
    path.write_bytes(content)
    assert dataset[1]["image"].shape == (16, 14, 3)


def test_what_is_taken_out_is_a_copy() -> None:
    memory = ImageMemory(3, 1000)
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    memory.store(2, image, (50, 70))
    assert memory.get(1) is None
    for _ in range(2):
        found = memory.get(2)
        assert found is not None
        np.testing.assert_array_equal(found[0], image)
        assert found[1] == (50, 70)
        found[0][:] = 0


def test_a_copy_of_the_data_keeps_nothing() -> None:
    memory = ImageMemory(1, 1000)
    memory.store(0, np.zeros((2, 2, 3), np.uint8), (2, 2))
    assert copy.deepcopy(memory).get(0) is None


def fill(memory: ImageMemory) -> None:
    memory.store(1, np.full((2, 3, 3), 7, np.uint8), (20, 30))


@pytest.mark.slow  # a new interpreter
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_it_is_shared_with_processes_that_are_not_forked(method: str) -> None:
    memory = ImageMemory(2, 1000)
    process: Any = multiprocessing.get_context(method).Process(target=fill, args=(memory,))
    process.start()
    process.join()
    found = memory.get(1)
    assert found is not None
    assert (found[0] == 7).all()
    assert found[1] == (20, 30)


@pytest.mark.slow  # new interpreters
def test_spawned_workers_give_the_same_batches(roots: Path) -> None:
    data = make("label", roots)
    dataset = data.dataset("val")
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="spawn", persistent_workers=True
    )
    first, second = ([torch.as_tensor(sample["image"]) for sample in loader] for _ in range(2))
    assert len(data._memories["val"]) == len(dataset)
    expected = make("label", roots, cache_images_gb=0).dataset("val")
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        np.testing.assert_array_equal(a, expected[row]["image"])
        np.testing.assert_array_equal(b, expected[row]["image"])


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_a_size_that_is_none_is_refused(roots: Path, value: float) -> None:
    with pytest.raises(InputError, match=r"cache_images_gb: .*, expected 0 or more"):
        make("label", roots, cache_images_gb=value)


def test_without_room_nothing_is_kept() -> None:
    memory = ImageMemory(1, 0)
    memory.store(0, np.zeros((2, 2, 3), np.uint8), (2, 2))
    assert memory.get(0) is None
    assert len(memory) == 0
