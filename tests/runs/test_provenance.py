"""A checkpoint's entry: what is written is read again, and what was written before."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from visiontasks.errors import InputError
from visiontasks.runs.provenance import PACKAGES, Provenance, versions

PATH = Path("best.ckpt")
PROVENANCE = Provenance("model: {}", ("cat", "dog"), (24, 40), "crop", (0.5,), (0.25,), {"torch": "2.15.0"}, 2, 4)
WRITTEN: dict[str, Any] = {
    "recipe": "model: {}",
    "versions": {"torch": "2.15.0"},
    "processes": 2,
    "threads": 4,
    "preprocessing": {"image_size": [24, 40], "resize": "crop", "mean": [0.5], "std": [0.25], "in_chans": 1},
    "class_names": ["cat", "dog"],
}


def test_what_is_written_is_plain_and_read_again() -> None:
    assert PROVENANCE.to_dict() == WRITTEN
    assert Provenance.from_dict(WRITTEN, PATH) == PROVENANCE


def test_versions_processes_and_threads_may_be_unknown() -> None:
    content = {key: value for key, value in WRITTEN.items() if key not in ("versions", "processes", "threads")}
    read = Provenance.from_dict(content, PATH)
    assert (read.versions, read.processes, read.threads) == ({}, None, None)


@pytest.mark.parametrize("key", ["recipe", "class_names", "preprocessing"])
def test_a_missing_value_is_named_with_the_way_out(key: str) -> None:
    content = {name: value for name, value in WRITTEN.items() if name != key}
    with pytest.raises(InputError, match=f"best.ckpt has no {key} in .*: another version .*; train the recipe again"):
        Provenance.from_dict(content, PATH)


@pytest.mark.parametrize("change", [{"image_size": [24]}, {"image_size": 24}, {"mean": ["a"]}, {"std": None}], ids=str)
def test_a_value_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    content = WRITTEN | {"preprocessing": WRITTEN["preprocessing"] | change}
    with pytest.raises(InputError, match="best.ckpt.*(expected height and width|cannot be read)"):
        Provenance.from_dict(content, PATH)


def test_versions_name_everything_a_result_depends_on() -> None:
    found = versions()
    assert set(found) == {*PACKAGES, "python"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert torch.__version__.startswith(found["torch"])
