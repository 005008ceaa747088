"""COCO's JSON of instances: of COCO itself, Roboflow, CVAT, Label Studio and many others.

A box is x, y, width, height in pixels, x and y its upper left corner; edges lie between pixels and count from 0, so
that [0, 0, 1, 1] is the first pixel. See https://cocodataset.org/#format-data.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from visiontasks.class_names import normalized
from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import Broken, parsed_json
from visiontasks.data.formats.export_folder import ExportFolder, name_of
from visiontasks.data.formats.exports import Export, Found, bounds, size_of
from visiontasks.data.formats.run_lengths import run_length_box
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

_LISTS = ("images", "annotations", "categories")
_BOX = ("x", "y", "width", "height")
_LEAST_OVERLAP = 0.5
"""IoU of a box with its own outline: tools round and cut either, but both are of one object."""
_TINY_PX = 4.0
"""Of boxes below this width or height the outline's rounding alone can take half."""

Row = dict[str, Any]


class COCO:
    """Reads COCO instances: one JSON file, or one for each split.

    - Ids of categories may have gaps and be 0; classes are in their order, and those of several files are matched by
      name.
    - A category that others have as `supercategory` and that has no annotation groups them and is no class.
    - `iscrowd` and `ignore` make a crowd. Where `bbox` is missing, the outline (polygons, or run lengths, compressed or
      not) gives the box; where both are there and do not fit, the annotation is a problem.
    """

    name: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`: the three lists of instances; captions and results have no categories."""
        files = folder.matching(lambda file: _is_instances(folder.json(file)), ".json")
        named = [file for file in files if name_of(file).startswith("instances")]
        files = named or files  # COCO has the same images in person_keypoints_*.json
        if not files:
            return None
        return Found(tuple(files), f"{folder.shown(files[0])} has the lists {', '.join(_LISTS)}")

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        contents = {file: _content(folder, file) for file in found.files}
        export = Export(folder, Reading("xywh"))
        parents = _empty_parents(list(contents.values()))
        export.class_names = _class_names(folder, contents, parents)
        for file, content in contents.items():
            _read_file(export, file, content)
        export.add_unlisted(found.files)
        if parents:
            export.notes.append(f"categories that only group others, no classes: {listed(sorted(parents))}")
        return export


def _is_instances(content: object) -> bool:
    if isinstance(content, Broken):
        return sum(f'"{name}"' in content.text for name in _LISTS) >= 2 or '"supercategory"' in content.text
    return isinstance(content, dict) and set(_LISTS) <= content.keys()


def _content(folder: ExportFolder, file: str) -> dict[str, list[Row]]:
    """The lists of a file, checked for what is read of them."""
    content = folder.json(file)
    if isinstance(content, Broken):
        content = parsed_json(file)
    fields = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name")}
    for key, needed in fields.items():
        rows = content[key]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{file}: {key} is no list of objects, expected COCO instances; export it again")
        for number, row in enumerate(rows):
            missing = [name for name in needed if not isinstance(row.get(name), int | str)]
            if missing:
                raise InputError(
                    f"{file}: {key}[{number}] has no {' and no '.join(missing)}, expected COCO instances; correct it, "
                    "or export the file again"
                )
    for key in ("images", "categories"):
        twice = [str(each) for each, count in Counter(row["id"] for row in content[key]).items() if count > 1]
        if twice:
            raise InputError(f"{file}: {key} share an id: {listed(twice)}; give each its own")
    return {key: content[key] for key in _LISTS}


def _class_names(folder: ExportFolder, contents: Mapping[str, Mapping[str, list[Row]]], parents: set[str]) -> list[str]:
    """Those of the training file if there is one, in the order of their ids."""
    files = [file for file in contents if folder.split_of_file(file) == "train"] or list(contents)
    names: dict[str, None] = {}
    for file in files:
        rows = sorted(contents[file]["categories"], key=lambda row: (isinstance(row["id"], str), row["id"]))
        names |= dict.fromkeys(normalized(str(row["name"]).strip()) for row in rows)
    return [name for name in names if name not in parents]


def _empty_parents(contents: Sequence[Mapping[str, list[Row]]]) -> set[str]:
    """Names of categories that only group others, as Roboflow writes one."""
    held, parents = set(), set()
    for content in contents:
        used = {row["category_id"] for row in content["annotations"]}
        for row in content["categories"]:
            if row["id"] in used:
                held.add(row["name"])
            if row.get("supercategory") != row["name"]:
                parents.add(row.get("supercategory"))
    declared = {row["name"] for content in contents for row in content["categories"]}
    return {normalized(str(name)) for name in (parents & declared) - held}


def _read_file(export: Export, file: str, content: Mapping[str, list[Row]]) -> None:
    split = export.folder.split_of_file(file)
    images = {
        row["id"]: export.add(row["file_name"], file, f"{file} image {row['id']}", split=split, size=size_of(row))
        for row in content["images"]
    }
    names = {row["id"]: str(row["name"]).strip() for row in content["categories"]}
    for number, row in enumerate(content["annotations"]):
        place = f"{file} annotation {row.get('id', f'number {number + 1}')}"
        image = images.get(row["image_id"])
        if image is None:
            image = AnnotatedImage("", file)
            what = f"image_id {row['image_id']} is not among the file's images"
            image.problems.append(Problem(place, what, "add the image, or remove the annotation"))
            export.images.setdefault(split, []).append(image)
        elif row["category_id"] not in names:
            what = f"category_id {row['category_id']} is not among the file's categories"
            image.problems.append(Problem(place, what, "add the category, or remove the annotation"))
        else:
            _add_instance(image, place, row, names[row["category_id"]])


def _add_instance(image: AnnotatedImage, place: str, row: Row, name: str) -> None:
    box, outline = row.get("bbox"), _outline_box(row.get("segmentation"))
    if not box and outline is not None:
        box = [outline[0], outline[1], outline[2] - outline[0], outline[3] - outline[1]]
    if not isinstance(box, list) or len(box) != len(_BOX):
        what = f"bbox is {box!r:.60}, expected {', '.join(_BOX)}"
        image.problems.append(Problem(place, what, "correct it, or remove the annotation"))
        return
    is_crowd = bool(row.get("iscrowd") or row.get("ignore"))
    if outline is not None and not is_crowd and not _fits(box, outline):
        written, expected = (" ".join(f"{value:g}" for value in numbers) for numbers in (box, outline))
        what = f"{name}'s bbox {written} is not around its own outline, which goes from x1 y1 to x2 y2 {expected}"
        image.problems.append(Problem(place, what, "export it again, or correct either"))
        return
    image.add_object(place, name, dict(zip(_BOX, box, strict=True)), crowd=is_crowd)


def _outline_box(segmentation: object) -> tuple[float, float, float, float] | None:
    """The box around polygons or run lengths; None where there is no outline, or one that cannot be read."""
    if isinstance(segmentation, dict):
        return run_length_box(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list):
        return None
    polygons = segmentation if all(isinstance(part, list) for part in segmentation) else [segmentation]
    try:
        points = [(float(x), float(y)) for part in polygons for x, y in zip(part[::2], part[1::2], strict=True)]
    except (TypeError, ValueError):
        return None
    return bounds(points) if points else None


def _fits(box: Sequence[Any], outline: tuple[float, float, float, float]) -> bool:
    """Whether a box x, y, width, height is that of its outline, but for rounding; another fault is found later."""
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError):
        return True
    x1, y1, x2, y2 = outline
    if min(x2 - x1, y2 - y1) < _TINY_PX:
        return True
    across = min(x + width, x2) - max(x, x1)
    down = min(y + height, y2) - max(y, y1)
    shared = max(0.0, across) * max(0.0, down)
    return shared >= _LEAST_OVERLAP * (max(0.0, width * height) + (x2 - x1) * (y2 - y1) - shared)
