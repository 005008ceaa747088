"""What a run's training images look like to its network: computed from its data once, and stored in its folder."""

import sys
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from visiontasks.data import DataModule
from visiontasks.data.pipeline.loader import Loader, SplitDataset, chosen_workers
from visiontasks.errors import InputError
from visiontasks.finetuning.features import fingerprint
from visiontasks.predict.engine import KEY, store
from visiontasks.recipe.open_run import KNOWN_IMAGES_FILE, FinishedRun
from visiontasks.tasks.known_images import MOST_KEPT, KnownImages

BATCH = 32


def known_images(trained: FinishedRun) -> KnownImages:
    """A run's training images by their features: as its folder stores them, else computed from its data.

    What is stored holds for the weights that it was computed with.

    Raises:
        InputError: If the run is no classification by one vector of features, or its data is not here.
    """
    task, path = trained.task, trained.folder / KNOWN_IMAGES_FILE
    if not task.outputs.has_one_class:
        raise InputError(f"{trained.folder} predicts no class of a whole image: leave it out")
    key = fingerprint(task, task.modules(), [trained.image_size, trained.resize])
    if task.known_images is None:
        task.known_images = _stored(path, key)
    if task.known_images is None:
        task.known_images = _computed(trained)
        store(safetensors.torch.save(task.known_images.to_tensors(), {KEY: key}), path)
    return task.known_images


def _stored(path: Path, key: str) -> KnownImages | None:
    """What a folder stores; None where it has none, or of other weights."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, "pt") as file:
            if (file.metadata() or {}).get(KEY) != key:
                return None
            return KnownImages.from_tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, KeyError, safetensors.SafetensorError):  # cut off or damaged: it is computed again
        return None


def _computed(trained: FinishedRun) -> KnownImages:
    try:
        data = trained.data(split="val")
        data.setup()
        sources = {split: data.source(split) for split in ("train", "val")}
    except InputError as error:
        raise InputError(
            f"the training and validation images of {trained.folder} are needed once, but are not here ({error})"
        ) from error
    counts = f"{min(len(sources['train']), MOST_KEPT):,} training and {len(sources['val']):,} validation images"
    print(f"looking at {counts}, once for this run", file=sys.stderr, flush=True)
    return KnownImages.fit(*(_features(trained, data, split) for split in ("train", "val")))


@torch.inference_mode()
def _features(trained: FinishedRun, data: DataModule, split: str) -> Tensor:
    """What the head takes of a split's images, (n, D)."""
    task, source = trained.task, data.source(split)
    dataset = SplitDataset(source, data.image_size, data.resize, None, target=data.target, training=False)
    count = min(len(source), MOST_KEPT) if split == "train" else len(source)
    rows = np.linspace(0, len(source) - 1, count).round().astype(int).tolist()
    workers = data.num_workers if data.num_workers is not None else chosen_workers(source, accelerated=False)
    vectors = []
    for batch in Loader(dataset, batch_size=BATCH, num_workers=workers, sampler=rows):
        parts = task.image_features(batch["image"].to(task.device))
        if len(parts) != 1 or parts[0].ndim != 2:
            raise InputError(
                f"--unknown: the head of {type(task).__name__} takes no vector of each image: leave it out"
            )
        vectors.append(parts[0].float().cpu())
    return torch.cat(vectors)
