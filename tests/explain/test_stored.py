"""Explained images of a run: the newest first, by titles that say the class, without what cannot be read."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.explain import stored
from visiontasks.explain.stored import stored_explanations, stored_folder
from visiontasks.report.single import save_picture


def store(run: Path, name: str, methods: list[str], *, seconds: int, title: str = "") -> Path:
    folder = stored_folder(run, Path(f"photos/{name}.jpg"))
    folder.mkdir(parents=True)
    for method in methods:
        save_picture(Image.new("RGB", (3, 2), (seconds, 0, 0)), folder / f"{method}.png", title=title)
        os.utime(folder / f"{method}.png", (seconds, seconds))
    return folder


def test_the_newest_image_comes_first_and_pictures_in_the_order_of_the_methods(tmp_path: Path) -> None:
    store(tmp_path, "old", ["filters", "grad-cam"], seconds=100, title="a cat")
    store(tmp_path, "new", ["feature-maps"], seconds=200)
    new, old = stored_explanations(tmp_path)
    assert (new.name, list(new.pictures)) == ("new", ["feature maps"])
    assert (old.name, list(old.pictures)) == ("old", ["Grad-CAM of a cat", "filters of the first layer of a cat"])
    assert np.array_equal(new.pictures["feature maps"], np.full((2, 3, 3), (200, 0, 0), np.uint8))


def test_what_cannot_be_read_and_what_is_no_explanation_is_left_out(tmp_path: Path) -> None:
    assert stored_explanations(tmp_path) == []
    (store(tmp_path, "half", ["grad-cam", "occlusion"], seconds=100) / "occlusion.png").write_bytes(b"\x89PNG")
    (store(tmp_path, "bad", ["filters"], seconds=100) / "filters.png").write_bytes(b"")
    store(tmp_path, "empty", [], seconds=100)
    (tmp_path / "explain" / "notes.txt").write_text("")
    (only,) = stored_explanations(tmp_path)
    assert (only.name, list(only.pictures)) == ("half", ["Grad-CAM"])


def test_only_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST", 2)
    for i in range(4):
        store(tmp_path, f"image{i}", ["filters"], seconds=100 + i)
    assert [each.name for each in stored_explanations(tmp_path)] == ["image3", "image2"]
