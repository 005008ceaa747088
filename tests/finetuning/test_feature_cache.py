"""Epochs from cached features train the same network as without a cache, and read no image."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from bench.reliability import content, differing
from visiontasks.backbones import Stage
from visiontasks.commands import finetune as run
from visiontasks.data.pipeline.sources import FileSource
from visiontasks.errors import InputError, Stopped
from visiontasks.finetuning import feature_cache, features
from visiontasks.finetuning.feature_folders import features_folder
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.recipe import find_recipe

# 26 images of two classes, 18 to train: two batches of 8 an epoch and two images left over; three frozen epochs.
OPTIONS = [
    *("--data", "ImageFolder", "--data.batch_size", "8", "--data.image_size", "16", "--data.num_workers", "0"),
    *("--data.cache_images_gb", "0"),  # what is read is counted
    *("--data.augment", '[{"class_path": "HorizontalFlip"}, {"class_path": "Affine", "init_args": {"p": 1.0}}]'),
    *("--data.val_fraction", "0.15", "--data.test_fraction", "0.15"),
    *("--trainer.max_epochs", "4", "--trainer.num_sanity_val_steps", "0", "--finetune.freeze_epochs", "3"),
]
# A frozen epoch, then three of the last stage alone: BatchNorm and dropout in train mode, gradients of two batches
# together, averaged weights.
LAST_STAGE = [
    *("--trainer.max_epochs", "4", "--finetune.freeze_epochs", "1", "--finetune.last_stages", "1"),
    *("--model.head", "MLPHead", "--model.head.dropout", "0.5", "--trainer.precision", "32-true"),
    *("--data.batch_size", "4", "--trainer.accumulate_grad_batches", "2", "--model.ema_decay", "0.9"),
]
Train = Callable[..., Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    return class_folders(tmp_path_factory.mktemp("photos"), {"cat": 13, "dog": 13}, size=(20, 18))


@pytest.fixture
def train(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """`train("name", "--key", "value")`: the run's content, and how many images each training epoch has read."""
    monkeypatch.setattr(run, "write_measured", lambda *_, **__: None)  # which reads images anew
    monkeypatch.setattr(run, "log_picture", lambda *_, **__: None)
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "cache"))

    def trained(name: str, *more: str, resume: Path | None = None) -> tuple[dict[str, Any], list[int]]:
        read: list[int] = []
        whole, start = FileSource.__getitem__, FinetuneSchedule.on_train_epoch_start

        def count(self: FileSource, index: int) -> Any:
            read[-1:] = [read[-1] + 1] if read else []
            return whole(self, index)

        def note(self: FinetuneSchedule, *args: Any) -> None:
            read.append(0)
            start(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(FileSource, "__getitem__", count)
            patch.setattr(FinetuneSchedule, "on_train_epoch_start", note)
            options = [*OPTIONS, "--data.root", str(photos), *more]
            given = str(resume) if resume else None
            recipe = find_recipe("digits_resnet")
            run_dir, _ = run.finetune(recipe, options, runs=tmp_path / name, resume=given, verbose=True)
        read[-1] = 0  # with the measurement behind it
        return content(run_dir), read

    return trained


def test_cached_features_change_nothing_whether_new_or_complete(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    without, read = train("off", "--finetune.cache_features", "off")
    assert read == [20, 20, 20, 0]  # 16 to train, 4 to validate
    capsys.readouterr()
    new, read = train("new")
    assert "features of frozen epochs are cached in " in capsys.readouterr().out
    assert read == [22, 18, 18, 0]  # the two left over are read too, those to validate once
    assert differing(new, without) == []
    known, read = train("known")
    assert "features of frozen epochs are complete in " in capsys.readouterr().out
    assert read == [0, 0, 0, 0]
    assert differing(known, without) == []


def test_decoded_images_in_memory_change_nothing_either(train: Train) -> None:
    without, _ = train("without", "--finetune.cache_features", "off")
    in_memory, read = train("in memory", "--finetune.cache_features", "off", "--data.cache_images_gb", "1")
    assert read[0] == 20  # 16 to train, 4 to validate
    assert sum(read) <= 22  # and later the two left over
    assert differing(in_memory, without) == []


def test_with_one_view_the_later_frozen_epochs_read_no_image(train: Train) -> None:
    new, read = train("new", "--finetune.cached_views", "1")
    assert read == [22, 0, 0, 0]
    known, read = train("known", "--finetune.cached_views", "1")
    assert read == [0, 0, 0, 0]
    assert differing(known, new) == []


def test_another_head_and_learning_rate_begin_at_once_another_seed_does_not(train: Train) -> None:
    train("first")
    _, read = train("second", "--model.head", "MLPHead", "--model.optimizer.lr", "0.01")
    assert read == [0, 0, 0, 0]
    _, read = train("third", "--seed_everything", "1")
    assert read == [22, 18, 18, 0]


def test_the_last_frozen_stages_output_is_cached_while_deeper_ones_are_trained(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    views = ["--finetune.cached_views", "4"]
    without, read = train("off", *LAST_STAGE, *views, "--finetune.cache_features", "off")
    assert read == [20, 20, 20, 0]  # 16 to train, 4 to validate
    capsys.readouterr()
    new, read = train("new", *LAST_STAGE, *views)
    assert "outputs of layer2 in epochs 2-4 are cached\n" in capsys.readouterr().out
    assert read == [22, 22, 18, 0]  # the two left over are read too, those to validate once for each phase
    assert differing(new, without) == []
    known, read = train("known", *LAST_STAGE, *views)
    assert read == [0, 0, 0, 0]
    assert differing(known, without) == []


@pytest.mark.slow
def test_each_phase_caches_its_own_stage(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    more = [
        *("--trainer.max_epochs", "6", "--finetune.freeze_epochs", "1", "--finetune.unfreeze", "stages"),
        *("--finetune.epochs_per_stage", "2", "--trainer.precision", "32-true", "--finetune.cached_views", "2"),
    ]
    without, _ = train("off", *more, "--finetune.cache_features", "off")
    capsys.readouterr()
    new, read = train("new", *more)
    output = capsys.readouterr().out
    assert "outputs of layer2 in epochs 2-3 are cached\noutputs of layer1 in epochs 4-5 are cached\n" in output
    assert read == [22, 22, 18, 22, 18, 0]
    assert differing(new, without) == []


def test_with_one_view_the_later_epochs_of_a_phase_read_no_image(train: Train) -> None:
    new, read = train("new", *LAST_STAGE, "--finetune.cached_views", "1")
    assert read == [22, 22, 0, 0]
    known, read = train("known", *LAST_STAGE, "--finetune.cached_views", "1")
    assert read == [0, 0, 0, 0]
    assert differing(known, new) == []


def test_a_new_view_in_each_epoch_caches_maps_of_validation_images_only(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without, _ = train("off", *LAST_STAGE, "--finetune.cache_features", "off")
    new, read = train("new", *LAST_STAGE)
    assert "outputs of layer2 in epochs 2-4 are cached, of validation images only\n" in capsys.readouterr().out
    assert read == [22, 20, 16, 0]
    assert differing(new, without) == []
    stored = [sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / "cache" / "features").iterdir()]
    assert sorted(stored) == [["about.json", "lock", "train.0", "val"], ["about.json", "lock", "val"]]


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_that_was_stopped_while_the_last_stage_trains_ends_the_same(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    more = [*LAST_STAGE, "--finetune.cached_views", "4"]
    without, _ = train("off", *more, "--finetune.cache_features", "off")
    whole = FinetuneSchedule.on_train_batch_start

    def stop(self: FinetuneSchedule, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        whole(self, trainer, module, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (epoch, 1):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneSchedule, "on_train_batch_start", stop)
        with pytest.raises(Stopped):
            train("stopped", *more)
    (run_dir,) = (tmp_path / "stopped" / "digits_resnet").iterdir()
    resumed, _ = train("stopped", *more, resume=run_dir)
    assert differing(resumed, without) == []


def test_a_stage_whose_output_cannot_be_injected_is_not_cached(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise InputError("its output is not a tensor")

    monkeypatch.setattr("visiontasks.finetuning.feature_cache.find_placeholder", refuse)
    _, read = train("new", *LAST_STAGE, "--finetune.cached_views", "1")
    assert "outputs of layer2 in epochs 2-4 are not cached: its output is not a tensor\n" in capsys.readouterr().out
    assert read == [22, 20, 20, 0]


@pytest.mark.slow
def test_maps_that_do_not_fit_are_not_cached_and_vectors_are(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    _, read = train("new", *LAST_STAGE, "--finetune.cached_views", "1", "--finetune.cache_size_gb", "5e-5")
    assert "outputs of layer2 in epochs 2-4 are not cached: they take " in capsys.readouterr().out
    assert read == [22, 20, 20, 0]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--model.mixup_alpha", "0.2"], "the task mixes images, or measures masks at the size of each image"),
        (["--trainer.limit_train_batches", "1"], "an epoch is limited to a part of the images"),
        (
            ["--finetune.cache_size_gb", "1e-6"],
            "they take 5.9e-06 GB a view, more than finetune.cache_size_gb (1e-06)",
        ),
    ],
)
def test_the_reason_is_printed_where_nothing_can_be_cached(
    train: Train, capsys: pytest.CaptureFixture[str], more: list[str], reason: str
) -> None:
    train("off", *more)
    assert f"features of frozen epochs are not cached: {reason}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "frozen",
    [
        ["--finetune.freeze_epochs", "2"],
        pytest.param(["--finetune.freeze_epochs", "1", "--finetune.last_stages", "1"], marks=pytest.mark.slow),
    ],
    ids=["all", "all but the last stage"],
)
def test_boxes_follow_their_view(
    tmp_path: Path, write_scenes: Callable[..., None], monkeypatch: Any, frozen: list[str]
) -> None:
    monkeypatch.setattr(run, "write_measured", lambda *_, **__: None)  # which reads images anew
    monkeypatch.setattr(run, "log_picture", lambda *_, **__: None)
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "cache"))
    write_scenes(tmp_path / "photos", "VOCBoxes")
    options = [
        *("--data.root", str(tmp_path / "photos"), "--data.image_size", "32", "--data.num_workers", "0"),
        *("--model.backbone", "resnet20_cifar.vt_cifar10", "--trainer.max_epochs", "3", "--data.batch_size", "4"),
        *(*frozen, "--finetune.cached_views", "2", "--trainer.precision", "32-true", "--model.box_grid", "2"),
    ]
    runs = [
        run.finetune(find_recipe("folder_localize"), [*options, "--finetune.cache_features", how], runs=tmp_path / name)
        for how, name in (("off", "off"), ("auto", "new"), ("auto", "known"))
    ]
    without, new, known = (content(run_dir) for run_dir, _ in runs)
    assert differing(new, without) == []
    assert differing(known, without) == []


ONE_VIEW = ["--finetune.cached_views", "1"]
WITHOUT: dict[str, Any] = {}  # of the fixture of that name, trained once


def cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "a file"))
    return []


def has_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    return ["--finetune.cache_size_gb", "1e-6"]


def is_locked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setattr(features, "try_lock", lambda file: file.name.endswith("features.lock"))
    return []


def disk_fills_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    write, left = os.pwrite, [9]  # rows of three samples

    def limited(*args: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*args)

    monkeypatch.setattr(os, "pwrite", limited)
    return []


def disk_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    return []


def depends_on_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setattr(feature_cache, "depends_on_place", lambda *_: True)
    return []


@pytest.fixture
def without(train: Train) -> dict[str, Any]:
    """The result of one view in three frozen epochs without a cache."""
    if not WITHOUT:
        found, read = train("off", *ONE_VIEW, "--finetune.cache_features", "off")
        assert read == [20, 20, 20, 0]
        WITHOUT.update(found)
    return WITHOUT


@pytest.mark.parametrize(
    ("hinder", "message"),
    [
        (cannot_be_made, "not cached: {} cannot be written (Not a directory)"),
        pytest.param(has_no_room, "not cached: they take 5.9e-06 GB a view", marks=pytest.mark.slow),
        pytest.param(is_locked, "not cached: another training writes the same files", marks=pytest.mark.slow),
        pytest.param(
            disk_is_full, "not cached: {} cannot be written (No space left on device)", marks=pytest.mark.slow
        ),
        pytest.param(
            disk_fills_up, "not cached: {} cannot be written (No space left on device)", marks=pytest.mark.slow
        ),
        pytest.param(
            depends_on_the_place, "cached for validation images only: in a batch of 8", marks=pytest.mark.slow
        ),
    ],
)
def test_views_repeat_with_and_without_a_cache(
    train: Train,
    without: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hinder: Callable[..., list[str]],
    message: str,
) -> None:
    capsys.readouterr()
    hindered, read = train("hindered", *ONE_VIEW, *hinder(monkeypatch, tmp_path))
    assert f"features of frozen epochs are {message.format(features_folder())}" in capsys.readouterr().out
    assert read[2] >= 16  # images are read in each epoch
    assert differing(hindered, without) == []


def test_views_repeat_with_a_cache_too(train: Train, without: dict[str, Any]) -> None:
    for name in ("new", "known"):
        found, _ = train(name, *ONE_VIEW)
        assert differing(found, without) == []


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def cut(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "more", "expected"),
    [(remove, [], [22, 0, 0, 0]), (cut, [], [22, 20, 16, 0]), (cut, LAST_STAGE, [22, 22, 20, 0])],
    ids=["removed", "cut", "maps cut"],
)
def test_what_is_harmed_during_a_training_is_computed_again(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
    more: list[str],
    expected: list[int],
) -> None:
    without, _ = train("off", *more, *ONE_VIEW, "--finetune.cache_features", "off")
    start, epoch = FinetuneSchedule.on_train_epoch_start, 2 if more else 1

    def harmed(self: FinetuneSchedule, trainer: Any, *args: Any) -> None:
        start(self, trainer, *args)
        if trainer.current_epoch == epoch:
            harm(tmp_path / "cache" / "features")

    monkeypatch.setattr(FinetuneSchedule, "on_train_epoch_start", harmed)
    capsys.readouterr()
    found, read = train("harmed", *more, *ONE_VIEW)
    assert capsys.readouterr().out.count(" was damaged during the training; computed again\n") == (harm is cut)
    assert read == expected
    assert differing(found, without) == []


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--finetune.cache_size_gb", "1e-6"], ["--finetune.cache_features", "off"], []])
def test_a_run_that_is_resumed_with_another_cache_ends_the_same(
    train: Train, without: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    whole = FinetuneSchedule.on_train_batch_start

    def stop(self: FinetuneSchedule, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        whole(self, trainer, module, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (1, 1):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneSchedule, "on_train_batch_start", stop)
        with pytest.raises(Stopped):
            train("stopped", *ONE_VIEW)
    if not more:
        shutil.rmtree(tmp_path / "cache")
    (run_dir,) = (tmp_path / "stopped" / "digits_resnet").iterdir()
    resumed, _ = train("stopped", *ONE_VIEW, *more, resume=run_dir)
    assert differing(resumed, without) == []


@pytest.mark.slow
def test_each_damaged_file_is_computed_again_and_named(
    train: Train, without: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("new", *ONE_VIEW)
    (folder,) = (tmp_path / "cache" / "features").iterdir()
    for number, file in enumerate(["train.0/kinds.json", "val/kinds.json", "train.0/features.0", "val/checksums"]):
        path = folder / file
        path.write_bytes(path.read_bytes()[: -1 if number % 2 else 0])
        capsys.readouterr()
        found, _ = train(f"damaged{number}", *ONE_VIEW)
        assert f"{path.parent}: {path.name} " in capsys.readouterr().out
        assert differing(found, without) == []


@pytest.mark.slow
def test_images_that_change_without_their_size_and_time_are_computed_again(
    photos: Path, tmp_path: Path, train: Train
) -> None:
    own = tmp_path / "own"
    for turn in ("first", "second"):
        for path in photos.rglob("*.png"):
            pixels = cv2.imread(str(path))
            file = own / path.parent.name / f"{path.stem}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), pixels if turn == "first" else 255 - pixels)
            assert file.stat().st_size == 54 + 18 * 20 * 3
            os.utime(file, (1000, 1000))
        _, read = train(turn, *ONE_VIEW, "--data.root", str(own))
        assert read == [22, 0, 0, 0]


def test_an_epoch_is_augmented_as_the_first_with_its_frozen_part_and_view() -> None:
    schedule = FinetuneSchedule(4, unfreeze="stages", epochs_per_stage=3, cached_views=2, cache_features="off")
    schedule._stages = [Stage(str(i), ()) for i in range(3)]
    data: Any = SimpleNamespace(augmented_as=None)
    trainer: Any = SimpleNamespace(datamodule=data, world_size=2)
    schedule._cache.begin(trainer, LightningModule(), nn.Identity(), schedule._first_epoch)
    augmented = [data.augmented_as("train", epoch) for epoch in range(13)]
    # four of the head alone, three of one stage, three of two, and all that follows is new
    assert augmented == [0, 1, 0, 1, 4, 5, 4, 7, 8, 7, 10, 11, 12]
    schedule._cache.end()
    assert data.augmented_as is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cached_views": -1}, "finetune.cached_views must be 0 or more, got -1"),
        ({"cache_size_gb": 0.0}, "finetune.cache_size_gb must be above 0, got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        FinetuneSchedule(1, **options)


def test_cached_features_are_those_of_the_training(train: Train, tmp_path: Path) -> None:
    train("new")
    (folder,) = (tmp_path / "cache" / "features").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "about.json",
        "lock",
        "train.0",
        "train.1",
        "train.2",
        "val",
    ]
    stored = torch.frombuffer(bytearray((folder / "val" / "features.0").read_bytes()), dtype=torch.float32)
    assert stored.shape == (4 * 64,)
    assert bool((stored >= 0).all())  # averages after a ReLU
    assert float(stored.max()) > 0
