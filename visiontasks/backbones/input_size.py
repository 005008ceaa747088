"""Which image sizes a network takes, tested rather than read from a flag, and how timm builds it for another one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers.format import Format
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.library_internals import timm_arguments

Size = tuple[int, int]  # height, width
ODD = 13, 29
"""Added to height and width, for sides that no stride, patch or window divides."""
COMMON_STRIDES = 32, 64
FAULTS = (AssertionError, IndexError, RuntimeError, ValueError)
"""What networks raise for images of a size that they cannot take."""


def input_size(backbone: nn.Module) -> Size:
    """Height and width in pixels of the images that a backbone was built for."""
    built: Any = timm_arguments(backbone).get("img_size")
    if built is None:
        built = getattr(backbone, "pretrained_cfg")["input_size"][-2:]  # noqa: B009
    height, width = (built, built) if isinstance(built, int) else built
    return int(height), int(width)


def takes_any_size(backbone: nn.Module) -> bool:
    """Whether a backbone takes images of any size, as convolutional ones do; most vision transformers do not."""
    height, width = input_size(backbone)
    return not size_fault(backbone, (height + ODD[0], width + ODD[1]))


@torch.no_grad()
def size_fault(backbone: nn.Module, size: Size) -> str:
    """Try a backbone on an image of a size, on its own device.

    Args:
        backbone: A timm network of either view; not changed.
        size: Height and width in pixels.

    Returns:
        Why it cannot take such images; empty if it can.
    """
    fault = _patch_fault(backbone, size)
    if fault:
        return fault
    modes = [(module, module.training) for module in backbone.modules()]
    like = next(backbone.parameters(), torch.empty(0))
    image = torch.zeros(1, int(getattr(backbone, "in_chans", 3)), *size, dtype=like.dtype, device=like.device)
    try:
        backbone.eval()(image)
    except FAULTS as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise
        return str(error).strip().partition("\n")[0] or type(error).__name__
    finally:
        for module, training in modes:
            module.training = training
    return ""


def sized_arguments(build: Callable[[dict[str, Any]], nn.Module], size: Size) -> dict[str, Any]:
    """Arguments of timm.create_model by which a network takes images of a size.

    None where it takes them as it is, or is built for them; else `img_size`, by which timm also resamples position
    embeddings and relative position tables of pretrained weights.

    Args:
        build: Builds the network, on the meta device, with further arguments.
        size: Height and width in pixels.

    Raises:
        InputError: If it cannot take such images; the message proposes the nearest size that it can.
    """
    plain = build({})
    if size == input_size(plain):
        return {}
    fault = size_fault(plain, size)
    if not fault:
        return {}
    if _builds_for(build, size):
        return {"img_size": size}
    if size_fault(plain, input_size(plain)):  # an operator is missing on the meta device
        return {}
    proposed = next(
        (near for near in _near_sizes(plain, size) if not size_fault(plain, near) or _builds_for(build, near)),
        input_size(plain),
    )
    raise size_error(size, fault, proposed)


def size_error(size: Size, reason: str, proposed: Size) -> InputError:
    """The error for images of a size that a backbone cannot take."""
    side = str(proposed[0]) if proposed[0] == proposed[1] else f"[{proposed[0]}, {proposed[1]}]"
    height, width = size
    return InputError(
        f"the backbone cannot take images of {f'{height}x' if height != width else ''}{width} px ({reason}): set "
        f"data.init_args.image_size to {side}"
    )


@contextmanager
def explained_size(backbone: nn.Module, image: Tensor) -> Iterator[None]:
    """Turn what a backbone raises for images of a size that it cannot take into an InputError with the size to set.

    Args:
        backbone: Is run within.
        image: (B, C, H, W).

    Raises:
        InputError: If the size is the reason.
    """
    try:
        yield
    except FAULTS as error:
        if isinstance(error, InputError) or not hasattr(backbone, "pretrained_cfg"):
            raise
        size, own = (image.shape[-2], image.shape[-1]), input_size(backbone)
        fault = size_fault(backbone, size) if size != own else ""
        if not fault or size_fault(backbone, own):
            raise
        raise size_error(size, fault, own) from error


def vary_size(backbone: nn.Module) -> Callable[[], None]:
    """Let plain vision transformers resample their position embeddings for each image of another size.

    As timm builds them with `dynamic_img_size`; images of their own size give what they gave before.

    Returns:
        What lets them take their own size only again.
    """
    found: list[Any] = [
        module
        for module in backbone.modules()
        if isinstance(module, VisionTransformer) and type(module.patch_embed) is PatchEmbed
    ]
    fixed = [module for module in found if not module.dynamic_img_size]
    _set_dynamic(fixed, dynamic=True)
    return lambda: _set_dynamic(fixed, dynamic=False)


def _set_dynamic(transformers: list[Any], *, dynamic: bool) -> None:
    for transformer in transformers:
        embed = transformer.patch_embed
        transformer.dynamic_img_size = dynamic
        embed.strict_img_size = embed.flatten = not dynamic
        embed.output_fmt = Format.NHWC if dynamic else Format.NCHW


def refuse_other_sizes(backbone: nn.Module) -> None:
    """Let a vision transformer refuse images of another size by an InputError, where timm asserts."""
    embed = _patch_embed(backbone)
    if embed is not None:
        embed.register_forward_pre_hook(_check_size)


def _check_size(embed: PatchEmbed, inputs: tuple[Tensor, ...]) -> None:
    height, width = inputs[0].shape[-2:]
    if embed.img_size is not None and embed.strict_img_size and (height, width) != embed.img_size:
        raise size_error((height, width), _built_for(embed.img_size), embed.img_size)


def _built_for(size: Size) -> str:
    return f"it was built for {size[0]}x{size[1]}"


def _patch_embed(backbone: nn.Module) -> PatchEmbed | None:
    """The module that cuts images into patches."""
    in_chans = getattr(backbone, "in_chans", 3)
    found = (module for module in backbone.modules() if isinstance(module, PatchEmbed))
    return next((each for each in found if each.proj.in_channels == in_chans), None)


def _patch_fault(backbone: nn.Module, size: Size) -> str:
    """What is wrong with a size for a vision transformer's patches; empty for other networks.

    Where patches do not cover an image, timm would ignore its right and lower border silently.
    """
    embed = _patch_embed(backbone)
    if embed is None:
        return ""
    height, width = embed.patch_size
    if not embed.dynamic_img_pad and (size[0] % height or size[1] % width):
        return f"not a multiple of its patches of {height}x{width} px"
    own = embed.img_size
    return _built_for(own) if own is not None and embed.strict_img_size and own != size else ""


def _builds_for(build: Callable[[dict[str, Any]], nn.Module], size: Size) -> bool:
    try:
        return not size_fault(build({"img_size": size}), size)
    except InputError:  # it takes no img_size
        return False


def _near_sizes(backbone: nn.Module, size: Size) -> Iterator[Size]:
    embed = _patch_embed(backbone)
    patches = [max(embed.patch_size)] if embed is not None else []
    for step in (*patches, *COMMON_STRIDES):
        height, width = (max(step, step * round(side / step)) for side in size)
        yield height, width
