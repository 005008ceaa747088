"""What a finished run becomes for other programs: a folder, an ONNX file, a torch.export file, a model of the hub."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from visiontasks.errors import InputError
from visiontasks.export.agreement import compare
from visiontasks.export.card import Format, model_card
from visiontasks.export.folder import (
    load_exported,
    preprocessing,
    write_facts,
    write_folder,
)
from visiontasks.export.graph import (
    ONNX_FILE,
    PROGRAM_FILE,
    notes,
    require_onnx,
    run_onnx,
    run_program,
    save_onnx,
    save_program,
    trace,
)
from visiontasks.export.hub import check_hub, push
from visiontasks.export.int8 import write_int8
from visiontasks.export.samples import Sample, folder_samples, made_samples, run_samples, three
from visiontasks.export.stored import write_json
from visiontasks.predict.known_images import known_images
from visiontasks.recipe.open_run import FinishedRun, open_run
from visiontasks.runs.checkpoint import UNFINISHED, unfinished
from visiontasks.runs.folder import RESULT, read_result, recipe_name

__all__ = ["Exported", "Format", "export", "load_exported"]

LEAST_IMAGES = 100
"""That a graph is compared on."""
RUN_IMAGES = 200
"""That are taken of a run's own data."""
METRICS_FILE, AGREEMENT_FILE, CARD = "metrics.json", "agreement.json", "README.md"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: Where.
        files: Names and bytes.
        checked: What it was checked on, and what came out, in a sentence.
        address: Where on the hub; empty if it was not put there.
    """

    folder: Path
    files: dict[str, int]
    checked: str
    address: str = ""


def export(
    run: str | Path,
    folder: str | Path,
    *,
    form: Format = "folder",
    images: Path | None = None,
    unknown: bool = False,
    hub_name: str | None = None,
) -> Exported:
    """Write a run for other programs, whole or not at all.

    A graph (onnx, torch-export) is compared with the run's own evaluation on images, and refused where a class differs;
    int8 is accepted by the run's validation images, see `visiontasks.predict.int8`.

    Args:
        run: A run folder, or a folder of runs, of which the newest finished one is taken.
        folder: Where to; must be empty or not there.
        form: "folder" (weights in timm's form, and three images with their predictions), "onnx", "torch-export", or
            "int8" (ONNX, from images that are resized already).
        images: Folder of images to check on, at least 100 for a graph; by default those that the run was tested on.
        unknown: Whether predictions get `p_known`, see `visiontasks.tasks.known_images.KnownImages`; what it needs is
            computed from the run's data where its folder does not store it.
        hub_name: Repository of the hub that the folder is put into, "model" or "owner/model".

    Raises:
        MissingFileError: If the run or the folder of images is missing.
        InputError: If the run cannot be exported, or the file's predictions differ from the run's.
    """
    target = Path(folder).resolve()
    _check_target(target)
    if form in ("onnx", "int8"):
        require_onnx(form)
    if form == "int8" and images is not None:
        raise InputError("--images: int8 is accepted by the run's own validation images: leave it out")
    if form == "int8" and unknown:
        raise InputError("--unknown: int8 features differ from those that the promise is of: export another format")
    repository = None if hub_name is None else check_hub(hub_name)
    trained = open_run(run)
    if unknown:
        try:
            known_images(trained)
        except InputError as error:
            raise InputError(f"--unknown: {error}") from error
    with _whole_or_not(target) as beside:
        checked, loader = _write(trained, beside, form, images)
        result = read_result(trained.folder) if (trained.folder / RESULT).is_file() else None
        write_json(beside / METRICS_FILE, _measured(result))
        name = repository.rpartition("/")[2] if repository else recipe_name(trained.folder / "recipe.yaml")
        card = model_card(trained, result, form=form, loader=loader, checked=checked, name=name)
        (beside / CARD).write_text(card, encoding="utf-8")
    files = {str(path.relative_to(target)): path.stat().st_size for path in sorted(target.rglob("*")) if path.is_file()}
    return Exported(target, files, checked, push(target, repository) if repository else "")


def _write(trained: FinishedRun, folder: Path, form: Format, images: Path | None) -> tuple[str, str]:
    """Write and check all but the card; what it was checked on, and how a folder is loaded."""
    if form == "folder":
        samples, origin = _stored_samples(trained, images)
        loader = write_folder(trained, folder, samples)
        load_exported(folder)
        return f"On {len(samples)} stored images ({origin}), which loading it checks again.", loader
    if form == "int8":
        return write_int8(trained, folder), ""
    samples, origin = _compared_samples(trained, images)
    program = trace(trained)
    metadata = notes(trained.class_names, preprocessing(trained))
    if form == "onnx":
        path = folder / ONNX_FILE
        save_onnx(program, path, notes=metadata)
    else:
        path = folder / PROGRAM_FILE
        save_program(program, path, notes=metadata)
    run = (run_onnx if form == "onnx" else run_program)(path)
    agreement, end_to_end = compare(trained, run, _shown(samples, f"comparing {path.name} with the run"))
    agreement.check(path.name)
    write_facts(trained, folder)
    figures = {"images_from": origin, **agreement.figures()}
    checked = f"Against the run's own evaluation on {agreement.images} images ({origin}): {agreement.summary()}."
    if end_to_end.images:
        figures["end_to_end"] = end_to_end.figures()
        checked = (
            f"{checked[:-1]}, on the same pixels. `visiontasks predict` decodes {end_to_end.images} of these files at "
            f"1/2 to 1/8; its answers against {path.name}'s on a full decode: {end_to_end.summary()}."
        )
    write_json(folder / AGREEMENT_FILE, figures)
    return checked, ""


def _shown(samples: Sequence[Sample], label: str) -> Iterable[Sample]:
    """Samples, with a bar on a terminal that tells how many are through."""
    console = Console(stderr=True)
    return track(samples, label, console=console, transient=True, disable=not console.is_terminal)


def _stored_samples(trained: FinishedRun, images: Path | None) -> tuple[list[Sample], str]:
    """Three images, and where they are from."""
    if images is not None:
        return three(folder_samples(images, max_16bit=trained.max_16bit)), f"of {images.name}"
    try:
        return three(run_samples(trained, RUN_IMAGES)), "of the data that the run was tested on"
    except InputError:
        return made_samples(), "made ones, since the run's data is not here"


def _compared_samples(trained: FinishedRun, images: Path | None) -> tuple[list[Sample], str]:
    """At least 100 images, and where they are from."""
    if images is not None:
        samples, origin = folder_samples(images, max_16bit=trained.max_16bit), f"of {images.name}"
    else:
        try:
            samples, origin = run_samples(trained, RUN_IMAGES), "of the run's own data"
        except InputError as error:
            raise InputError(
                f"the run's data is not here to compare on ({error}): give a folder with at least {LEAST_IMAGES} "
                "images (--images FOLDER)"
            ) from error
    if len(samples) < LEAST_IMAGES:
        raise InputError(
            f"{len(samples)} images {origin} are too few to compare on: give a folder with at least {LEAST_IMAGES} "
            "(--images FOLDER)"
        )
    return samples, origin


def _measured(result: dict[str, Any] | None) -> dict[str, Any]:
    names = (
        "recipe",
        "task",
        "split",
        "samples",
        "metrics",
        "class_metrics",
        "calibration",
        "chosen_by",
        "data",
        "versions",
        "finished",
    )
    return {name: result[name] for name in names if name in result} if result else {}


def _check_target(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        kind = "is not empty" if folder.is_dir() else "is a file"
        raise InputError(f"{folder} {kind}: give a folder that is not there yet")


@contextmanager
def _whole_or_not(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one, which takes its place once all is written."""
    beside = unfinished(folder.with_name(f".{folder.name}"))
    left = re.compile(rf"\.{re.escape(folder.name)}\.visiontasks-\d+-[0-9a-f]{{16}}{re.escape(UNFINISHED)}")
    for path in folder.parent.iterdir() if folder.parent.is_dir() else ():
        if left.fullmatch(path.name):  # of a process that was killed
            shutil.rmtree(path, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
