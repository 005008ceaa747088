"""What YOLO has beside the labels: the class names, and which images are which split's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visiontasks.class_names import normalized
from visiontasks.data.formats.documents import head
from visiontasks.data.formats.export_folder import ExportFolder, folder_of, name_of, stem_of
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import is_image, listed
from visiontasks.errors import InputError

_CLASS_FILES = ("obj.names", "classes.txt", "_darknet.labels", "predefined_classes.txt")
_TEXTS = re.compile(r"(readme.*|licen[cs]e.*|notes?|requirements)\.txt")


@dataclass
class YOLOLists:
    """Class names and splits of a YOLO export."""

    source: str = ""
    """The file that has the class names."""
    names: list[str] = field(default_factory=list)
    """In the order of their numbers; a number without a name is empty."""
    split_of: dict[str, str] = field(default_factory=dict)
    """The split of each image that a list or data.yaml names; empty without them."""
    split_files: list[str] = field(default_factory=list)
    """The files that give images their split."""
    files: set[str] = field(default_factory=set)
    """Text files that are not labels."""
    notes: list[str] = field(default_factory=list)
    absent_places: list[str] = field(default_factory=list)
    """Folders and lists that are named and not there."""
    absent_images: list[tuple[str, str, str]] = field(default_factory=list)
    """Images that a list names and that are not there: the list, the image and the split."""
    has_keypoints: bool = False
    """Whether key points follow the box in each line."""

    @property
    def is_certain(self) -> bool:
        """Whether there are the names and splits of a YOLO dataset, with or without labels."""
        return bool(self.names and (self.split_of or self.absent_places or self.absent_images))

    def class_name(self, label: int) -> str:
        """The name of a class.

        Raises:
            InputError: If there is none with this number.
        """
        if not 0 <= label < len(self.names) or not self.names[label]:
            known = f"{self.source} has {len(self.names)} names, from 0" if self.source else "no file has class names"
            raise InputError(f"class {label}, but {known}")
        return self.names[label]


def read_lists(folder: ExportFolder) -> YOLOLists:
    """Find the class names and splits of a YOLO export.

    Raises:
        InputError: If a file that has them cannot be read, or two files have different names.
    """
    found = YOLOLists()
    for file in folder.with_suffix(".yaml", ".yml"):
        content = _yaml(file)
        if content is not None:
            _add_yaml(found, folder, file, content)
    for file in folder.files:
        name = name_of(file).casefold()
        if name in _CLASS_FILES or name.endswith(".names"):
            found.files.add(file)
            if not found.names:
                found.source, found.names = file, _lines(file)
        elif name.endswith(".data") and "=" in head(file):
            _add_darknet(found, folder, file)
        elif _TEXTS.fullmatch(name):
            found.files.add(file)
    others = [file for file in folder.with_suffix(".txt") if file not in found.files]
    listings = [file for file in others if not folder.has_stem(stem_of(file)) and _is_listing(file)]
    has_splits = bool(found.split_of)
    found.files.update(listings)
    for file in () if has_splits else listings:
        _add_listing(found, folder, file)
    return found


def _yaml(file: str) -> dict[str, Any] | None:
    """The content of a data.yaml; None if it is another file."""
    if not re.search(r"^(names|nc)\s*:", Path(file).read_text(encoding="utf-8-sig", errors="ignore"), re.MULTILINE):
        return None
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}" if place else ""
        raise InputError(f"{file}{line}: cannot be read as YAML; correct it, or export it again") from error
    return content if isinstance(content, dict) and ("names" in content or "nc" in content) else None


def _add_yaml(found: YOLOLists, folder: ExportFolder, file: str, content: dict[str, Any]) -> None:
    names = _names(file, content.get("names"))
    if found.names and names and names != found.names:
        raise InputError(f"{found.source} and {file} have different class names; remove one")
    if names:
        found.names, found.source = names, file
    count = content.get("nc")
    if names and isinstance(count, int) and count != len(names):
        raise InputError(f"{file}: nc is {count}, but names has {len(names)}; correct either")
    found.has_keypoints = found.has_keypoints or "kpt_shape" in content
    places: dict[str, list[str]] = {}
    for key, value in content.items():
        means = split_of(str(key))
        if means and not means[1] and means[0] in SPLITS and value:
            places[means[0]] = [str(each) for each in (value if isinstance(value, list) else [value])]
    _add_places(found, folder, file, places)


def _names(file: str, names: object) -> list[str]:
    """Class names of a list or of a map from numbers."""
    if isinstance(names, dict):
        try:
            numbered = {int(number): name for number, name in names.items()}
        except (TypeError, ValueError):
            raise InputError(f"{file}: names has keys that are no numbers; expected 0: cat, 1: dog, ...") from None
        if numbered and not 0 <= min(numbered) <= max(numbered) < 100_000:
            raise InputError(f"{file}: names goes from {min(numbered)} to {max(numbered)}, expected numbers from 0")
        names = [numbered.get(number, "") for number in range(max(numbered, default=-1) + 1)]
    if names is not None and not isinstance(names, list):
        raise InputError(f"{file}: names is {names!r:.60}, expected a list, or a map from numbers to names")
    return [normalized(str(name).strip()) for name in names or []]


def _add_darknet(found: YOLOLists, folder: ExportFolder, file: str) -> None:
    """Take the names and lists of an obj.data, whose paths are often those of another machine."""
    pairs = [line.partition("=")[::2] for line in head(file).splitlines() if "=" in line]
    values = {key.strip(): value.strip() for key, value in pairs}
    names = _resolved(folder, values.get("names", "")) if values.get("names") else []
    if names and not found.names and Path(names[0]).is_file():
        found.source, found.names = names[0], _lines(names[0])
    places = {"val" if key == "valid" else key: [values[key]] for key in ("train", "valid", "test") if values.get(key)}
    _add_places(found, folder, file, places)


def _add_places(found: YOLOLists, folder: ExportFolder, file: str, places: dict[str, list[str]]) -> None:
    """Take the folders or lists of each split."""
    absent = []
    first_of: dict[str, str] = {}
    for split in (split for split in SPLITS if split in places):
        for written in places[split]:
            resolved = _resolved(folder, written)
            absent += [] if resolved else [f"{written} ({split})"]
            for place in resolved:
                if place in first_of:
                    found.notes.append(
                        f"{folder.shown(file)} names one place for {first_of[place]} and {split}: {split} is taken as "
                        "missing"
                    )
                    continue
                first_of[place] = split
                is_list = Path(place).is_file()
                found.split_files += [each for each in [place if is_list else file] if each not in found.split_files]
                if is_list:
                    found.files.add(place)
                    _add_images(found, folder, place, split)
                else:
                    found.split_of |= {path: split for path in folder.images if path.startswith(f"{place}/")}
    if absent:
        found.absent_places += absent
        found.notes.append(f"{folder.shown(file)} names what is not there: {listed(absent)}")


def _resolved(folder: ExportFolder, written: str) -> list[str]:
    """The folder or list that a path means, by as much of its end as there is below root."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        place = folder.root.joinpath(*parts[start:])
        if place.exists():
            return [str(place)]
    return [] if parts else [str(folder.root)]


def _is_listing(file: str) -> bool:
    """Whether a text file lists images."""
    lines = [line.strip() for line in head(file).splitlines()[:3] if line.strip()]
    return bool(lines) and all(is_image(line) for line in lines)


def _add_listing(found: YOLOLists, folder: ExportFolder, file: str) -> None:
    """Take a list that is called train.txt or the like, and that no other file names."""
    means = split_of(name_of(file).rsplit(".", 1)[0])
    if means and not means[1] and means[0] in SPLITS:
        found.split_files.append(file)
        _add_images(found, folder, file, means[0])


def _add_images(found: YOLOLists, folder: ExportFolder, file: str, split: str) -> None:
    """Give the images of a list their split."""
    for written in _lines(file):
        path, _ = folder.find_image(written, f"{folder_of(file)}/-")
        if path:
            found.split_of[path] = split
        else:
            found.absent_images.append((file, written, split))


def _lines(file: str) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        lines: Sequence[str] = Path(file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}), expected lines of text") from error
    return [normalized(line.strip()) for line in lines if line.strip()]
