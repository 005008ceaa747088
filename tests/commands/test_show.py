"""`visiontasks show` as a user types it."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visiontasks.commands.main import main


def test_the_picture_is_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "batch.png"
    assert main(["show", "digits_lenet", "--out", str(path), "--count", "3"]) == 0
    with Image.open(path) as image:
        assert capsys.readouterr().out == f"{path}: {image.width}x{image.height} pixels\n"


def test_by_default_the_picture_has_the_recipes_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", "digits_lenet", "--count", "1", "--split", "val"]) == 0
    assert (tmp_path / "digits_lenet_val.png").is_file()


def test_wrong_arguments_are_refused_before_anything_is_drawn(tmp_path: Path, refused: Any) -> None:
    assert "digits_lenet" in refused("show digits_lenett")
    assert "make it first" in refused(f"show digits_lenet --out {tmp_path}/nowhere/a.png")
    assert "--count" in refused("show digits_lenet --count 0")
