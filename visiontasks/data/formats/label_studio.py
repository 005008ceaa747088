"""Label Studio's own JSON, https://labelstud.io/guide/export.

Numbers are percent of the image's width and height, x and y the upper left corner, edges counting from 0; an ellipse
has its centre and radii. Of polygons and ellipses the box around them is taken.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from visiontasks.data.formats.annotations import AnnotatedImage
from visiontasks.data.formats.box_reading import Reading
from visiontasks.data.formats.documents import Broken, parsed_json
from visiontasks.data.formats.export_folder import ExportFolder
from visiontasks.data.formats.exports import Export, Found, bounds, number_pairs, size_of
from visiontasks.data.pipeline.files import is_image
from visiontasks.data.pipeline.problems import Problem
from visiontasks.errors import InputError

Values = Mapping[str, Any]

_BOX = ("x", "y", "width", "height")
_LABELS = {"rectangle": "rectanglelabels", "polygon": "polygonlabels", "ellipse": "ellipselabels"}
_UPLOAD_PREFIX = 9
"""Characters that Label Studio puts before the name of an uploaded file: eight of a hash, and a dash."""


class LabelStudio:
    """Reads Label Studio's JSON; its exports as COCO, VOC and YOLO are read as these.

    Of several annotations of an image the one marked as ground truth is taken, else the first that is not cancelled.
    Images without any are passed over; one whose annotation is empty has no object. Rotated rectangles are problems.
    """

    name: ClassVar[str] = "labelstudio"
    title: ClassVar[str] = "Label Studio"

    def matches(self, folder: ExportFolder) -> Found | None:
        """See `ExportFormat.matches`."""
        files = folder.matching(lambda file: _is_label_studio(folder.json(file)), ".json")
        return Found(tuple(files), f"{folder.shown(files[0])} lists tasks with annotations") if files else None

    def read(self, folder: ExportFolder, found: Found) -> Export:
        """See `ExportFormat.read`."""
        export = Export(folder, Reading("xywh", "percent"))
        unannotated = several = 0
        for file in found.files:
            tasks = parsed_json(file)
            if any("annotations" not in task for task in tasks):
                raise InputError(f"{file}: is Label Studio's JSON-MIN, which is not read; export it as JSON")
            for task in tasks:
                made = [each for each in task["annotations"] if not each.get("was_cancelled")]
                made = [each for each in made if each.get("ground_truth")] or made
                several += len(made) > 1
                image = _found(folder, file, task)
                if made:
                    _add_task(export, file, task, image, made[0].get("result") or [])
                else:
                    export.unfinished.add(image[0])
                    unannotated += 1
        export.add_unlisted(found.files)
        if unannotated:
            export.notes.append(f"{unannotated:,} image(s) without an annotation are passed over")
        if several:
            export.notes.append(f"{several:,} image(s) have several annotations, of which the first is taken")
        return export


def _is_label_studio(content: object) -> bool:
    if isinstance(content, Broken):
        return '"result"' in content.text and '"annotations"' in content.text
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    if all(isinstance(task.get("annotations"), list) and "data" in task for task in content):
        return True
    return all("annotator" in task and "annotation_id" in task for task in content)  # JSON-MIN


def _add_task(export: Export, file: str, task: Values, found: tuple[str, str, str], results: list[Values]) -> None:
    place = f"{file} task {task.get('id', '?')}"
    size = next((size for row in results if (size := size_of(row, "original_height", "original_width"))), None)
    image = export.add_found(*found, file, place, split=export.folder.split_of_file(file), size=size)
    for number, result in enumerate(results, start=1):
        kind = str(result.get("type", "")).removesuffix("labels")
        if kind == "":  # <Labels> beside <Rectangle>: the same shape again, with its label
            kind = next((shape for shape in _SHAPES if _is_shape(result.get("value"), shape)), "")
        if kind in _SHAPES:
            if _label(result) or not _has_twin(result, results):
                _add_shape(image, f"{place} result {number}", kind, result)
        elif "value" in result:
            export.passed_over[str(result.get("type"))] += 1


def _written(data: object) -> str:
    """The image's path or address: the value of a task's data that ends like an image, or the only one."""
    values = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    return next((value for value in values if is_image(urlsplit(value).path) or "?d=" in value), "".join(values[:1]))


def _found(folder: ExportFolder, file: str, task: Values) -> tuple[str, str, str]:
    """The image of a task, with or without what Label Studio puts before an uploaded file's name.

    Returns:
        The image, or empty; what is wrong; and its name as written.
    """
    uploaded = str(task.get("file_upload") or "")
    address = urlsplit(_written(task.get("data")))
    path = unquote(parse_qs(address.query).get("d", [address.path])[0])
    names = [path, uploaded]
    names += [name.rpartition("/")[2][_UPLOAD_PREFIX:] for name in names if "-" in name]
    looked = [folder.find_image(name, file, folder.split_of_file(file)) for name in names if name]
    image, fault = next((each for each in looked if each[0]), looked[0] if looked else ("", "a task without an image"))
    return image, fault, uploaded or path


def _add_shape(image: AnnotatedImage, place: str, kind: str, result: Values) -> None:
    value = result.get("value") or {}
    turned = value.get("rotation") or 0
    labels = _label(result)
    fault = ""
    if result.get("image_rotation"):
        fault = f"drawn in the image turned by {result['image_rotation']} degrees, expected the upright image"
    elif isinstance(turned, int | float) and turned % 360:
        fault = f"{kind} rotated by {turned:g} degrees, expected an upright one"
    elif len(labels) > 1:
        fault = f"{len(labels)} labels ({', '.join(labels)}), expected one"
    if fault:
        image.problems.append(Problem(place, fault, "draw it anew, or remove it"))
        return
    box = _SHAPES[kind](value)
    image.add_object(place, labels[0] if labels else "", dict(zip(_BOX, box or [None] * 4, strict=True)))


def _label(result: Values) -> list[str]:
    value = result.get("value") or {}
    names: object = next((value[key] for key in (*_LABELS.values(), "labels") if value.get(key)), [])
    return [str(name).strip() for name in names] if isinstance(names, list) else [str(names)]


def _has_twin(result: Values, results: list[Values]) -> bool:
    return any(other is not result and other.get("id") == result.get("id") and _label(other) for other in results)


def _is_shape(value: object, kind: str) -> bool:
    needed = {"rectangle": "width", "polygon": "points", "ellipse": "radiusX"}[kind]
    return isinstance(value, dict) and needed in value


def _rectangle(value: Values) -> list[Any]:
    return [value.get(key) for key in _BOX]


def _polygon(value: Values) -> list[Any] | None:
    points = number_pairs(value.get("points"))
    if points is None:
        return None
    x1, y1, x2, y2 = bounds(points)
    return [x1, y1, x2 - x1, y2 - y1]


def _ellipse(value: Values) -> list[Any] | None:
    try:
        x, y, rx, ry = (float(value[key]) for key in ("x", "y", "radiusX", "radiusY"))
    except (KeyError, TypeError, ValueError):
        return None
    return [x - rx, y - ry, 2 * rx, 2 * ry]


_SHAPES: dict[str, Callable[[Values], list[Any] | None]] = {
    "rectangle": _rectangle,
    "polygon": _polygon,
    "ellipse": _ellipse,
}
