"""The first batch of a split as the network gets it, as pictures with their annotation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from visiontasks.data import DataModule
from visiontasks.data.pipeline.sampler import epoch_order
from visiontasks.errors import InputError
from visiontasks.recipe import read_recipe
from visiontasks.recipe.choice import choose
from visiontasks.recipe.cli import recipe_data
from visiontasks.recipe.scaling import fitted
from visiontasks.report import Picture, grid
from visiontasks.results.samples import sample_names

COUNT = 8
_MOST_NAMES = 3


def show_batch(
    data: DataModule | str | Path, overrides: Sequence[str] = (), *, split: str = "train", count: int = COUNT
) -> Image.Image:
    """Draw images as the network gets them, augmented and resized, each beside its original, with their annotation.

    Of the training split they are the first of epoch 1, in their order there and with the same pixels.

    Args:
        data: A DataModule, a recipe's name or file, or a folder of images, for which a recipe is chosen.
        overrides: `--key value` pairs for the recipe, such as `["--data.root", "photos"]`.
        split: "train", "val" or "test".
        count: How many images, at least 1; all if there are fewer.

    Returns:
        RGB; notebooks show it.

    Raises:
        MissingFileError: If there is no such recipe or folder.
        InputError: If a value is wrong, or the data cannot be read.
    """
    if count < 1:
        raise InputError(f"--count {count}: expected at least 1")
    if not isinstance(data, DataModule):
        choice = choose(str(data))
        overrides, _ = fitted(read_recipe(choice.recipe), [*choice.overrides, *overrides])
        data = recipe_data(choice.recipe, overrides)
        data.cache_images_gb = 0
    data.prepare_data()
    data.setup()
    pictures = batch_pictures(data, split, count=count, with_originals=True)
    what = "training images of epoch 1" if split == "train" else f"images of the {split} split"
    return grid({f"The first {len(pictures)} {what}": pictures}, class_names=data.class_names)


def batch_pictures(data: DataModule, split: str, *, count: int = COUNT, with_originals: bool = False) -> list[Picture]:
    """The first samples of a split as the network gets them; those of training augmented as in the first epoch.

    Args:
        data: After `setup()`.
        split: "train", "val" or "test".
        count: How many; fewer if the split or its first batches have fewer.
        with_originals: Whether each has its original beside it.

    Raises:
        InputError: If there is no such split, or a sample cannot be read or augmented.
    """
    source, dataset = data.source(split), data.dataset(split)
    if split != "train" and data.resize != "keep":
        dataset.training = True  # so that annotations are placed as the images are, not left at the original size
    order = epoch_order(len(source), seed=data.seed, epoch=0) if split == "train" else range(len(source))
    rows = [int(row) for row in order[:count]]
    names = sample_names(source, rows)
    pictures = []
    for row, name in zip(rows, names, strict=True):
        original = _picture(data, source[row], name) if with_originals else None
        pictures.append(_picture(data, dataset[(0, row)], name, original))
    return pictures


def _picture(data: DataModule, sample: Any, name: str, original: Picture | None = None) -> Picture:
    named = data.target.names(sample, data.class_names)
    more = f" and {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else ""
    label = f"{', '.join(named[:_MOST_NAMES])}{more}" if named else None
    return Picture(sample["image"], name, true_label=label, truth=data.target.truth(sample), original=original)
