"""What a caller gives to a predictor, as single images: files, folders, globs, arrays, tensors, images of PIL."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visiontasks.errors import InputError
from visiontasks.outputs.base import UInt8Array
from visiontasks.predict.image_files import find_images

PathInput = str | os.PathLike[str]
ImageInput = PathInput | UInt8Array | Tensor | Image.Image
"""A file, folder or glob; pixels of one image or of several, see `single_images`; an image of PIL."""
SingleImage = str | UInt8Array | Image.Image | InputError
"""A file, RGB pixels uint8 (H, W, 3), an image of PIL, or why something cannot be taken."""

EXPECTED = (
    "expected files, folders or globs, uint8 arrays (H, W, 3), tensors (3, H, W) of uint8 or of floats in 0..1, images "
    "of PIL, or a list of these"
)


def single_images(given: ImageInput | Iterable[ImageInput]) -> Iterator[SingleImage]:
    """The images that a caller gives, in order; taken one at a time.

    Folders are searched at any depth. Arrays are RGB, uint8 (H, W, 3) or (B, H, W, 3), which cannot be checked: OpenCV
    reads BGR, `image[..., ::-1]` turns it. Tensors are (3, H, W) or (B, 3, H, W), of uint8, or of floats in 0..1, which
    are rounded to 8 bits as those of an evaluation are. Pixels are copied, so that their owner may reuse the memory.

    Args:
        given: One of these, or any iterable of them.

    Raises:
        InputError: If what is given alone cannot be taken, or is missing; in an iterable the error stands in its place.
    """
    if isinstance(given, str | os.PathLike):  # unlike in a list, one that is missing is an error of the call
        yield from (image.path for image in find_images([os.fspath(given)]))
    elif isinstance(given, np.ndarray | Tensor | Image.Image):
        yield from _taken(given)
    elif isinstance(given, dict | bytes) or not isinstance(given, Iterable):
        raise InputError(f"got {type(given).__name__}, {EXPECTED}")
    else:
        for each in given:
            try:
                yield from _taken(each)
            except InputError as error:
                yield error


def _taken(given: Any) -> Iterator[SingleImage]:
    if isinstance(given, str | os.PathLike):
        yield from _files(os.fspath(given))
    elif isinstance(given, np.ndarray):
        yield from _arrays(given)
    elif isinstance(given, Tensor):
        yield from _tensors(given)
    elif isinstance(given, Image.Image):
        yield given
    else:
        raise InputError(f"got {type(given).__name__}, {EXPECTED}")


def _files(name: str) -> Iterator[str]:
    path = Path(name)
    if path.is_dir() or (glob.has_magic(name) and not path.exists()):
        yield from (image.path for image in find_images([name]))
    else:
        yield name  # also of a file that is missing, which its reader reports by its name


def _arrays(array: Any) -> Iterator[UInt8Array]:
    what = f"got an array {array.dtype} {array.shape}, expected RGB uint8 (H, W, 3), or (B, H, W, 3) for several images"
    if array.ndim in (3, 4) and array.shape[-1] != 3 and array.shape[-3] == 3:
        raise InputError(f"{what}: its channels come first, pass np.moveaxis(image, -3, -1)")
    if array.ndim in (3, 4) and array.shape[-1] == 4:
        raise InputError(f"{what}: of four channels drop the last one if it is alpha, image[..., :3]")
    if array.ndim == 2 or (array.ndim in (3, 4) and array.shape[-1] == 1):
        raise InputError(f"{what}: repeat the grey channel, np.stack([image] * 3, axis=-1)")
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(what)
    if array.dtype != np.uint8:
        way = ": scale to 0..255 and round, (255 * image).round().astype(np.uint8), if its values are in 0..1"
        raise InputError(what + way * (array.dtype.kind == "f"))
    yield from (np.array(image) for image in (array if array.ndim == 4 else [array]))


def _tensors(tensor: Tensor) -> Iterator[UInt8Array]:
    what = f"got a tensor {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}, expected RGB (3, H, W), or "
    what += "(B, 3, H, W) for several images, of uint8, or of floats in 0..1"
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3 or 0 in tensor.shape:
        is_last = tensor.ndim in (3, 4) and tensor.shape[-1] == 3
        raise InputError(what + ": its channels come last, pass image.movedim(-1, -3)" * is_last)
    pixels = tensor.detach().cpu()
    if pixels.is_floating_point():
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            way = "pass it before its normalization, which the run does itself" if low < 0 else "divide it by 255"
            raise InputError(f"{what}: its values are {low:.3g} to {high:.3g}; {way}")
        pixels = (pixels.float() * 255).round().byte()
    elif pixels.dtype != torch.uint8:
        raise InputError(f"{what}: pass image.to(torch.uint8) if its values are 0..255")
    for image in pixels if pixels.ndim == 4 else [pixels]:
        yield np.array(np.moveaxis(image.numpy(), 0, -1), order="C")
