"""Checkpoint files: whole or not at all, and nothing altered or foreign is ever loaded."""

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from visiontasks.errors import InputError, MissingFileError
from visiontasks.runs import checkpoint as checkpoints
from visiontasks.runs.checkpoint import (
    drop_training_state,
    is_resumable,
    read_any_checkpoint,
    read_checkpoint,
    remove_unfinished,
    unfinished,
    write_checkpoint,
    write_text,
)


def checkpoint(value: float = 1.0, n: int = 300) -> dict[str, Any]:
    return {"visiontasks": {"class_names": ["cat", "dog"]}, "state_dict": {"w": torch.full((n,), value)}}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk on which no file can be larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(checkpoint(), file)
    return file


def test_a_checkpoint_comes_back_as_it_was(path: Path) -> None:
    content = read_checkpoint(path)
    assert content["visiontasks"] == {"class_names": ["cat", "dog"]}
    assert torch.equal(content["state_dict"]["w"], torch.ones(300))
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_the_new_file_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), sync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda *a: (calls.append("rename"), replace(*a))[1])
    write_checkpoint(checkpoint(2.0), path)
    assert calls == ["fsync", "rename", "fsync"]  # the file, its name, the folder that has the name


@pytest.mark.parametrize("step", ["write_through", "_sync_folder"])
def test_whenever_the_process_dies_there_is_a_whole_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(target: Path, content: bytes = b"") -> None:
        if content:
            target.write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, step, die)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(checkpoint(2.0), path)
    expected = 1.0 if step == "write_through" else 2.0
    assert float(read_checkpoint(path)["state_dict"]["w"][0]) == expected
    remove_unfinished(path.parent)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_leaves_the_former_checkpoint_and_says_what_is_needed(path: Path) -> None:
    with largest_file(20_000), pytest.raises(InputError, match=r"last.ckpt needs 4\.0 MB, but the disk is full"):
        write_checkpoint(checkpoint(2.0, n=1_000_000), path)
    assert float(read_checkpoint(path)["state_dict"]["w"][0]) == 1.0
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_every_truncation_is_an_error_that_names_the_file(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="last.ckpt cannot be read"):
            read_checkpoint(path)


def test_a_flipped_byte_never_changes_what_is_loaded(path: Path) -> None:
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            content = read_checkpoint(path)
        except InputError as error:
            refused += "last.ckpt" in str(error)
        else:  # the byte was padding, or a date
            assert torch.equal(content["state_dict"]["w"], torch.ones(300))
            assert content["visiontasks"] == {"class_names": ["cat", "dog"]}
    assert refused > 200  # of the tensor's 1,200 bytes alone 171 are flipped


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"some text\n", "truncated, altered, or not a checkpoint"),
        (None, "not a visiontasks checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(path: Path, content: bytes | None, reason: str) -> None:
    if content is None:
        torch.save({"model": torch.ones(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_checkpoint(path)
    with pytest.raises(MissingFileError, match=r"no checkpoint .*none\.ckpt"):
        read_checkpoint(path.with_name("none.ckpt"))


class Malicious:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("bare", [True, False])
def test_a_malicious_pickle_is_never_run(path: Path, tmp_path: Path, bare: bool) -> None:
    trap = tmp_path / "trap"
    evil = {**checkpoint(), "more": Malicious(f"touch {trap}")}
    if bare:
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path)
    with pytest.raises(InputError, match="truncated, altered, or not a checkpoint" if bare else "never loaded"):
        read_checkpoint(path)
    assert not trap.exists()


def test_a_damaged_checkpoint_names_the_one_beside_it_that_is_whole(path: Path) -> None:
    path.with_name("best.ckpt").write_bytes(path.read_bytes())
    path.with_name("older.ckpt").write_bytes(path.read_bytes()[:100])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"last.ckpt cannot be read.*\. \S*best.ckpt beside it is whole"):
        read_checkpoint(path)


def test_only_a_checkpoint_with_the_optimizer_is_named_to_resume_from(path: Path) -> None:
    best = path.with_name("best.ckpt")
    path.write_bytes(path.read_bytes()[:-1])
    for content, ends in (({}, "whole"), ({"optimizer_states": []}, r"whole \(--resume takes it too\)")):
        write_checkpoint({**checkpoint(), **content}, best)
        with pytest.raises(InputError, match=rf"best.ckpt beside it is {ends}$"):
            read_checkpoint(path)


def test_a_finished_runs_checkpoint_loses_what_training_alone_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {
        **checkpoint(),
        "epoch": 3,
        "optimizer_states": [{"state": {}}],
        "current_model_state": {"w": torch.ones(9)},
    }
    write_checkpoint(whole, path)
    with monkeypatch.context() as full:
        full.setattr(checkpoints, "write_through", no_space)
        drop_training_state(path)
    assert is_resumable(read_checkpoint(path))  # on a full disk it stays as it is
    drop_training_state(path)
    left = read_checkpoint(path)
    assert left.keys() == {*checkpoint(), "epoch"}
    assert not is_resumable(left)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "result.json"
    write_text(file, "former")

    monkeypatch.setattr(checkpoints, "write_through", no_space)
    with pytest.raises(OSError, match="No space"):
        write_text(file, "new")
    assert file.read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("write", ["text", "checkpoint"])
def test_two_who_write_one_file_at_once_do_not_meet(path: Path, monkeypatch: pytest.MonkeyPatch, write: str) -> None:
    through = checkpoints.write_through
    values = [2.0, 3.0]

    def write_next() -> None:
        value = values.pop(0)
        if write == "text":
            write_text(path, str(value))
        else:
            write_checkpoint(checkpoint(value), path)

    def meanwhile(target: Path, content: bytes | memoryview) -> None:
        through(target, content)
        if values:
            write_next()

    monkeypatch.setattr(checkpoints, "write_through", meanwhile)
    write_next()
    assert values == []
    if write == "text":
        assert path.read_text() == "2.0"  # whose name was given last
    else:
        assert float(read_checkpoint(path)["state_dict"]["w"][0]) == 2.0
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_only_what_dead_processes_have_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = unfinished(tmp_path / "last.ckpt").name
    left = ours.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    of_another = ours.replace(f"-{os.getpid()}-", f"-{os.getppid()}-")
    of_users = ["last.ckpt.tmp", "notes.tmp", "a.visiontasks-1-b.tmp"]
    for name in (left, of_another, *of_users):
        (tmp_path / name).write_text("")
    write_text(tmp_path / "last.ckpt", "new")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", of_another, *of_users}


def test_a_checkpoint_of_any_trainer_is_read_by_its_weights_alone(path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 3}, path)
    assert read_any_checkpoint(path)["epoch"] == 3
    with pytest.raises(InputError, match="is not a visiontasks checkpoint: give a run that `finetune` made"):
        read_checkpoint(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match="is not a visiontasks checkpoint"):
        read_any_checkpoint(path)
    with pytest.raises(MissingFileError, match=r"^no checkpoint .*nowhere.ckpt$"):
        read_any_checkpoint(path.with_name("nowhere.ckpt"))
