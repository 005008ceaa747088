"""The command that explains what a run says of an image: pictures of what the network looks at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visiontasks.data.files import listed
from visiontasks.data.reader import UInt8Array, read_image
from visiontasks.errors import InputError
from visiontasks.explain.heat import overlay_heat
from visiontasks.explain.methods import class_falls, class_map, class_probability, feature_maps, first_filters
from visiontasks.predict.inputs import prepare, preprocessing_of
from visiontasks.predict.predictor import chosen_device
from visiontasks.report.single import save_picture, sheet
from visiontasks.trained import Trained, load_trained

Method = Literal["grad-cam", "occlusion", "filters", "feature-maps"]
Row = tuple[str, list[Image.Image]]

MOST_FILTERS, MOST_MAPS = 256, 16
FILTER_PX, MAP_PX, MOST_PX = 48, 96, 112  # least sides of a filter and of a map, and the most


@dataclass(frozen=True)
class Explanation:
    """What was written.

    Args:
        probabilities: Of the image's classes, by name; empty if the run tells none apart.
        explained: The class that is explained; None if there is none.
        files: The picture of each method.
        refused: Why a method that was not asked for by name has none.
    """

    probabilities: dict[str, float]
    explained: str | None
    files: dict[str, Path]
    refused: dict[str, str]


def explain(
    run: str | Path,
    image: str | Path,
    *,
    out: Path | None = None,
    class_name: str | None = None,
    methods: Sequence[Method] = (),
    device: str = "auto",
) -> Explanation:
    """Write pictures that explain what a run says of an image.

    `grad-cam` and `occlusion` colour the picture, at its own size, from blue (nothing) to red (the most) by how much a
    part speaks for a class; what a crop cuts off is dark. `filters` are the weights of the first convolution,
    `feature-maps` the strongest maps of each stage, light where they are large.

    Args:
        run: A run folder, or a folder of runs, of which the newest is taken.
        image: The file.
        out: Folder to write `<method>.png` into; by default `explain/<name of the image>` in the run's folder.
        class_name: The class to explain; the most probable one by default.
        methods: Which pictures; by default all that there can be.
        device: See `visiontasks.predict.predictor.chosen_device`.

    Raises:
        MissingFileError: If run or image are not there.
        InputError: If the image cannot be read, the class is unknown, or a method that was asked for does not fit.
    """
    trained = load_trained(run)
    task = trained.task.to(chosen_device(device))
    prepared = prepare(0, image, [preprocessing_of(trained, trained.image_size)])
    if prepared.error is not None or prepared.size is None:
        raise InputError(f"{prepared.name}: {prepared.error}")
    pixels, resized = prepared.shown[0]
    placement = replace(resized, size=prepared.size)  # a JPEG may have been decoded smaller
    shown = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(task.device)
    probabilities = _probabilities(trained, shown)
    explained = _explained(trained, class_name, probabilities)
    index = trained.class_names.index(explained) if explained is not None else -1

    def heated(heat: Tensor) -> Image.Image:
        return Image.fromarray(overlay_heat(read_image(image), heat.cpu().numpy(), placement))

    draw: dict[Method, Callable[[], Image.Image]] = {
        "grad-cam": lambda: heated(class_map(task, shown, index)),
        "occlusion": lambda: heated(class_falls(task, shown, index)),
        "filters": lambda: sheet([_filter_row(first_filters(task.backbone))]),
        "feature-maps": lambda: sheet([_map_row(*stage) for stage in feature_maps(task, shown).items()]),
    }
    folder = out or trained.run / "explain" / Path(image).stem
    files, refused = _written(draw, methods, folder)
    return Explanation(probabilities, explained, files, refused)


def _written(
    draw: dict[Method, Callable[[], Image.Image]], methods: Sequence[Method], folder: Path
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
        save_picture(picture, files[method])
    return files, refused


def _probabilities(trained: Trained, shown: Tensor) -> dict[str, float]:
    try:
        probability = class_probability(trained.task, shown)[0]
    except InputError:  # masks, or boxes alone
        return {}
    return dict(zip(trained.class_names, probability.tolist(), strict=True))


def _explained(trained: Trained, class_name: str | None, probabilities: dict[str, float]) -> str | None:
    """The class that was asked for, or the most probable one."""
    if class_name is None:
        return max(probabilities, key=probabilities.__getitem__) if probabilities else None
    if class_name not in trained.class_names:
        near = get_close_matches(class_name, trained.class_names)
        hint = f"did you mean {near[0]}" if near else f"expected one of {listed(list(trained.class_names))}"
        raise InputError(f"--class {class_name}: {trained.run} knows no such class; {hint}")
    return class_name


def _filter_row(weight: Tensor) -> Row:
    """Each filter from its smallest weight, black, to its largest one, white; of other than 3 channels their mean."""
    count, channels, height, width = weight.shape
    colours = weight if channels == 3 else weight.mean(1, keepdim=True)
    title = f"{count} filters of {height}x{width} on {channels} channel{'s' * (channels != 1)}, the first convolution"
    return title, [_tile(_scaled(each), FILTER_PX) for each in colours[:MOST_FILTERS].permute(0, 2, 3, 1)]


def _map_row(name: str, maps: Tensor) -> Row:
    """The maps with the largest mean, each from its smallest value, black, to its largest one, white."""
    count, height, width = maps.shape
    strongest = maps.mean((1, 2)).argsort(descending=True, stable=True)[:MOST_MAPS]
    title = f"{name}: the {len(strongest)} strongest of {count} maps of {height}x{width}"
    return title, [_tile(_scaled(maps[i][..., None]), MAP_PX) for i in strongest]


def _scaled(values: Tensor) -> UInt8Array:
    """Values (h, w, 1 or 3) from their smallest, 0, to their largest, 255; RGB."""
    low, high = values.min(), values.max()
    level = (values - low) / (high - low).clamp_min(1e-12)
    return np.asarray((255 * level).round().to(torch.uint8).expand(-1, -1, 3).cpu().numpy())


def _tile(pixels: UInt8Array, least_px: int) -> Image.Image:
    """Enlarged by a whole number to `least_px`, or shrunk."""
    tile = Image.fromarray(np.ascontiguousarray(pixels))
    if max(tile.size) <= least_px:
        times = ceil(least_px / max(tile.size))
        return tile.resize((times * tile.width, times * tile.height), Image.Resampling.NEAREST)
    tile.thumbnail((MOST_PX, MOST_PX))
    return tile
