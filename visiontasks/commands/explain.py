"""The command `explain`: pictures of what in an image a run's prediction depends on."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from visiontasks.class_names import normalized
from visiontasks.commands.printing import print_explanation
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.reader import read_image
from visiontasks.errors import InputError
from visiontasks.explain.heat import overlay_heat
from visiontasks.explain.methods import class_falls, class_map, class_probability, feature_maps, first_filters
from visiontasks.explain.sheets import filter_row, map_row
from visiontasks.explain.stored import stored_folder
from visiontasks.predict.inputs import prepare, preprocessing_of
from visiontasks.predict.predictor import chosen_device
from visiontasks.recipe.open_run import FinishedRun, open_run
from visiontasks.report.single import save_picture, sheet

Method = Literal["grad-cam", "occlusion", "filters", "feature-maps"]
OF_A_CLASS = ("grad-cam", "occlusion")


@dataclass(frozen=True)
class Explanation:
    """What was written.

    Args:
        probabilities: Of the image's classes, by name; empty if the run does not predict any.
        explained: The class that is explained; None if there is none.
        files: The picture of each method.
        refused: Why a method that was not asked for by name has none.
    """

    probabilities: dict[str, float]
    explained: str | None
    files: dict[str, Path]
    refused: dict[str, str]


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Explain and print where the pictures are."""
    folder = Path(arguments.run)
    explanation = explain(
        folder,
        arguments.image,
        out=arguments.out,
        class_name=arguments.class_name,
        methods=arguments.method,
        device=arguments.device,
    )
    print_explanation(
        explanation.probabilities,
        explanation.explained,
        explanation.files,
        explanation.refused,
        run=folder if arguments.out is None else None,
    )


def explain(
    run: str | Path,
    image: str | Path,
    *,
    out: Path | None = None,
    class_name: str | None = None,
    methods: Sequence[Method] = (),
    device: str = "auto",
) -> Explanation:
    """Write pictures that explain a run's prediction of an image.

    `grad-cam` and `occlusion` colour the picture, at its own size, from blue (nothing) to red (the most) by how much a
    part speaks for a class; what a crop cuts off is dark. `filters` are the weights of the first convolution,
    `feature-maps` the strongest maps of each stage, light where they are large.

    Args:
        run: A run folder, or a folder of runs, of which the newest finished one is taken.
        image: The file.
        out: Folder to write `<method>.png` into; by default `explain/<name of the image>` in the run's folder.
        class_name: The class to explain; the most probable one by default.
        methods: Which pictures; by default all that there can be.
        device: See `visiontasks.predict.predictor.chosen_device`.

    Raises:
        MissingFileError: If run or image are not there.
        InputError: If the image cannot be read, the class is unknown, or a method that was asked for does not fit.
    """
    trained = open_run(run)
    task = trained.task.to(chosen_device(device))
    prepared = prepare(0, str(image), [preprocessing_of(trained, trained.image_size)])
    if prepared.error is not None or prepared.size is None:
        raise InputError(f"{prepared.name}: {prepared.error}")
    pixels, geometry = prepared.inputs[0]
    image_batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(task.device)
    probabilities = _probabilities(trained, image_batch)
    explained = _explained(trained, class_name, probabilities)
    index = trained.class_names.index(explained) if explained is not None else -1

    def heated(heat: Tensor) -> Image.Image:
        return Image.fromarray(
            overlay_heat(read_image(image, max_16bit=trained.max_16bit), heat.cpu().numpy(), geometry)
        )

    draw: dict[Method, Callable[[], Image.Image]] = {
        "grad-cam": lambda: heated(class_map(task, image_batch, index)),
        "occlusion": lambda: heated(class_falls(task, image_batch, index)),
        "filters": lambda: sheet([filter_row(first_filters(task.backbone))]),
        "feature-maps": lambda: sheet([map_row(*stage) for stage in feature_maps(task, image_batch).items()]),
    }
    folder = out or stored_folder(trained.folder, Path(image))
    files, refused = _written(draw, methods, folder, explained)
    return Explanation(probabilities, explained, files, refused)


def _written(
    draw: dict[Method, Callable[[], Image.Image]], methods: Sequence[Method], folder: Path, explained: str | None
) -> tuple[dict[str, Path], dict[str, str]]:
    files: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for method in methods or get_args(Method):
        try:
            picture = draw[method]()
        except InputError as error:
            if methods:
                raise
            refused[method] = str(error)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        files[method] = folder / f"{method}.png"
        save_picture(picture, files[method], title=explained or "" if method in OF_A_CLASS else "")
    return files, refused


def _probabilities(trained: FinishedRun, image: Tensor) -> dict[str, float]:
    try:
        probability = class_probability(trained.task, image)[0]
    except InputError:  # masks, or boxes alone
        return {}
    return dict(zip(trained.class_names, probability.tolist(), strict=True))


def _explained(trained: FinishedRun, class_name: str | None, probabilities: dict[str, float]) -> str | None:
    """The class that was asked for, or the most probable one."""
    if class_name is None:
        return max(probabilities, key=probabilities.__getitem__) if probabilities else None
    same = [name for name in trained.class_names if normalized(name) == normalized(class_name)]
    if not same:
        near = get_close_matches(class_name, trained.class_names)
        hint = f"did you mean {near[0]}" if near else f"expected one of {listed(list(trained.class_names))}"
        raise InputError(f"--class {class_name}: {trained.folder} has no such class; {hint}")
    return same[0]
