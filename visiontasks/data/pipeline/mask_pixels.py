"""What the pixels of an opened mask file are: class indices, or the colours that stand for them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import ImageFile

from visiontasks.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

LARGEST_INDEX = 255
_INDEX_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
_COLOUR_MODES = ("L", "P", "1", "RGB", "RGBA", "LA", "PA")
_BLACK_AND_WHITE = [[0, 0, 0], [255, 255, 255]]
_WHITE = (255, 255, 255)
_MOST_NAMED = 8


@dataclass(frozen=True)
class Shown:
    """Colours that a mask file shows some of its values in, by which the masks of a dataset are compared.

    Args:
        colours: By value; of a mask without a palette white at most.
        of_palette: Whether the colours are a palette's, which could be any.
        repeated: Colours that several entries of the palette have, so that they tell nothing about a value.
    """

    colours: dict[int, Colour] = field(default_factory=dict)
    of_palette: bool = False
    repeated: frozenset[Colour] = frozenset()


def class_indices(image: ImageFile.ImageFile) -> tuple[UInt8Array, Shown]:
    """Class indices of a mask that is opened, but not loaded yet.

    Of a palette the indices are taken, so that its colours may be any; of a palette of greys the greys, since writers
    sort and cut such palettes as each image needs them. Black and white as 0 and 1 are indices.

    Returns:
        Values, (H, W), not turned upright; and what they are shown in.

    Raises:
        InputError: If it has no class indices, or PIL would scale or invert them; without the file's name.
    """
    _check_file(image)
    _check_indices(image)
    image.load()
    stored = np.asarray(image)
    if stored.min() < 0 or stored.max() > LARGEST_INDEX:
        raise InputError(
            f"values from {stored.min()} to {stored.max()}, expected 0 to {LARGEST_INDEX}; save class indices"
        )
    values = stored.astype(np.uint8)
    if image.mode == "P":
        return _of_palette(values, np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3))
    white = 1 if image.mode == "1" else LARGEST_INDEX
    return values, Shown({white: _WHITE} if (values == white).any() else {})


def colour_codes(image: ImageFile.ImageFile) -> npt.NDArray[np.uint32]:
    """The colour of each pixel of a mask that is opened, but not loaded yet, as 0xRRGGBB.

    Returns:
        Codes, (H, W), not turned upright.

    Raises:
        InputError: If it has no colours, or transparent ones; without the file's name.
    """
    _check_file(image)
    if image.mode not in _COLOUR_MODES:
        raise InputError(f"mode {image.mode}, expected colours (RGB); save the mask as such a PNG")
    image.load()
    if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError("transparent pixels, whose colour is not known; save the mask without transparency")
    rgb = np.asarray(image.convert("RGB")).astype(np.uint32)
    return np.asarray(rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2], np.uint32)


def colour_name(code: int) -> str:
    """A colour as `data.init_args.values` has it: 128,0,0."""
    return f"{code >> 16},{code >> 8 & 255},{code & 255}"


def _check_file(image: ImageFile.ImageFile) -> None:
    if image.format in ("JPEG", "MPO"):
        raise InputError("a JPEG, whose compression changes values; save the mask as PNG")
    if getattr(image, "is_animated", False):
        raise InputError("several frames, expected one mask; save it as PNG")


def _check_indices(image: ImageFile.ImageFile) -> None:
    if image.mode not in _INDEX_MODES:
        raise InputError(
            f"has colours or floats (mode {image.mode}), expected one channel of class indices (mode L or P); "
            f"save the mask as such a PNG{_colours_of(image)}"
        )
    for tile in image.tile:
        packing = str(tile[3])
        bits = next((bits for bits in (2, 4) if f"L;{bits}" in packing), None)
        if bits:
            raise InputError(
                f"grey of {bits} bits, stored as 0 to {2**bits - 1} and shown as 0 to 255 in steps of "
                f"{255 // (2**bits - 1)}, so that the class indices are not known; save the mask with 8 bits"
            )
        if "L;I" in packing:
            raise InputError("grey in which 0 is white, so that the class indices are not known; save 0 as black")
        if tile[0].startswith("ppm") and isinstance(tile[3], tuple) and tile[3][1] not in (LARGEST_INDEX, 65535):
            raise InputError(f"a largest value of {tile[3][1]}, by which PIL scales; save the mask as PNG")


def _colours_of(image: ImageFile.ImageFile) -> str:
    """The colours, for `data.init_args.values`."""
    if image.mode not in _COLOUR_MODES:
        return ""
    image.load()
    found = image.convert("RGB").getcolors(_MOST_NAMED)
    codes = sorted(int.from_bytes(bytes(colour)) for _, colour in found or [])  # type: ignore[arg-type]
    here = f"here {' and '.join(map(colour_name, codes))}" if codes else f"here more than {_MOST_NAMED}"
    return f" (data.init_args.values can name the class of each colour, {here})"


def _of_palette(stored: UInt8Array, palette: UInt8Array) -> tuple[UInt8Array, Shown]:
    """Indices, or greys where the palette has nothing else."""
    table = np.zeros((LARGEST_INDEX + 1, 3), np.uint8)
    table[: len(palette)] = palette
    used = np.flatnonzero(np.bincount(stored.ravel(), minlength=len(table))).tolist()
    shown: dict[int, Colour] = {value: tuple(table[value].tolist()) for value in used}
    is_grey = bool((palette == palette[:, :1]).all())
    is_binary = palette[:2].tolist() == _BLACK_AND_WHITE and not palette[2:].any() and max(used) < 2
    if is_grey and not is_binary and len({*shown.values()}) == len(used):
        return table[:, 0][stored], Shown({colour[0]: colour for colour in shown.values()})
    entries = int(np.flatnonzero(table.any(1)).max(initial=0)) + 1  # behind them there is only padding
    colours, times = np.unique(table[: max(entries, *used)], axis=0, return_counts=True)
    repeated = frozenset(tuple(colour) for colour in colours[times > 1].tolist())
    return stored, Shown(shown, of_palette=True, repeated=repeated)
