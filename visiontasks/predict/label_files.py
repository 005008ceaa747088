"""Predictions in the formats of other tools: COCO's results, and YOLO's text files."""

import json
from pathlib import Path
from typing import Any, Literal, Self, get_args

from visiontasks.errors import InputError
from visiontasks.outputs import Output
from visiontasks.predict.files import FORMATS, FreeNames, JSONRows
from visiontasks.predict.image_files import ImageFile
from visiontasks.predict.predictor import Prediction
from visiontasks.runs.checkpoint import write_text

LabelFormat = Literal["coco", "yolo"]


def check_label_format(form: LabelFormat, out: Path | None) -> None:
    """Check where predictions in the format of another tool are to go.

    Raises:
        InputError: If there is no place, not the kind of place that the format needs, or a folder that is not empty.
    """
    if form not in get_args(LabelFormat):
        raise InputError(f"--format {form}: expected {' or '.join(get_args(LabelFormat))}")
    if out is None:
        raise InputError(f"--format {form} needs {'--out FILE.json' if form == 'coco' else '--out FOLDER'}")
    if form == "coco":
        if out.suffix.lower() != ".json" or out.is_dir():
            raise InputError(f"--out {out}: COCO's results are a file, expected one that ends in .json")
        return
    if out.is_file() or out.suffix.lower() in FORMATS:
        raise InputError(f"--out {out}: YOLO's files go into a folder, expected the name of one")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out {out} is not empty, and labels in it could be overwritten: name a new folder")


def label_files(
    form: LabelFormat, out: Path, outputs: type[Output], class_names: tuple[str, ...]
) -> "COCOResults | YOLOLabels":
    """Open the files of predictions in the format of another tool.

    Args:
        form: The format.
        out: See `check_label_format`.
        outputs: What is predicted.
        class_names: By class index.

    Raises:
        InputError: If such predictions cannot be written in this format.
    """
    if form not in outputs.label_formats:
        raise InputError(
            f"--format {form}: takes any number of objects with boxes and scores, which this run does not predict; "
            "leave it out to write rows"
        )
    return (COCOResults if form == "coco" else YOLOLabels)(out, class_names)


def images_file(results: Path) -> Path:
    """The file beside COCO's results that has the names of images and classes."""
    return results.with_name(f"{results.stem}_images.json")


class COCOResults:
    """A file of COCO's results, and one beside it with what their ids mean; both get their names when complete.

    The results are a list of `image_id`, `category_id`, `bbox` and `score`. `<name>_images.json` is a COCO file without
    annotations, which names the `images` that could be read, counted from 1, and the `categories`, the classes counted
    from 1; pycocotools' `COCO(...).loadRes` takes the results to it.

    Args:
        path: The file, which ends in .json; its folder is made.
        class_names: By class index.
    """

    def __init__(self, path: Path, class_names: tuple[str, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.images_path = images_file(path)
        self._results = JSONRows(path, ["image_id", "category_id", "bbox", "score"])
        self._categories = [{"id": i, "name": name} for i, name in enumerate(class_names, start=1)]
        self._images: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def add(self, image: ImageFile, prediction: Prediction) -> None:
        """Add the objects of an image; one that could not be read has none and no id."""
        if prediction.output is None or prediction.size is None:
            return
        height, width = prediction.size
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": image.path, "width": width, "height": height})
        for result in prediction.output.coco_results():
            self._results.write({"image_id": number, **result})

    def __exit__(self, kind: type[BaseException] | None, *what: object) -> None:
        if kind is None:
            content = {"images": self._images, "annotations": [], "categories": self._categories}
            write_text(self.images_path, json.dumps(content))
        self._results.__exit__(kind, *what)


class YOLOLabels:
    """A folder with a text file for each image, of the image's name, a line for each object, and `classes.txt`.

    A file is there as soon as its image is predicted. It is empty where there is no object, and not there where the
    image could not be read.

    Args:
        folder: The folder, new or empty.
        class_names: By class index.
    """

    def __init__(self, folder: Path, class_names: tuple[str, ...]) -> None:
        self._names = FreeNames(folder, ".txt")
        classes = self._names.path(Path("classes.txt"))
        classes.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def add(self, image: ImageFile, prediction: Prediction) -> None:
        """Write the file of an image."""
        if prediction.output is not None:
            lines = prediction.output.yolo_lines()
            self._names.path(image.below).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def __exit__(self, *what: object) -> None:
        pass
