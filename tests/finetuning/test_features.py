"""Kept features: rows that come back as they were, or not at all."""

import multiprocessing
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from visiontasks.finetuning import feature_folders
from visiontasks.finetuning.feature_folders import features_folder
from visiontasks.finetuning.features import FeatureFiles, fingerprint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_the_folder_is_the_users_cache_or_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "a"))
    assert features_folder() == tmp_path / "a" / "features"
    monkeypatch.delenv("VISIONTASKS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert features_folder() == tmp_path / "b" / "visiontasks" / "features"


def test_only_one_training_writes_to_a_folder(cache: Path) -> None:
    first, second = FeatureFiles("same", 1000), FeatureFiles("same", 1000)
    assert (first.is_ours, second.is_ours) == (True, False)
    second.close()
    first.close()
    third = FeatureFiles("same", 1000)
    assert third.is_ours
    third.close()


def test_what_was_not_used_for_longest_makes_room(cache: Path) -> None:
    for age, name in enumerate(("new", "old", "locked")):
        files = FeatureFiles(name, 1000)
        (files.folder / "rows").write_bytes(bytes(400))
        if name != "locked":
            files.close()
        os.utime(files.folder, (1000 - age, 1000 - age))
    own = FeatureFiles("own", 1000)
    assert own.has_room(500)
    assert sorted(path.name for path in cache.iterdir()) == ["locked", "own"]  # 400 bytes of it are being written
    assert not own.has_room(1001)
    own.close()
    files.close()


def test_a_name_changes_with_weights_buffers_structure_and_facts() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    names = {fingerprint(net, net, ["a"])}
    assert fingerprint(net, net, ["a"]) in names
    names.add(fingerprint(net, net, ["b"]))
    names.add(fingerprint(nn.Sequential(net[0], net[1], nn.Identity()), net, ["a"]))
    with torch.no_grad():
        net[0].weight += 1
    names.add(fingerprint(net, net, ["a"]))
    net[1].running_mean += 1
    names.add(fingerprint(net, net, ["a"]))
    assert len(names) == 5


def test_a_name_of_a_part_stays_when_the_rest_changes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    name = fingerprint(net, [net, net[0]], [])
    net[1].running_mean += 1
    assert fingerprint(net, [net, net[0]], []) == name


def test_what_others_are_using_counts_and_nothing_is_removed_in_vain(cache: Path) -> None:
    used, unused = FeatureFiles("used", 1000), FeatureFiles("unused", 1000)
    (used.folder / "rows").write_bytes(bytes(400))
    (unused.folder / "rows").write_bytes(bytes(400))
    unused.close()
    own = FeatureFiles("own", 1000)
    assert not own.has_room(1001)  # whatever is removed
    assert (unused.folder / "rows").is_file()
    assert not own.has_room(601)  # 400 of 1000 bytes are being used
    assert own.has_room(600)
    for files in (used, own):
        files.close()


def test_what_a_user_has_put_there_stays_and_half_a_removal_is_ended(cache: Path) -> None:
    half = cache / ("0123456789abcdef" * 2)
    for folder in (cache / "mine", half):
        folder.mkdir(parents=True)
        (folder / "rows").write_bytes(bytes(400))
    own = FeatureFiles("own", 1000)
    assert own.has_room(1000)
    own.close()
    assert sorted(path.name for path in cache.iterdir()) == ["mine", "own"]


def test_a_lock_that_is_not_given_back_is_an_error_in_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_folders, "LOCK_TIMEOUT_S", 0.05)
    with feature_folders.locked(cache), pytest.raises(OSError, match=r"another process holds .*features\.lock"):
        FeatureFiles("own", 1000)


def share_a_small_cache(seed: int, rounds: int) -> None:
    """Open, make and fill folders of 8 names, of which there is room for 3, and close them."""
    rng = random.Random(seed)
    index = torch.arange(20)
    for _ in range(rounds):
        files = FeatureFiles(f"{rng.randrange(8):032x}", 4000)
        value = {"features.0": torch.full((20, 12), float(rng.randrange(9)))}  # with checksums 1,040 bytes
        if files.is_ours:
            view = files.view("train.0", 20)
            if view.is_created or files.create(view, value):
                view.write(index, value)
                rows = view.rows(index)
                assert rows is not None
                assert rows["features.0"].std() == 0
            with feature_folders.locked(features_folder()):
                used = sum(path.stat().st_size for path in features_folder().rglob("*") if path.is_file())
            assert used <= 4000
        files.close()


@pytest.mark.slow
def test_processes_that_push_each_others_folders_out_meet_no_error(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=share_a_small_cache, args=(seed, 100)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
