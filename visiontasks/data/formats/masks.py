"""Images with a mask of class indices in a file each: what values mean, pairing the files and checking them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from visiontasks.class_names import normalized
from visiontasks.data.formats.layouts import layout_hint
from visiontasks.data.formats.mask_values import Recoding
from visiontasks.data.pipeline.files import image_files, listed, natural_key
from visiontasks.data.pipeline.mask_pixels import Colour, Shown
from visiontasks.data.pipeline.problems import Problem
from visiontasks.data.pipeline.reader import UInt8Array, read_image, upright_size
from visiontasks.data.pipeline.sources import Annotation, Int64Array, Sample
from visiontasks.errors import InputError, MissingFileError
from visiontasks.ops.losses import IGNORED
from visiontasks.outputs.geometry import Size

NUM_VALUES = 256
AS_THEY_ARE = Recoding({})
_SEPARATORS = frozenset("_-. ")
_MEND_MISSING = "copy it there, or remove the pair"


class ValueTable:
    """Which class a value in a mask file means.

    Args:
        classes: Class index of each value that stands for one.
        ignored: Values that mean that the class is not known; 255 always does.
    """

    def __init__(self, classes: Mapping[int, int], ignored: Sequence[int] = ()) -> None:
        self.table = np.full(NUM_VALUES, -1, dtype=np.int16)
        self.table[[*classes]] = [*classes.values()]
        self.table[[*ignored, IGNORED]] = IGNORED

    def classes_of(self, values: UInt8Array) -> UInt8Array:
        """Class indices, 255 for ignored, in place of a file's values.

        Raises:
            InputError: If a value stands for no class.
        """
        mask = self.table[values]
        if mask.min(initial=0) < 0:
            wrong = [str(value) for value in np.unique(values[mask < 0])]
            known = ranges(np.flatnonzero(self.table >= 0).tolist())
            raise InputError(f"value(s) {listed(wrong)}, expected those of the classes and of ignored pixels: {known}")
        return mask.astype(np.uint8)


class MaskSource:
    """Images and masks, decoded when they are asked for.

    Args:
        images: Image files, (n,).
        masks: The mask file of each, (n,).
        table: What the masks' values mean.
        recoding: Reads them; as they are by default.
        max_16bit: Largest value of 16-bit images, as for `read_image`.
    """

    def __init__(
        self,
        images: Sequence[str],
        masks: Sequence[str],
        table: ValueTable,
        *,
        recoding: Recoding = AS_THEY_ARE,
        max_16bit: int | None = None,
    ) -> None:
        self.paths = np.array(images, dtype=np.str_)
        self.masks = np.array(masks, dtype=np.str_)
        self.table = table
        self.recoding = recoding
        self.max_16bit = max_16bit
        self.labels: Int64Array = np.zeros(len(images), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Sample:
        image = read_image(str(self.paths[index]), max_16bit=self.max_16bit)
        return {"image": image, "mask": self.mask(index, (image.shape[0], image.shape[1]))}

    def annotation(self, index: int) -> Annotation:
        """What a sample has beside its image, which is not decoded."""
        return {"mask": self.mask(index)}

    def mask(self, index: int, size: Size | None = None) -> UInt8Array:
        """Read a mask.

        Args:
            index: Row of the sample.
            size: Height and width that it has to have, if they are known.

        Returns:
            Class indices, 255 for ignored, (H, W).

        Raises:
            InputError: If it cannot be decoded, has another size, or values that are no class's.
        """
        path = str(self.masks[index])
        values = self.recoding.read(path)[0]
        if size is not None and values.shape != size:
            raise InputError(f"{path}: {_other_size(values.shape, size)}; save it at its image's size")
        try:
            return self.table.classes_of(values)
        except InputError as error:
            raise InputError(f"{path}: {error}; fix the mask") from error


@dataclass
class MaskedImage:
    """An image and its mask as they lie in their folders.

    Args:
        image: The image file; empty if it is missing.
        mask: The mask file; empty if it is missing.
        problems: Faults of the files.
    """

    image: str
    mask: str
    problems: list[Problem] = field(default_factory=list)
    value_counts: Int64Array = field(default_factory=lambda: np.zeros(NUM_VALUES, np.int64))
    """Pixels of each value in the mask, (256,); 0 if it could not be read."""
    shown: Shown = field(default_factory=Shown)
    """What the file's own values are shown in."""


def paired(images: Path, masks: Path, hidden: Counter[str] | None = None) -> list[MaskedImage]:
    """Pair the images of a folder with the masks of another by equal stem, in natural order; masks are not read.

    All masks may have one suffix more behind the stem, such as `_mask`.

    Args:
        images: The folder of images.
        masks: The folder of masks, with the same subfolders.
        hidden: Where folders and images that are passed over as hidden are counted, by kind.

    Returns:
        One for each stem, with a problem if it has not one file of each.

    Raises:
        MissingFileError: If a folder is not there.
        InputError: If there are other files than images in a folder, or no mask has the stem of an image.
    """
    of_image, of_mask = _by_stem(images, hidden), _by_stem(masks, hidden)
    if of_image and of_mask and not set(of_image) & set(of_mask):
        of_mask = _without_suffix(of_mask, set(of_image))
    found = []
    for stem in sorted({*of_image, *of_mask}, key=natural_key):
        pair = [of_image.get(stem, []), of_mask.get(stem, [])]
        image, mask = (files[0] if files else "" for files in pair)
        item = MaskedImage(image, mask)
        if not pair[0]:
            missing = images / f"{stem}.*"
            item.problems.append(Problem(item.mask, f"no image {missing}", "copy it there, or remove the mask"))
        if not pair[1]:
            missing = masks / f"{stem}.png"
            item.problems.append(Problem(item.image, f"no mask {missing}", "copy it there, or remove the image"))
        for files in pair:
            if len(files) > 1:
                item.problems.append(Problem(files[0], f"the stem of {listed(files[1:])} too", "rename or remove one"))
        found.append(item)
    return found


def read_masks(images: Iterable[MaskedImage], recoding: Recoding = AS_THEY_ARE) -> None:
    """Decode all masks, count their values, and note those that are damaged or not of their image's size."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(_read, recoding=recoding), images))


def check_shown(images: Iterable[MaskedImage]) -> None:
    """Refuse masks that show one colour as different values, or one value in different colours: their palettes differ.

    Raises:
        InputError: With two files.
    """
    value_of: dict[Colour, tuple[int, str]] = {}
    colour_of: dict[int, tuple[Colour, str]] = {}
    for image in images:
        for value, colour in image.shown.colours.items():
            known, file = value, ""
            if colour not in image.shown.repeated:
                known, file = value_of.setdefault(colour, (value, image.mask))
            if known != value:
                what = f"{_text(colour)} has the value {value} in {image.mask}, but {known} in {file}"
                raise InputError(_differ(what))
            if not image.shown.of_palette:
                continue
            other, file = colour_of.setdefault(value, (colour, image.mask))
            if other != colour:
                what = f"the value {value} is {_text(colour)} in {image.mask}, but {_text(other)} in {file}"
                raise InputError(_differ(what))


def _without_suffix(of_mask: Mapping[str, list[str]], stems: set[str]) -> dict[str, list[str]]:
    """The masks by their images' stems, where each has one suffix behind it: `_mask`, `-gt`."""
    first, (mask, *_) = next(iter(of_mask.items()))
    ends = [first.removeprefix(stem) for stem in stems if first.startswith(stem)]
    suffix = min(ends, key=len, default="")
    if suffix[:1] not in _SEPARATORS or not all(stem.endswith(suffix) for stem in of_mask):
        raise InputError(
            f"data.init_args.root: no mask has the stem of an image: {mask}, but no image {first}.*; expected masks "
            "named after their images, a.jpg and a.png, or a_mask.png with the same suffix for all: rename them"
        )
    return {stem.removesuffix(suffix): files for stem, files in of_mask.items()}


def _by_stem(folder: Path, hidden: Counter[str] | None) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise MissingFileError(
            f"no folder {folder}/: point --data.init_args.root at a folder with images/ and masks/, whose files have "
            f"equal stems{layout_hint(next(above for above in folder.parents if above.is_dir()))}"
        )
    found: dict[str, list[str]] = {}
    for path in image_files([folder], hidden)[0]:
        found.setdefault(normalized(str(Path(path).relative_to(folder).with_suffix(""))), []).append(path)
    return found


def _differ(what: str) -> str:
    return (
        f"data.init_args.root: the masks have palettes that differ, their values are not class indices: {what}; "
        'save class indices as PNGs of mode L, or name the class of each colour (data.init_args.values: {"0,0,0": 0, '
        '"255,255,255": 1})'
    )


def _text(colour: Colour) -> str:
    return f"the colour {','.join(map(str, colour))}"


def _read(item: MaskedImage, recoding: Recoding) -> None:
    if not (item.image and item.mask):
        return
    values = size = None
    try:
        values, item.shown = recoding.read(item.mask)
    except InputError as error:
        item.problems.append(Problem.of_error(item.mask, error, otherwise=_MEND_MISSING))
    try:
        size = upright_size(item.image)
    except InputError as error:
        item.problems.append(Problem.of_error(item.image, error, otherwise=_MEND_MISSING))
    if values is None or size is None:
        return
    if values.shape == size:
        item.value_counts = np.bincount(values.ravel(), minlength=NUM_VALUES)
    else:
        item.problems.append(Problem(item.mask, _other_size(values.shape, size), "save it at its image's size"))


def _other_size(mask: tuple[int, ...], image: tuple[int, ...]) -> str:
    return f"the mask has {mask[1]}x{mask[0]} pixels, but its image {image[1]}x{image[0]} (upright)"


def ranges(values: Sequence[int]) -> str:
    """Ascending values as text: 0-11, 255."""
    ends: list[list[int]] = []
    for value in values:
        if ends and value == ends[-1][1] + 1:
            ends[-1][1] = value
        else:
            ends.append([value, value])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ends)
