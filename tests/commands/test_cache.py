"""`visiontasks cache`: what is cached, and that a training's own features stay."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from visiontasks.commands.main import main
from visiontasks.finetuning.features import FeatureFiles

OLD, NEW = "0" * 32, "1" * 32
DAY_S = 86400
ABOUT = {"data": "ImageFolder", "root": "/my images", "backbone": "resnet18.a1_in1k", "run": "/runs/folder_resnet/1"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Features of 300 kB that were used 40 days ago, and of 2 MB just now, of an older version without about.json."""
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, about, size, age in ((OLD, ABOUT, 300_000 - len(json.dumps(ABOUT)), 40 * DAY_S), (NEW, {}, 2_000_000, 0)):
        files = FeatureFiles(name, 10**9, about)
        (files.folder / "rows").write_bytes(bytes(size))
        files.close()
        os.utime(files.folder, (time.time() - age,) * 2)
    (tmp_path / "features" / "mine").mkdir()
    return tmp_path / "features"


def test_a_line_each_with_size_last_use_and_whose_it_is(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    header, new, old = (line.split(maxsplit=7) for line in capsys.readouterr().out.splitlines())
    assert header == ["features", "size", "last_used", "state", "recipe", "backbone", "data", "root"]
    assert [new[0], new[1], *new[3:]] == ["11111111", "2.00MB", "free", "-", "-", "-", "-"]
    assert datetime.fromisoformat(new[2]).date() == datetime.fromtimestamp((cache / NEW).stat().st_mtime).date()
    assert [old[0], old[1], *old[3:]] == [
        *("00000000", "300KB", "free", "folder_resnet", "resnet18.a1_in1k", "ImageFolder", "/my images"),
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_the_sum_and_the_hubs_weights_within_its_width(
    cache: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blobs = cache.parent / "hub" / "models--timm--resnet18.a1_in1k" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "weights").write_bytes(bytes(450_000))
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table, notes = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert max(map(len, table)) <= columns
    assert notes[0] == f"2.30 MB in {cache} (VISIONTASKS_CACHE names another folder)"
    assert notes[2].startswith(f"pretrained weights: 450 KB in {cache.parent / 'hub'}, shared with other programs")


def test_clear_removes_features_and_nothing_else(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"removed 2.30 MB in 2 folders of {cache}\n"
    assert [path.name for path in cache.iterdir()] == ["mine"]
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"nothing to remove in {cache}\n"


def test_only_what_was_not_used_for_long(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--older-than", "30d"]) == 0
    assert [line[:8] for line in capsys.readouterr().out.splitlines()] == ["features", "00000000"]
    assert main(["cache", "--clear", "--older-than", "960h"]) == 0
    assert sorted(path.name for path in cache.iterdir()) == [NEW, "mine"]


def test_what_a_training_uses_stays(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = FeatureFiles(NEW, 10**9)
    assert main(["cache"]) == 0
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == ["state", "in_use", "free"]
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"removed 300 KB in 1 folder of {cache}\na training uses 11111111: not removed\n"
    assert (cache / NEW / "rows").stat().st_size == 2_000_000
    training.close()


@pytest.mark.parametrize("content", ["", "[]", '{"run": 3}', "{"])
def test_a_damaged_description_is_left_out(cache: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / OLD / "about.json").write_text(content)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[4:] == ["-", "-", "-", "-"]


def test_no_cache_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "nowhere"))
    assert main(["cache"]) == 0
    assert main(["cache", "--clear"]) == 0
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1.5d", "30 days"])
def test_a_wrong_age_is_answered(age: str, refused: Callable[[str], str]) -> None:
    assert "expected days such as 30d, or hours such as 12h" in refused(f"cache '--older-than={age}'")


def test_it_loads_no_heavy_library() -> None:
    code = "import sys; from visiontasks.commands.main import main; main(['cache']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "lightning", "numpy", "timm"}.isdisjoint(done.stdout.split())
