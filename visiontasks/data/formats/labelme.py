"""LabelMe's JSON, a file for each image, https://github.com/wkentaro/labelme.

Points are x, y in pixels, edges counting from 0. A rectangle is two opposite corners in any order, as they were drawn;
a circle its centre and a point of the edge; a mask the corners of its box. Of polygons the box around them is taken.
"""

from collections.abc import Sequence
from math import dist
from typing import Any, ClassVar

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.documents import Broken, parsed_json
from visiontasks.data.formats.export_folder import ExportFolder, stem_of
from visiontasks.data.formats.exports import Export, Found, bounds, corners, number_pairs, size_of
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

Points = Sequence[Sequence[float]]

_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_ROTATED = ("oriented_rectangle", "rotation")
_LEAST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}


class LabelMe:
    """Reads LabelMe: the file's stem is the image's, or its `imagePath` names it.

    Shapes of one label with the same `group_id` are parts of one object. Points and lines are passed over; rotated
    rectangles are problems.
    """

    name: ClassVar[str] = "labelme"
    title: ClassVar[str] = "LabelMe"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        found = [file for file in folder.sample(".json") if _is_labelme(folder.json(file))]
        return Found((), f"{folder.shown(found[0])} has shapes and an imagePath") if found else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder)
        for file in folder.with_suffix(".json"):
            try:
                content = parsed_json(file)
            except InputError as error:
                place, _, what = str(error).partition(": ")
                self._image(export, file, {}).problems.append(Problem(place, *what.split("; ", 1)))
                continue
            if _is_labelme(content):
                _add_shapes(export, self._image(export, file, content), content["shapes"])
        export.add_unannotated(lambda path: f"{stem_of(path)}.json")
        return export

    def _image(self, export: Export, file: str, content: dict[str, Any]) -> AnnotatedImage:
        folder, written = export.folder, content.get("imagePath")
        split = folder.split_of_folder(file.rpartition("/")[0])
        path, fault = "", ""
        if isinstance(written, str):
            path, fault = folder.find_image(written, file, split)
        if not path:  # files are renamed and converted, with their JSON
            path, other = folder.find_stem(stem_of(file), file, split)
            fault = fault or other
        size = size_of(content, "imageHeight", "imageWidth")
        return export.add_found(path, fault, str(written or f"{file} "), file, file, split=split, size=size)


def _is_labelme(content: object) -> bool:
    if isinstance(content, Broken):
        return '"shapes"' in content.text and ('"flags"' in content.text or '"version"' in content.text)
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _add_shapes(export: Export, image: AnnotatedImage, shapes: list[Any]) -> None:
    groups: dict[tuple[str, object], list[Sequence[float]]] = {}
    places: dict[tuple[str, object], str] = {}
    for number, shape in enumerate(shapes, start=1):
        place = f"{image.annotation} shape {number}"
        kind = shape.get("shape_type") or "polygon" if isinstance(shape, dict) else ""
        if kind in _WITHOUT_AREA:
            export.passed_over[kind] += 1
            continue
        if kind in _ROTATED:
            what = "a rotated rectangle, expected an upright one"
            image.problems.append(Problem(place, what, "draw an upright rectangle, or a polygon"))
            continue
        points = number_pairs(shape.get("points")) if isinstance(shape, dict) else None
        if points is None or len(points) < _LEAST_POINTS.get(kind, 1):
            image.problems.append(Problem(place, f"a {kind or 'shape'} without its points", "draw it anew"))
            continue
        group = shape.get("group_id")
        key: tuple[str, object] = (
            str(shape.get("label") or "").strip(),
            number if group is None else ("group", str(group)),
        )
        groups.setdefault(key, []).extend(_corners_of(kind, points))
        places.setdefault(key, place)
    for key, points_of_object in groups.items():
        image.add_object(places[key], key[0], corners(bounds(points_of_object)))


def _corners_of(kind: str, points: Points) -> Points:
    if kind != "circle":
        return points
    (x, y), edge = points[0], points[1]
    radius = dist((x, y), edge)
    return [(x - radius, y - radius), (x + radius, y + radius)]
