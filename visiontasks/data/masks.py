"""Images with a mask of class indices in a file each: reading, pairing and checking them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from visiontasks.data.files import image_files, natural_key
from visiontasks.data.problems import Problem
from visiontasks.data.reader import UInt8Array, read_image, upright_size
from visiontasks.data.sources import Int64Array, Sample
from visiontasks.data.transforms import IGNORED
from visiontasks.errors import InputError, MissingFileError

_INDEX_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L")
_MOST_VALUES = 256
_COLOURS = "a PNG of class indices has one channel (mode L or P), not the classes' colours"


class ValueTable:
    """Which class a value in a mask file means.

    Args:
        classes: Class index of each value that stands for one.
        ignored: Values that mean that the class is not known; 255 always does.
    """

    def __init__(self, classes: Mapping[int, int], ignored: Sequence[int] = ()) -> None:
        self.table = np.full(_MOST_VALUES, -1, dtype=np.int16)
        self.table[[*classes]] = [*classes.values()]
        self.table[[*ignored, IGNORED]] = IGNORED

    @property
    def values(self) -> list[int]:
        """Values that a file may hold."""
        return [int(value) for value in np.flatnonzero(self.table >= 0)]

    def classes_of(self, values: UInt8Array) -> UInt8Array:
        """Class indices, 255 for ignored, in place of a file's values.

        Raises:
            InputError: If a value stands for no class.
        """
        mask = self.table[values]
        if mask.min(initial=0) < 0:
            wrong = np.unique(values[mask < 0]).tolist()
            raise InputError(
                f"value(s) {', '.join(map(str, wrong[:10]))}, expected the class indices {_ranges(self.values)}"
            )
        return mask.astype(np.uint8)


@dataclass(frozen=True)
class MaskPair:
    """An image file and the file of its mask."""

    image: str
    mask: str


class MaskSource:
    """Images and masks, decoded when they are asked for.

    Args:
        pairs: Their files.
        table: What the masks' values mean.
    """

    def __init__(self, pairs: Sequence[MaskPair], table: ValueTable) -> None:
        self.paths = np.array([pair.image for pair in pairs], dtype=np.str_)
        self.masks = np.array([pair.mask for pair in pairs], dtype=np.str_)
        self.table = table
        self.labels: Int64Array = np.zeros(len(pairs), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Sample:
        image, path = read_image(str(self.paths[index])), str(self.masks[index])
        values = read_mask(path)
        if values.shape != image.shape[:2]:
            raise InputError(f"{path}: {_size_differs(values.shape, image.shape)}")
        try:
            return {"image": image, "mask": self.table.classes_of(values)}
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def read_mask(path: str) -> UInt8Array:
    """Decode a mask file.

    Args:
        path: An image file with one channel; of one with a palette the indices are taken, not the colours.

    Returns:
        Its values, (H, W), uint8.

    Raises:
        MissingFileError: If there is no such file.
        InputError: If it is damaged, has colours, or values above 255.
    """
    try:
        with Image.open(path) as image:
            image.load()
            mode, values = image.mode, np.array(image)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such mask file") from error
    except Exception as error:  # PIL's plugins raise nearly every built-in type on a broken file
        raise InputError(f"{path}: damaged or no image ({error}); copy it again") from error
    if mode not in _INDEX_MODES:
        raise InputError(f"{path}: has colours (mode {mode}); {_COLOURS}")
    if values.min() < 0 or values.max() >= _MOST_VALUES:
        raise InputError(f"{path}: values from {values.min()} to {values.max()}, expected 0 to 255")
    return values.astype(np.uint8)


def paired(images: Path, masks: Path) -> tuple[list[MaskPair], list[list[Problem]]]:
    """Pair the images of a folder with the masks of another by equal stem, in natural order.

    Args:
        images: The folder of images.
        masks: The folder of masks.

    Returns:
        The pairs, and the problems of files that have no partner or more than one.

    Raises:
        MissingFileError: If a folder is not there.
    """
    found = {}
    for folder in (images, masks):
        if not folder.is_dir():
            raise MissingFileError(f"no folder {folder}/: expected images/ and masks/ with files of equal stems")
        (files,) = image_files([folder])
        by_stem: dict[str, list[str]] = {}
        for path in files:
            by_stem.setdefault(str(Path(path).relative_to(folder).with_suffix("")), []).append(path)
        found[folder] = by_stem
    pairs, problems = [], []
    for stem in sorted({*found[images], *found[masks]}, key=natural_key):
        of_image, of_mask = found[images].get(stem, []), found[masks].get(stem, [])
        if len(of_image) == len(of_mask) == 1:
            pairs.append(MaskPair(of_image[0], of_mask[0]))
            continue
        files = [*of_image, *of_mask]
        if not of_mask:
            what, mend = f"no mask {masks}/{stem}.png", "add it or remove the image"
        elif not of_image:
            what, mend = f"no image of this stem in {images}/", "add it or remove the mask"
        else:
            what, mend = f"several files of one stem: {', '.join(files)}", "leave one image and one mask"
        problems.append([Problem(files[0], what, mend)])
    return pairs, problems


def check_masks(pairs: Sequence[MaskPair], table: ValueTable | None) -> tuple[list[list[Problem]], Int64Array]:
    """Decode all masks and compare them with their images.

    Args:
        pairs: The files.
        table: What the values mean; None if every value is a class.

    Returns:
        The problems of each pair, and the number of pixels of each value in each mask, (n, 256).
    """
    with ThreadPoolExecutor() as pool:
        checked = list(pool.map(lambda pair: _check(pair, table), pairs))
    counts = np.stack([counts for _, counts in checked]) if checked else np.zeros((0, _MOST_VALUES), np.int64)
    return [problems for problems, _ in checked], counts


def _check(pair: MaskPair, table: ValueTable | None) -> tuple[list[Problem], Int64Array]:
    counts = np.zeros(_MOST_VALUES, dtype=np.int64)
    try:
        values = read_mask(pair.mask)
        size = upright_size(pair.image)
    except InputError as error:
        file, _, what = str(error).partition(": ")
        return [Problem(file, what, "mend the file or remove the pair")], counts
    if values.shape != size:
        what = _size_differs(values.shape, size)
        return [Problem(pair.mask, what, "save the mask at its image's size")], counts
    counts = np.bincount(values.ravel(), minlength=_MOST_VALUES)
    if table is not None:
        try:
            table.classes_of(np.flatnonzero(counts).astype(np.uint8))
        except InputError as error:
            mend = "mend the mask, name the classes in classes.txt, or ignore the value (data.init_args.ignored)"
            return [Problem(pair.mask, str(error), mend)], counts
    return [], counts


def _size_differs(mask: tuple[int, ...], image: tuple[int, ...]) -> str:
    return f"the mask has {mask[1]}x{mask[0]} pixels, its image {image[1]}x{image[0]}"


def _ranges(values: Sequence[int]) -> str:
    """0-11, 255."""
    ends: list[list[int]] = []
    for value in values:
        if ends and value == ends[-1][1] + 1:
            ends[-1][1] = value
        else:
            ends.append([value, value])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ends)
