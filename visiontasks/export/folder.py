"""A run as a folder that needs no code of this package: weights, configuration, images with their predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, cast

import safetensors.torch
import yaml
from timm.models import model_entrypoint
from torch import nn

from visiontasks.backbones import (
    save_local_dir,
    save_pyramid,
    save_weights,
    to_classifier,
)
from visiontasks.data.pipeline.reduction import LEAST_TIMES
from visiontasks.data.pipeline.sixteen_bit import MAX_16BIT
from visiontasks.errors import InputError, MissingFileError
from visiontasks.export.agreement import compare
from visiontasks.export.graph import PROGRAM_FILE, GraphSizeError, Runner, notes, run_program, save_program, trace
from visiontasks.export.samples import Sample
from visiontasks.export.stored import CHECK, check_images, save_images, write_json
from visiontasks.heads import LinearHead
from visiontasks.outputs.geometry import LETTERBOX_GREY
from visiontasks.predict.inputs import preprocessing_of
from visiontasks.recipe.open_run import (
    CALIBRATION_FILE,
    CLASSES,
    CONFIG,
    HEAD,
    KNOWN_IMAGES_FILE,
    WEIGHTS,
    FinishedRun,
    open_exported,
)
from visiontasks.runs.folder import PREPROCESSING, RECIPE
from visiontasks.tasks import Task

# timm's own terms for what comes nearest to the resize policies
CROP_MODES = {"crop": "center", "squash": "squash", "letterbox": "border", "keep": "center"}
FORMULA = "probability = softmax(logits / temperature)"


def write_folder(trained: FinishedRun, folder: Path, samples: Sequence[Sample]) -> str:
    """Write weights, configuration, and images with their predictions.

    Args:
        trained: The run.
        folder: An empty folder.
        samples: Images to store.

    Returns:
        How the network is loaded without this package: "timm", or "torch" for a graph beside the weights; "" where
        neither is possible.

    Raises:
        InputError: If timm does not load the backbone again to what it was, or a graph predicts something else.
    """
    loader, graph = "timm", None
    if not (_save_network(trained, folder) and is_of_timm(trained.task)):
        graph = _save_graph(trained, folder / PROGRAM_FILE, samples)
        loader = "torch" if graph is not None else ""
    write_facts(trained, folder)
    save_images(trained, folder, samples, graph=graph)
    return loader


def load_exported(folder: str | Path) -> FinishedRun:
    """Load a folder that `visiontasks export` wrote, and check that its images still get the stored predictions.

    Args:
        folder: The folder.

    Raises:
        MissingFileError: If a file is missing.
        InputError: If a file cannot be read or does not fit, or a stored image gets another prediction.
    """
    root = Path(folder)
    for name in (CONFIG, WEIGHTS, CLASSES, PREPROCESSING, CHECK, RECIPE):
        if not (root / name).is_file():
            raise MissingFileError(f"no {root / name}: give a folder that `visiontasks export RUN DIR` wrote")
    try:
        trained = open_exported(root)
        check_images(trained, root)
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{root} is not as `visiontasks export` wrote it ({type(error).__name__}: {error})") from error
    return trained


def write_facts(trained: FinishedRun, folder: Path) -> None:
    """Write what every format has beside it: classes, preprocessing, recipe."""
    write_json(folder / CLASSES, list(trained.class_names))
    write_json(folder / PREPROCESSING, preprocessing(trained))
    if trained.task.calibration is not None:
        write_json(folder / CALIBRATION_FILE, {"formula": FORMULA, **trained.task.calibration.to_json()})
    if trained.task.known_images is not None:
        safetensors.torch.save_file(trained.task.known_images.to_tensors(), folder / KNOWN_IMAGES_FILE)
    (folder / RECIPE).write_text(yaml.safe_dump(without_folders(trained.recipe), sort_keys=False))


def preprocessing(trained: FinishedRun) -> dict[str, Any]:
    """What is done with an image before the network, in words and numbers that need no code to be understood."""
    height, width = trained.image_size
    return {
        "channels": "RGB",
        "decoding": _decoding(trained),
        "max_16bit": trained.max_16bit or MAX_16BIT,
        "max_16bit_meaning": "what becomes 255 where images have 16 bits a channel: value * 255 / max_16bit, rounded",
        "orientation": "upright: EXIF orientation applied",
        "value_range": [0, 255],
        "resize": {
            "policy": trained.resize,
            "height": height,
            "width": width,
            "meaning": _MEANINGS[trained.resize],
            "interpolation": "cv2.INTER_AREA where a side shrinks, else cv2.INTER_LINEAR; rounded to 8 bits",
            "padding": LETTERBOX_GREY if trained.resize == "letterbox" else None,
        },
        "network_channels": trained.task.in_chans,
        "grey": "the mean of red, green and blue" if trained.task.in_chans == 1 else None,
        "scale": 255,
        "mean": list(trained.normalization.mean),
        "std": list(trained.normalization.std),
        "formula": "(pixel / scale - mean) / std, then (N, C, H, W)",
    }


def _decoding(trained: FinishedRun) -> str:
    if preprocessing_of(trained, trained.image_size).least_size is None:
        return "in full"
    return (
        "in full, but for JPEG files: `visiontasks predict` and `evaluate`, which gave the metrics, decode these at "
        f"1/2, 1/4 or 1/8 of their size, the smallest that is at least {LEAST_TIMES:g} times as large as what they are "
        "scaled to (libjpeg; PIL: Image.draft). With a full decode probabilities differ slightly"
    )


_MEANINGS = {
    "crop": "scaled until it just covers height x width, shape kept; the middle is taken",
    "squash": "both sides scaled by themselves, shape not kept",
    "letterbox": "scaled until it just fits into height x width, shape kept; the rest is padded evenly",
    "keep": "left as it is; height and width are those of the training",
}


def is_of_timm(task: Task) -> bool:
    """Whether timm alone knows the backbone's architecture, and not only timm with this package."""
    architecture = cast(Any, task.backbone).pretrained_cfg["architecture"]
    return model_entrypoint(architecture).__module__.startswith("timm.")


def without_folders(value: Any) -> Any:
    """A recipe without the folders of this machine: of absolute paths only the last part stays."""
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    prefix, is_local, path = value.rpartition("local-dir:")
    return f"{prefix}{is_local}{PurePath(path).name}" if PurePath(path).is_absolute() else value


def _save_network(trained: FinishedRun, folder: Path) -> bool:
    """Write config.json and model.safetensors, and the head where it is not in there; whether it is."""
    task = trained.task
    height, width = trained.image_size
    data = {
        "input_size": (task.in_chans, height, width),
        "mean": trained.normalization.mean,
        "std": trained.normalization.std,
        "crop_pct": 1.0,
        "crop_mode": CROP_MODES[trained.resize],
        "interpolation": "bilinear",
    }
    classifier = _classifier(task)
    if classifier is not None:
        save_local_dir(classifier, folder, class_names=trained.class_names, data_config=data)
        return True
    save = save_local_dir if hasattr(task.backbone, "num_classes") else save_pyramid  # which is no whole network
    save(task.backbone, folder, data_config=data)
    save_weights(task.head, folder / HEAD)
    return False


def _save_graph(trained: FinishedRun, path: Path, samples: Sequence[Sample]) -> Runner | None:
    """Write a task as a graph, and compare it with the run; None where there can be none."""
    try:
        program = trace(trained)
    except InputError:
        return None
    save_program(program, path, notes=notes(trained.class_names, preprocessing(trained)))
    graph = run_program(path)
    try:
        compare(trained, graph, samples)[0].check(path.name)
    except GraphSizeError:
        path.unlink()
        return None
    return graph


def _classifier(task: Task) -> nn.Module | None:
    """The task as a plain timm classifier; None where timm has none like it."""
    if not task.outputs.has_one_class or not isinstance(task.head, LinearHead):
        return None
    try:
        return to_classifier(task.backbone, task.head.linear.weight, task.head.linear.bias)
    except InputError:  # it does not end in one linear layer
        return None
