"""Rows of cached features are read as they were written, or not at all."""

import errno
import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from visiontasks.finetuning.feature_store import KINDS, View, row_bytes

FILES = ("kinds.json", "features.0", "label", "checksums")


def entries(*values: float) -> dict[str, Tensor]:
    return {
        "features.0": torch.tensor([[v, -v] for v in values], dtype=torch.bfloat16),
        "label": torch.tensor([int(v) for v in values]),
    }


def written(folder: Path) -> View:
    """Rows 2 and 0 of three."""
    view = View(folder, 3)
    view.create(entries(7.0))
    view.write(torch.tensor([2, 0]), entries(2.0, 0.0))
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
    again.write(torch.tensor([1, 0]), entries(1.0, 9.0))
    assert again.is_complete
    assert again.rows(torch.tensor([0]))["label"].tolist() == [0]  # what is there stays


def test_rows_come_back_in_their_layout(tmp_path: Path) -> None:
    view = View(tmp_path / "val", 3)
    maps = torch.arange(3.0 * 2 * 4 * 5).view(3, 2, 4, 5)
    written = {
        "channels last": maps.to(memory_format=torch.channels_last),
        "tokens": maps.flatten(2).transpose(1, 2),
        "one behind the other": maps.flatten(2).transpose(0, 1).contiguous().transpose(0, 1),
        "with gaps": maps[..., 1:],
    }
    view.create(written)
    view.write(torch.arange(3), written)
    view.close()
    rows = View(tmp_path / "val", 3).rows(torch.tensor([2, 0]))
    for name, value in written.items():
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
    view.write(torch.tensor([1]), entries(0.0))
    assert View(tmp_path / "val", 2).missing() == [0]


def test_the_size_of_a_row_is_that_of_its_entries() -> None:
    assert row_bytes(entries(1.0, 2.0, 3.0)) == 2 * 2 + 8


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "garbage":
        path.write_bytes(bytes(255 - byte for byte in content))
    else:
        path.write_bytes(content[: {"empty": 0, "cut": len(content) - 1}[how]])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "garbage", "a folder"])
def test_damaged_files_are_noticed_and_made_again(tmp_path: Path, file: str, how: str) -> None:
    written(tmp_path / "val").close()
    damage(tmp_path / "val" / file, how)
    view = View(tmp_path / "val", 3)
    assert view.damage
    assert view.missing() == [0, 1, 2]
    assert view.is_created == (how == "garbage" and file != "kinds.json")  # then the rows alone are damaged
    if not view.is_created:
        view.create(entries(7.0))
    view.write(torch.tensor([0, 1, 2]), entries(4.0, 5.0, 6.0))
    view.close()
    again = View(tmp_path / "val", 3)
    assert not again.damage
    rows = again.rows(torch.tensor([2, 0]))
    assert rows is not None
    assert rows["features.0"].tolist() == [[6, -6], [4, -4]]


@pytest.mark.parametrize(
    "content",
    [
        *("null", "[]", "3", "{}", "[" * 9999, '{"kinds": 3, "checksum": 0}'),
        '{"kinds": {"label": 3}, "checksum": "a"}',
        '{"label": ["int64", [], []], "features.0": ["bfloat16", [2], [1]]}',
    ],
)
def test_a_list_of_kinds_of_other_types_is_noticed(tmp_path: Path, content: str) -> None:
    written(tmp_path / "val").close()
    (tmp_path / "val" / KINDS).write_text(content)
    assert View(tmp_path / "val", 3).damage.startswith("kinds.json ")


def test_rows_of_another_type_place_or_file_are_not_taken_for_these(tmp_path: Path) -> None:
    written(tmp_path / "val").close()
    kinds = tmp_path / "val" / KINDS
    whole = kinds.read_text()
    kinds.write_text(whole.replace("bfloat16", "float16"))
    assert View(tmp_path / "val", 3).damage == "kinds.json was altered"
    kinds.write_text(whole)
    (tmp_path / "val").rename(tmp_path / "train.0")
    assert View(tmp_path / "train.0", 3).damage == "2 of 3 rows are damaged"
    (tmp_path / "train.0").rename(tmp_path / "val")
    for file, row in (("features.0", 4), ("label", 8), ("checksums", 4)):
        content = (tmp_path / "val" / file).read_bytes()
        (tmp_path / "val" / file).write_bytes(content[2 * row :] + content[row : 2 * row] + content[:row])
    assert View(tmp_path / "val", 3).missing() == [0, 1, 2]


def test_files_that_are_found_for_another_number_of_samples_are_made_again(tmp_path: Path) -> None:
    written(tmp_path / "val").close()
    view = View(tmp_path / "val", 4)
    assert "features.0 has 12 bytes, expected 16" in view.damage or "label has 24 bytes, expected 32" in view.damage
    assert view.missing() == [0, 1, 2, 3]


@pytest.mark.parametrize("file", ["features.0", "label"])
def test_a_file_that_is_cut_while_it_is_open_ends_no_process(tmp_path: Path, file: str) -> None:
    view = written(tmp_path / "val")
    os.truncate(tmp_path / "val" / file, 0)
    assert view.rows(torch.tensor([2])) is None
    assert view.missing() == [1, 2]  # row 0 was not read yet
    view.write(torch.tensor([2]), entries(2.0))
    rows = view.rows(torch.tensor([2]))
    assert rows is not None
    assert rows["label"].tolist() == [2]


def test_all_room_is_taken_at_once_or_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    View(tmp_path / "val", 50_000).create(entries(7.0))
    assert (tmp_path / "val" / "features.0").stat().st_blocks * 512 >= 200_000

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        View(tmp_path / "val", 50_000).create(entries(7.0))
    assert list(tmp_path.iterdir()) == []


def test_where_a_file_system_reserves_nothing_zeros_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    view = View(tmp_path / "val", 50_000)
    view.create(entries(7.0))
    file = (tmp_path / "val" / "features.0").stat()
    assert file.st_size == 200_000
    assert file.st_blocks * 512 >= 200_000
    assert len(view.missing()) == 50_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            View(tmp_path / "train.0", 50_000).create(entries(7.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["val"]


@pytest.mark.parametrize("written_bytes", [None, 1])
def test_a_row_that_cannot_be_written_is_an_error_and_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_bytes: int | None
) -> None:
    view = written(tmp_path / "val")

    def full(*_: Any) -> int:
        if written_bytes is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written_bytes

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            view.write(torch.tensor([1]), entries(1.0))
    assert view.missing() == [1]
    view.close()
    assert View(tmp_path / "val", 3).missing() == [1]


def test_the_list_of_kinds_is_readable(tmp_path: Path) -> None:
    written(tmp_path / "val").close()
    content = json.loads((tmp_path / "val" / KINDS).read_text())
    assert content["kinds"] == {"features.0": ["bfloat16", [2], [1]], "label": ["int64", [], []]}
