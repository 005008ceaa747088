"""Kept features: rows that come back as they were, or not at all."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from visiontasks.features import FeatureFiles, View, features_folder, fingerprint, row_bytes


def entries(*values: float) -> dict[str, Tensor]:
    return {
        "features.0": torch.tensor([[v, -v] for v in values], dtype=torch.bfloat16),
        "label": torch.tensor([int(v) for v in values]),
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path))
    return tmp_path / "features"


def written(folder: Path) -> View:
    """Rows 2 and 0 of three."""
    view = View(folder, 3)
    view.create(entries(7.0))
    view.keep(torch.tensor([2, 0]), entries(2.0, 0.0))
    return view


def test_rows_come_back_by_their_index_and_in_their_type(tmp_path: Path) -> None:
    view = written(tmp_path / "train.0")
    view.close()
    again = View(tmp_path / "train.0", 3)
    assert again.missing() == [1]
    rows = again.rows(torch.tensor([0, 2, 2]))
    assert rows["features.0"].dtype == torch.bfloat16
    assert rows["features.0"].tolist() == [[0, 0], [2, -2], [2, -2]]
    assert rows["label"].tolist() == [0, 2, 2]
    again.keep(torch.tensor([1, 0]), entries(1.0, 9.0))
    assert again.is_complete
    assert again.rows(torch.tensor([0]))["label"].tolist() == [0]  # what is there stays


def test_rows_come_back_in_their_layout(tmp_path: Path) -> None:
    view = View(tmp_path / "val", 3)
    maps = torch.arange(3.0 * 2 * 4 * 5).view(3, 2, 4, 5)
    kept = {
        "channels last": maps.to(memory_format=torch.channels_last),
        "tokens": maps.flatten(2).transpose(1, 2),
        "one behind the other": maps.flatten(2).transpose(0, 1).contiguous().transpose(0, 1),
        "with gaps": maps[..., 1:],
    }
    view.create(kept)
    view.keep(torch.arange(3), kept)
    view.close()
    rows = View(tmp_path / "val", 3).rows(torch.tensor([2, 0]))
    for name, value in kept.items():
        assert rows[name].equal(value[[2, 0]])
    strides = {name: value.stride() for name, value in rows.items()}
    assert strides["channels last"] == (40, 1, 10, 2)
    assert strides["tokens"] == (40, 1, 20)
    assert strides["one behind the other"] == (40, 20, 1)
    assert strides["with gaps"] == (32, 16, 4, 1)


@pytest.mark.parametrize("file", ["features.0", "label", "checksums"])
def test_a_row_that_was_half_written_is_missing(tmp_path: Path, file: str) -> None:
    view = written(tmp_path / "train.0")
    view.close()
    path = tmp_path / "train.0" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of the last row
    path.write_bytes(content)
    assert View(tmp_path / "train.0", 3).missing() == [1, 2]


def test_a_row_of_zeros_is_a_row(tmp_path: Path) -> None:
    view = View(tmp_path / "val", 2)
    view.create(entries(0.0))
    view.keep(torch.tensor([1]), entries(0.0))
    assert View(tmp_path / "val", 2).missing() == [0]


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


def test_the_size_of_a_row_is_that_of_its_entries() -> None:
    assert row_bytes(entries(1.0, 2.0, 3.0)) == 2 * 2 + 8
