"""Exports of annotation tools, written by hand, and what is read of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.formats.annotations import image_problems
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export
from visiontasks.data.formats.recognized import read_export

Files = Mapping[str, Any]
Sizes = Mapping[str, tuple[int, int]]


@dataclass
class Read:
    """What was read of an export.

    Args:
        export: The export.
        objects: Of each image in each split, as "cat 1 2 5 5": class, corners in pixels, and "crowd" where it is one.
        problems: One line each, without the folder.
    """

    export: Export
    objects: dict[str, dict[str, list[str]]]
    problems: list[str]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """`written({"a.json": {}, "b.txt": "text"}, {"a.png": (8, 6)})`: a folder with files, and images of a width and
    height."""

    def write(files: Files, images: Sizes) -> Path:
        for name, content in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        for number, (name, size) in enumerate(images.items()):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (number % 256, 100, 200)).save(tmp_path / name)
        return tmp_path

    return write


@pytest.fixture
def read(written: Callable[..., Path]) -> Callable[..., Read]:
    """`read(files, images, format)`: the same, read, in the format that it is found to be or has to be."""

    def read_(files: Files, images: Sizes, format: str | None = None) -> Read:
        root = written(files, images)
        export = read_export(ExportFolder(root), format)
        objects: dict[str, dict[str, list[str]]] = {}
        problems: list[str] = []
        for split, annotated in export.splits().items():
            for image in annotated:
                found = image_problems(image, export.reading, may_be_empty=True)
                problems += [str(problem).replace(f"{root}/", "") for problem in found]
                numbers = np.array(image.boxes, dtype=np.float64).reshape(-1, 4)
                corners = export.reading.xyxy(numbers, image.upright or (1, 1)).round(6).tolist()
                name = image.path.replace(f"{root}/", "") or "missing"
                objects.setdefault(split, {})[name] = [
                    " ".join([name, *(f"{number:g}" for number in box), *(["crowd"] if crowd else [])])
                    for name, box, crowd in zip(image.names, corners, image.crowds, strict=True)
                ]
        return Read(export, objects, problems)

    return read_
