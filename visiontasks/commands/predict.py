"""The command `predict`: rows, masks and drawn pictures of the predictions of one or several runs."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visiontasks.data.pipeline.depth import unused_range
from visiontasks.data.pipeline.files import listed
from visiontasks.errors import printable
from visiontasks.predict.engine import Engine
from visiontasks.predict.files import (
    CSVRows,
    FreeNames,
    JSONRows,
    check_format,
    line_of,
    row_file,
    rows_of,
    save_drawn,
)
from visiontasks.predict.image_files import ImageFile, PassedOver, check_picture_folder, find_images
from visiontasks.predict.label_files import (
    COCOResults,
    LabelFormat,
    YOLOLabels,
    check_label_format,
    images_file,
    label_files,
)
from visiontasks.predict.predictor import Prediction, Predictor
from visiontasks.predict.views import Tta
from visiontasks.report.single import save_picture
from visiontasks.training.remaining import duration

_MOST_OPENED, _MOST_DECODED = 64, 8  # to look for 16-bit images
Files = CSVRows | JSONRows | COCOResults | YOLOLabels
NAME_WIDTH = 60  # longer names are not what others are filled up to


def run(arguments: argparse.Namespace, _: Sequence[str]) -> int:
    """Predict; the exit status is 1 if not one image could be predicted."""
    good = predict(
        arguments.runs,
        arguments.images,
        out=arguments.out,
        form=arguments.format,
        draw=arguments.draw,
        top=arguments.top,
        tta=arguments.tta,
        threshold=arguments.threshold,
        coverage=arguments.coverage,
        unknown=arguments.unknown,
        device=arguments.device,
        batch_size=arguments.batch_size,
        engine=arguments.engine,
    )
    return 0 if good else 1


def predict(
    runs: Sequence[str | Path],
    names: Sequence[str],
    *,
    out: Path | None = None,
    form: LabelFormat | None = None,
    draw: Path | None = None,
    top: int = 5,
    tta: Tta | None = None,
    threshold: float | None = None,
    coverage: float | None = None,
    unknown: float | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    engine: Engine = "torch",
) -> bool:
    """Predict images; print to stderr how many and how fast, and which could not be read.

    Args:
        runs: Run folders, whose predictions are averaged.
        names: Files, folders and globs, see `find_images`.
        out: A .csv or .json file of rows, see `rows_of`; masks go into a folder beside it, `<its name>_masks`. Without
            one a line for each image is printed.
        form: Format of another tool in place of rows, see `visiontasks.predict.label_files`.
        draw: Folder for the pictures with their predictions drawn.
        top: How many classes are named.
        tta: See `Predictor`.
        threshold: See `Predictor`.
        coverage: See `Predictor`.
        unknown: See `Predictor`.
        device: See `Predictor`.
        batch_size: See `Predictor`.
        engine: See `Predictor`.

    Returns:
        Whether at least one image was predicted.

    Raises:
        MissingFileError: If a run is not whole, or there are no images.
        InputError: If runs or options do not fit, or pictures would be written to where images are.
    """
    if form is not None:
        check_label_format(form, out)
    elif out is not None:
        check_format(out)
    passed_over = PassedOver()
    images = find_images(names, passed_over)
    mask_folder = None if out is None or form is not None else out.with_name(f"{out.stem}_masks")
    for option, folder in (("--draw", draw), ("--out: its masks,", mask_folder)):
        if folder is not None:
            check_picture_folder(folder, images, option)
    options: dict[str, Any] = {"tta": tta, "top": top, "threshold": threshold, "engine": engine}
    options |= {"coverage": coverage, "unknown": unknown}
    predictor = Predictor.load(*runs, device=device, batch_size=batch_size, **options)
    failed: list[str] = []
    start = time.monotonic()
    with ExitStack() as stack:
        written_to = None if out is None else _open(out, form, predictor, top)
        if written_to is not None:
            stack.enter_context(written_to)
        output = Destinations(predictor.class_names, written_to, mask_folder, draw, images)
        output.max_16bit = predictor.ensemble.runs[0].max_16bit
        progress = stack.enter_context(_progress(shown=out is not None or not sys.stdout.isatty()))
        stream = stack.enter_context(closing(predictor.stream(image.path for image in images)))
        for image, prediction in progress.track(zip(images, stream, strict=True), total=len(images)):
            output.add(image, prediction)
            failed += [image.path] if prediction.error is not None else []
    beside = images_file(out) if out is not None and form == "coco" else mask_folder
    written = [f"{part}{'/' if part.is_dir() else ''}" for part in (out, beside, draw) if part and part.exists()]
    seconds = time.monotonic() - start
    print(_summary(len(images), failed, seconds, written, passed_over.describe()), file=sys.stderr)
    if engine != "torch":
        print(f"computed by ONNX Runtime in {'int8' if engine == 'int8' else 'float32'}", file=sys.stderr)
    unused = "" if output.max_16bit else _unused_range(images)
    if unused:
        print(f"note: {unused}", file=sys.stderr)
    return len(failed) < len(images)


class Destinations:
    """Where predictions go.

    Args:
        class_names: By class index.
        written_to: Files of rows, or in the format of another tool; None to print lines.
        masks: Folder of the masks beside the rows, made where there are any; None for no masks.
        draw: Folder of the drawn pictures; None for none.
        images: All that will come.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        written_to: Files | None,
        masks: Path | None,
        draw: Path | None,
        images: Sequence[ImageFile],
    ) -> None:
        self.class_names = class_names
        self.written_to = written_to
        self.masks = None if masks is None else FreeNames(masks, ".png")
        self.drawn = None if draw is None else FreeNames(draw, ".jpg")
        self.max_16bit: int | None = None
        """Largest value of 16-bit images, as for `read_image`, of those that are drawn."""
        self.width = max((len(image.path) for image in images if len(image.path) <= NAME_WIDTH), default=0)

    def add(self, image: ImageFile, prediction: Prediction) -> None:
        """Write the prediction of the next image."""
        file = None
        png = prediction.output.png(self.class_names) if prediction.output is not None and self.masks else None
        if self.masks is not None and png is not None:
            path = self.masks.path(image.below)
            save_picture(png, path)
            file = path.relative_to(self.masks.folder.parent).as_posix()
        if self.written_to is None:
            print(printable(line_of(prediction, width=self.width)), flush=True)
        elif isinstance(self.written_to, COCOResults | YOLOLabels):
            self.written_to.add(image, prediction)
        else:
            for row in rows_of(prediction, file):
                self.written_to.write(row)
        if self.drawn is not None and prediction.error is None:
            save_drawn(prediction, self.drawn.path(image.below), max_16bit=self.max_16bit)


def _open(out: Path, form: LabelFormat | None, predictor: Predictor, top: int) -> Files:
    """Open the files to write to."""
    if form is not None:
        return label_files(form, out, predictor.ensemble.outputs, predictor.class_names)
    return row_file(out, ["image", *predictor.columns(top), "error"])


def _progress(*, shown: bool) -> Progress:
    """A bar on stderr; not where that is not a terminal, or lines are printed on the same one."""
    parts = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    is_disabled = not (shown and sys.stderr.isatty())
    return Progress(*parts, console=Console(stderr=True), transient=True, redirect_stdout=False, disable=is_disabled)


def _unused_range(images: Sequence[ImageFile]) -> str:
    """The note about 16-bit images that are nearly black to a run without `max_16bit`; empty without any."""
    way_out = "the run was trained without data.init_args.max_16bit: train it so, or save these images with 8 bits"
    return unused_range((image.path for image in images[:_MOST_OPENED]), most=_MOST_DECODED, way_out=way_out)


def _summary(count: int, failed: Sequence[str], seconds: float, written: Sequence[str], passed_over: str) -> str:
    rate = count / max(seconds, 1e-9)
    done = f"1 image in {duration(seconds)}" if count == 1 else f"{count:,} images, {rate:.1f} per second"
    lines = [": ".join([done, ", ".join(written)]) if written else done]
    if failed:
        lines.append(f"{len(failed):,} of them could not be predicted: {listed(list(failed))}")
    lines += [passed_over] if passed_over else []
    return "\n".join(map(printable, lines))
