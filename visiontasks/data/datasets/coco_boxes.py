"""Boxes in COCO's format: one JSON file of instances for each split."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visiontasks.class_names import normalized
from visiontasks.data.datasets.boxes import BoxData
from visiontasks.data.formats.annotations import AnnotatedImage, check_split_names, path_inside
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.formats.split_folders import SPLITS, split_of
from visiontasks.data.pipeline.files import class_folders, listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError, MissingFileError
from visiontasks.regular_files import check_regular

_PREFIX = "instances"
_EXPORTED = "_annotations.coco.json"
_BOX = ("x", "y", "width", "height")

# What the rows of a file's lists have to hold.
_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "categories": {"id": (int,), "name": (str,)},
    "images": {"id": (int, str), "file_name": (str,)},
    "annotations": {"image_id": (int, str), "category_id": (int,)},
}


class COCOBoxes(BoxData):
    """Images with COCO instances; of these the boxes are used, not the outlines.

    Without `splits` the files are annotations/instances_train*.json, and the same for val and test, as far as they are
    there; or train/_annotations.coco.json, valid/... and test/..., as Roboflow exports them; or one
    annotations/instances.json or instances.json that is divided. What is missing of validation and test
    is split off train, see `BoxData`. An image's `file_name` is looked for beside the JSON file, in the folder of the
    split (for instances_train2017.json: train2017/ and images/train2017/), in images/ and in root.

    Classes are in the order of the training file's category ids; a category without instances that others have as
    `supercategory` is none. Instances marked `iscrowd` are left out; an image that has no other, or none at all, is a
    bad sample. The numbers of a box are xywh, unless `box_format` is given.

    Args:
        root: The folder.
        splits: The JSON file of each split, under root, like {"train": "train.json", "test": "val.json"}.
        **kwargs: Arguments of `BoxData`.

    Raises:
        InputError: If a value is out of range, or a class is named twice.
    """

    own_format = "xywh"

    def __init__(self, root: str, *, splits: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        check_split_names(splits or {}, "data.init_args.splits")
        self.splits = splits

    def read_annotations(self) -> tuple[dict[str, list[AnnotatedImage]], list[str]]:
        """Read the JSON files and find the images.

        Raises:
            MissingFileError: If a file is not there.
            InputError: If it is not JSON of COCO instances.
        """
        contents = {split: (file, _read_instances(file)) for split, file in self._files().items()}
        splits = {split: self._images(file, content) for split, (file, content) in contents.items()}
        searched = [contents["train"]] if "train" in contents else list(contents.values())
        parents = _empty_parents([content for _, content in contents.values()])
        rows = [row for _, content in searched for row in content["categories"] if row["name"] not in parents]
        return splits, list(dict.fromkeys(row["name"] for row in sorted(rows, key=lambda row: int(row["id"]))))

    def _files(self) -> dict[str, Path]:
        if self.splits:
            return {split: self.root / file for split, file in self.splits.items()}
        folder = self.root / "annotations"
        found = {split: sorted(folder.glob(f"{_PREFIX}_{split}*.json")) for split in SPLITS}
        several = [file.name for files in found.values() if len(files) > 1 for file in files]
        if several:
            raise InputError(
                f"{folder}/ has several files for a split: {listed(several)}; name them with data.init_args.splits"
            )
        exported = {
            means[0]: self.root / name / _EXPORTED
            for name in (class_folders(self.root) if not any(found.values()) else ())
            if (means := split_of(name)) and (self.root / name / _EXPORTED).is_file()
        }
        if exported:
            return {split: exported[split] for split in SPLITS if split in exported}
        whole = [file for file in (folder / f"{_PREFIX}.json", self.root / f"{_PREFIX}.json") if file.is_file()]
        files = {split: files[0] for split, files in found.items() if files}
        if not files and not whole:
            raise MissingFileError(
                f"no {folder}/{_PREFIX}_train*.json and no {_PREFIX}.json there or in {self.root}/: point "
                "--data.init_args.root at the folder that holds them, or name the files (data.init_args.splits)"
                f"{layout_hint(self.root)}"
            )
        return files or {"train": whole[0]}

    def _images(self, file: Path, content: Mapping[str, list[dict[str, Any]]]) -> list[AnnotatedImage]:
        images = {row["id"]: self._image(file, row) for row in content["images"]}
        if len(images) < len(content["images"]):
            raise InputError(f"{file}: images share an id; give each its own")
        names = {row["id"]: row["name"] for row in content["categories"]}
        strange = [str(row["image_id"]) for row in content["annotations"] if row["image_id"] not in images]
        if strange:
            raise InputError(f"{file}: annotations of images that it does not list: image_id {listed(strange)}")
        for number, row in enumerate(content["annotations"], start=1):
            if not row.get("iscrowd"):
                place = f"{file} annotation {row.get('id', f'number {number}')}"
                _add_instance(images[row["image_id"]], place, row, names)
        return list(images.values())

    def _image(self, file: Path, row: dict[str, Any]) -> AnnotatedImage:
        split_folder = file.stem.removeprefix(f"{_PREFIX}_")
        folders = (
            file.parent,
            self.root / split_folder,
            self.root / "images" / split_folder,
            self.root / "images",
            self.root,
        )
        inside = [path_inside(self.root, folder, row["file_name"]) for folder in folders]
        path = next((path for path in inside if path and Path(path).is_file()), None)
        height, width = row.get("height"), row.get("width")
        size = (height, width) if isinstance(height, int) and isinstance(width, int) and height and width else None
        image = AnnotatedImage(path or "", str(file), size)
        if not any(inside):
            what = f"file_name {row['file_name']!r:.100} is not a path below {self.root}/"
            image.problems.append(Problem(f"{file} image {row['id']}", what, "copy the image there and correct it"))
        elif path is None:
            places = ", ".join(f"{folder}/" for folder in folders)
            what = f"no image {row['file_name']} in {places}"
            image.problems.append(Problem(f"{file} image {row['id']}", what, "copy it there, or remove the entry"))
        return image


def _empty_parents(contents: Sequence[Mapping[str, list[dict[str, Any]]]]) -> set[str]:
    """Names of categories that only group others, as Roboflow writes one."""
    rows = [row for content in contents for row in content["categories"]]
    held = {
        row["name"]
        for content in contents
        for row in content["categories"]
        if row["id"] in {annotation["category_id"] for annotation in content["annotations"]}
    }
    return {str(row.get("supercategory")) for row in rows if row.get("supercategory") != row["name"]} - held


def _add_instance(image: AnnotatedImage, place: str, row: Mapping[str, Any], names: Mapping[int, str]) -> None:
    box = row.get("bbox")
    if row["category_id"] not in names:
        what = f"category_id {row['category_id']} is not among the file's categories"
        image.problems.append(Problem(place, what, "add the category, or remove the annotation"))
    elif not isinstance(box, list) or len(box) != len(_BOX):
        what = f"bbox is {box!r}, expected {', '.join(_BOX)}"
        image.problems.append(Problem(place, what, "correct it, or remove the annotation"))
    else:
        image.add_object(place, names[row["category_id"]], dict(zip(_BOX, box, strict=True)))


def _read_instances(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The lists of a JSON file, checked for what is read of them."""
    check_regular(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise MissingFileError(f"data.init_args.splits: no file {file}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read as JSON ({error}); export it again") from error
    for key, fields in _FIELDS.items():
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{file}: no list {key}, expected COCO instances with the lists {', '.join(_FIELDS)}")
        for row in rows:
            missing = [name for name, types in fields.items() if type(row.get(name)) not in types]
            if missing:
                raise InputError(
                    f"{file}: in {key} {json.dumps(row)[:200]} has no {' and no '.join(missing)} as in COCO's files; "
                    "correct it, or export the file again"
                )
    for row in content["categories"]:
        row["name"] = normalized(row["name"])
    names = [row["name"] for row in content["categories"]]
    ids = {row["id"] for row in content["categories"]}
    if len(set(names)) < len(names) or len(ids) < len(names):
        raise InputError(f"{file}: categories share a name or an id: {listed(names)}; give each its own")
    return {key: content[key] for key in _FIELDS}
