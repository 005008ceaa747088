"""The networks whose features studies use, and the files in which these are cached by all they depend on."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import PIL
import timm
import torch
from torch import Tensor, nn

from visiontasks import __version__
from visiontasks.backbones import normalization
from visiontasks.errors import InputError
from visiontasks.finetuning.feature_store import View
from visiontasks.finetuning.features import GB, FeatureFiles, fingerprint
from visiontasks.outputs.base import Float32Array
from visiontasks.recipe.open_run import FinishedRun

BATCH_SIZE = 32
CACHE_GB = 10.0
"""As `finetune.cache_size_gb` of the recipes."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network that gives a vector for each image.

    Args:
        backbone: Whose weights vectors depend on.
        vectors: From pixels, uint8 (B, 3, H, W), to float32 (B, D), on the CPU.
        facts: What else vectors depend on.
    """

    backbone: nn.Module
    vectors: Callable[[Tensor], Tensor]
    facts: tuple[Any, ...] = ()


def pretrained(backbone: nn.Module) -> Extractor:
    """A backbone's vector view as it is, put into eval mode, with its own normalization."""
    backbone.eval().requires_grad_(requires_grad=False)
    known = normalization(backbone)
    mean, std = (255 * torch.tensor(values).view(1, -1, 1, 1) for values in (known.mean, known.std))
    network = backbone.float().to(memory_format=torch.channels_last)

    def vectors(image: Tensor) -> Tensor:
        pixels = image.to(torch.float32, memory_format=torch.channels_last)
        found: Tensor = network((pixels - mean) / std)
        return found.float()

    return Extractor(backbone, vectors)


def fine_tuned(trained: FinishedRun) -> Extractor:
    """The backbone of a run with the weights that it was trained to.

    Raises:
        InputError: If it does not classify images, or takes images of any size.
    """
    task = trained.task
    if not task.outputs.has_one_class:
        raise InputError(
            f"{trained.folder}: {type(task).__name__} has no single vector for an image: give a run that classifies "
            "images"
        )
    if trained.resize == "keep":
        raise InputError(
            f"{trained.folder} takes images of any size (data.init_args.resize: keep), but a study needs one size: "
            "give a run that was trained with crop, squash or letterbox"
        )

    def vectors(image: Tensor) -> Tensor:
        found: Tensor
        (found,) = task.image_features(image)
        return found.float()

    return Extractor(task.backbone, vectors, (task.mean.tolist(), task.std.tolist(), task.in_chans))


@torch.inference_mode()
def predicted(trained: FinishedRun, vectors: Float32Array) -> Float32Array:
    """Probabilities that a run predicts from features of its own backbone, (n, D), as `visiontasks predict` does.

    Returns:
        float32, (n, K).
    """
    if not len(vectors):
        return np.zeros((0, len(trained.class_names)), np.float32)
    raw = trained.task.raw_output({"features": (torch.from_numpy(vectors),)})
    outputs = trained.task.decode(raw, torch.zeros(len(vectors), 8, dtype=torch.int64))
    found = [output.class_probability() for output in outputs]
    return np.stack([each for each in found if each is not None])


def open_files(extractor: Extractor, facts: Sequence[Any], about: dict[str, str]) -> FeatureFiles | None:
    """The folder of features; None where it cannot be written, or another process has it.

    Args:
        extractor: Of the features.
        facts: Images and their preparation: what features depend on beside the network and versions.
        about: What the features are of, see `visiontasks.finetuning.feature_folders.describe`.
    """
    backbone = extractor.backbone
    versions = [
        *("study", BATCH_SIZE, __version__, torch.__version__, timm.__version__, torch.get_num_threads()),
        *(cv2.__version__, np.__version__, PIL.__version__, torch.backends.cpu.get_cpu_capability()),
    ]
    name = fingerprint(backbone, backbone.modules(), [*versions, *extractor.facts, *facts])
    if sys.platform == "win32":
        return None
    try:
        files = FeatureFiles(name, int(CACHE_GB * GB), {**about, "backbone": _name(backbone)})
    except OSError as error:
        print(f"features are not cached: {error}", file=sys.stderr, flush=True)
        return None
    if files.is_ours:
        return files
    files.close()
    return None


def store_rows(files: FeatureFiles | None, view: View | None, index: Tensor, entries: dict[str, Tensor]) -> View | None:
    """Write rows; None where there is no room, so that no more are written."""
    if files is None or view is None:
        return None
    try:
        if not view.is_created and not files.create(view, entries):
            return None
        view.write(index, entries)
    except OSError:
        return None
    return view


def _name(backbone: nn.Module) -> str:
    cfg: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    return ".".join(filter(None, [cfg.get("architecture"), cfg.get("tag")])) or type(backbone).__name__
