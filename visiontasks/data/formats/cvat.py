"""CVAT's own XML, "CVAT for images 1.1", https://docs.cvat.ai/docs/manual/advanced/xml_format.

A box is xtl, ytl, xbr, ybr: its upper left and lower right corner in pixels, edges counting from 0. Of polygons,
ellipses and masks the box around them is taken; a mask is given by left, top, width, height.
"""

from typing import ClassVar
from xml.etree.ElementTree import Element

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.documents import head, parsed_xml, xml_root_name
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found, bounds, corners, size_of
from visiontasks.data.formats.split_folders import split_of
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


class CVAT:
    """Reads CVAT for images: one XML file, or several.

    The `subset` of an image is its split. Rotated boxes and ellipses are problems; tracks (CVAT for video) are refused.
    """

    name: ClassVar[str] = "cvat"
    title: ClassVar[str] = "CVAT for images"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(_is_cvat, ".xml")
        return Found(tuple(files), f"{folder.shown(files[0])} begins with <annotations>") if files else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder)
        for file in found.files:
            root = parsed_xml(file)
            if root.find("track") is not None:
                raise InputError(f"{file}: is CVAT for video (it has tracks); export it as CVAT for images 1.1")
            for element in root.findall("image"):
                _add_image(export, file, element)
        export.add_unlisted(found.files)
        return export


def _is_cvat(file: str) -> bool:
    return xml_root_name(file) == "annotations" and any(f"<{tag}" in head(file) for tag in ("image", "meta", "version"))


def _add_image(export: Export, file: str, element: Element) -> None:
    name = element.get("name", "")
    means = split_of(element.get("subset", ""))
    split = means[0] if means else export.folder.split_of_file(file)
    place = f"{file} image {element.get('id', name)}"
    image = export.add(name, file, place, split=split, size=size_of(element.attrib))
    number = 0
    for shape in element:
        if shape.tag in _WITHOUT_AREA:
            export.passed_over[shape.tag] += 1
        elif shape.tag in _READERS:
            number += 1
            _add_shape(image, f"{place} object {number}", shape)


def _add_shape(image: AnnotatedImage, place: str, shape: Element) -> None:
    rotation = shape.get("rotation", "0")
    try:
        is_rotated = float(rotation) % 360 != 0
        box = _READERS[shape.tag](shape)
    except (ValueError, TypeError):
        written = " ".join(f"{key}={value!r:.40}" for key, value in shape.attrib.items())
        image.problems.append(Problem(place, f"{shape.tag} without its numbers: {written}", "draw it anew"))
        return
    if is_rotated:
        what = f"{shape.tag} rotated by {rotation} degrees, expected an upright one"
        image.problems.append(Problem(place, what, "draw an upright box, or a polygon"))
        return
    image.add_object(place, shape.get("label", "").strip(), box)


def _box(shape: Element) -> dict[str, object]:
    return {corner: shape.get(corner) for corner in _CORNERS}


def _polygon(shape: Element) -> dict[str, object]:
    points = [[float(value) for value in point.split(",")] for point in shape.get("points", "").split(";")]
    if any(len(point) != 2 for point in points):
        raise ValueError("points")
    return corners(bounds(points))


def _ellipse(shape: Element) -> dict[str, object]:
    x, y, rx, ry = (float(shape.get(key, "")) for key in ("cx", "cy", "rx", "ry"))
    return corners((x - rx, y - ry, x + rx, y + ry))


def _mask(shape: Element) -> dict[str, object]:
    left, top, width, height = (float(shape.get(key, "")) for key in ("left", "top", "width", "height"))
    return corners((left, top, left + width, top + height))


_READERS = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask}
