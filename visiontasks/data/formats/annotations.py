"""Images with boxes as an annotation format gives them, and what can be wrong with them."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

import numpy as np

from visiontasks.class_names import normalized
from visiontasks.data.formats.box_reading import LEAST_PX, Reading
from visiontasks.data.formats.split_folders import SPLITS
from visiontasks.data.pipeline.files import listed, natural_key
from visiontasks.data.pipeline.problems import Problem
from visiontasks.data.pipeline.reader import upright_size
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Size

_LONGEST_NAME = 255  # bytes; a longer one is an error of the file system's
_SWAP = "swap them if they are corners, or write corners if they are a corner and a size"
_ORDER = {"xyxy": "x1 y1 x2 y2", "yxyx": "y1 x1 y2 x2"}


@dataclass
class AnnotatedImage:
    """An image and its objects as annotations have them, not checked yet.

    Args:
        path: The image file; empty if it is missing.
        annotation: The file that lists its objects; empty if it is missing.
        size: Height and width of the image by the annotation, if it has them.
    """

    path: str
    annotation: str
    size: Size | None = None
    boxes: list[list[float]] = field(default_factory=list)
    """Four numbers each, as written, (M, 4)."""
    names: list[str] = field(default_factory=list)
    """Class of each object, (M,)."""
    places: list[str] = field(default_factory=list)
    """Where each object stands, for messages, (M,)."""
    crowds: list[bool] = field(default_factory=list)
    """Whether each is to be ignored: a region of objects that are not annotated one by one, or too difficult, (M,)."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with what is written."""
    upright: Size | None = None
    """Height and width of the image file, upright, once `image_problems` has read it; None if that failed."""

    @property
    def classes(self) -> frozenset[str]:
        """Those of its objects, without crowds."""
        return frozenset(name for name, crowd in zip(self.names, self.crowds, strict=True) if not crowd)

    def add_object(self, place: str, name: str, numbers: Mapping[str, object], *, crowd: bool = False) -> None:
        """Add an object, or a problem if it has no class or no four numbers.

        Args:
            place: Where it stands.
            name: Its class.
            numbers: Four numbers or their texts, by what the format calls them.
            crowd: Whether it is a crowd, see `crowds`.
        """
        faults = [] if name else ["has no class"]
        box: list[float] = []
        for key, value in numbers.items():
            try:
                box.append(float(str(value)))
            except ValueError:
                faults.append(f"has no {key}" if value in (None, "") else f"{key} is {value!r}, expected a number")
        if faults:
            self.problems.append(Problem(place, ", ".join(faults), "correct it, or remove the object"))
            return
        self.boxes.append(box)
        self.names.append(normalized(name))
        self.places.append(place)
        self.crowds.append(crowd)


def path_inside(root: Path, folder: Path, written: str) -> str | None:
    """The file that a path written in an annotation means, unless it leaves the dataset.

    Links inside the dataset are its owner's, and followed. Where there is no such file, backslashes separate folders as
    on Windows, and the name may be in Unicode's other form.

    Args:
        root: The dataset's folder.
        folder: What the path is relative to.
        written: The path; may be absolute.

    Returns:
        None if it leads out of root and folder, or is not a path.
    """
    path = _inside(root, folder, written)
    if path is None or Path(path).is_file():
        return path
    slashed = written.replace("\\", "/")
    forms = dict.fromkeys((slashed, normalize("NFC", slashed), normalize("NFD", slashed)))
    forms.pop(written, None)
    paths = [_inside(root, folder, form) for form in forms]
    there = next((other for other in paths if other is not None and Path(other).is_file()), None)
    return there or (paths[0] if slashed != written else path)


def _inside(root: Path, folder: Path, written: str) -> str | None:
    path = folder / written
    try:
        longest = max(len(os.fsencode(part)) for part in path.parts)
    except UnicodeEncodeError:
        return None
    if longest > _LONGEST_NAME or "\0" in written:
        return None
    if ".." not in path.parts and not Path(written).is_absolute():
        return str(path)
    # Not resolve(), which follows links.
    absolute, *places = (Path(os.path.normpath(place.absolute())) for place in (path, root, folder))
    return os.path.normpath(path) if any(absolute.is_relative_to(place) for place in places) else None


def natural_classes(splits: Mapping[str, Iterable[AnnotatedImage]]) -> list[str]:
    """Classes of the training images, or of all where there are none, class2 before class10."""
    searched = [splits["train"]] if "train" in splits else list(splits.values())
    return sorted({name for images in searched for image in images for name in image.names}, key=natural_key)


def check_split_names(splits: Iterable[str], where: str) -> None:
    """Check that names of splits are among train, val and test.

    Raises:
        InputError: If not, with `where` they stand.
    """
    wrong = [split for split in splits if split not in SPLITS]
    if wrong:
        raise InputError(f"{where}: {listed(wrong)}, expected some of {', '.join(SPLITS)}")


def image_problems(
    image: AnnotatedImage,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
    *,
    may_be_empty: bool = False,
) -> list[Problem]:
    """All that is wrong with an image's file and annotation; reads the file's header and end.

    Args:
        image: Its `upright` is set.
        reading: How the numbers of its boxes are read.
        may_be_empty: Whether an image without an object is as good as any other.
    """
    found = [*image.problems]
    if image.annotation and not image.boxes and not found and not may_be_empty:
        found.append(Problem(image.annotation, f"no object in {image.path}", "draw its box, or remove the image"))
    try:
        image.upright = upright_size(image.path) if image.path else None
    except InputError as error:
        found.append(Problem.of_error(image.path, error, otherwise="copy it there, or remove its annotation"))
    size = image.upright
    if size and image.size and size != image.size:
        found.append(
            Problem(
                image.annotation,
                f"made for an image of {image.size[1]}x{image.size[0]} pixels, but {image.path} has "
                f"{size[1]}x{size[0]} (upright)",
                "draw the boxes in the image as it is, or correct the size",
            )
        )
    for box, name, place in zip(image.boxes, image.names, image.places, strict=True):
        fault = _box_fault(box, size, reading)
        if fault:
            written = " ".join(f"{value:g}" for value in box)
            found.append(Problem(place, f"{name}'s box {written} {fault[0]}", fault[1]))
    return found


def _box_fault(box: Sequence[float], size: Size | None, reading: Reading) -> tuple[str, str] | None:
    """The fault of a box, and what to do."""
    if not all(math.isfinite(value) for value in box):
        return "has a coordinate that is not a number", "draw it anew"
    # without an image order and area can be checked all the same, whatever its size is
    x1, y1, x2, y2 = reading.xyxy(np.array([box]), size or (1, 1))[0]
    if x1 > x2 or y1 > y2:
        if reading.format not in _ORDER:
            return f"has a {'width' if x1 > x2 else 'height'} below 0, expected {reading}", "draw it anew"
        wrong = "x1 > x2" if x1 > x2 else "y1 > y2"
        return f"has {wrong}, expected {_ORDER[reading.format]} in {reading.unit_name}", _SWAP
    if x1 == x2 or y1 == y2:
        return "has no area", "draw it anew, or remove it"
    if size is None:
        return None
    height, width = size
    x_slack, y_slack = reading.slack_px(width), reading.slack_px(height)
    is_outside = min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0)  # also by no more than rounding
    if is_outside or x1 < -x_slack or y1 < -y_slack or x2 > width + x_slack or y2 > height + y_slack:
        return f"reaches beyond its image of {width}x{height} pixels", "cut it to the image, or draw it anew"
    if min(x2 - x1, y2 - y1) < LEAST_PX:
        return f"is under a pixel wide or high in its image of {width}x{height}", "draw it anew, or remove it"
    return None
