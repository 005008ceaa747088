"""Modules that stay in eval mode through every call of train(), and checksums of tensors that must not change."""

from collections.abc import Iterable, Iterator
from functools import partial
from zlib import crc32

import torch
from torch import Tensor, nn


def set_mode(module: nn.Module, *, trained: bool) -> None:
    """Put one module, without its children, into train mode, or into an eval mode that train() cannot end.

    A plain eval() is undone by the next `train()` of a module around it, in a training loop or in a user's code.
    """
    module.training = trained
    if trained:
        module.__dict__.pop("train", None)
    else:
        module.train = partial(_train_children, module)  # type: ignore[method-assign]  # of this module alone


def release(modules: Iterable[nn.Module]) -> None:
    """Let train() reach modules again."""
    for module in modules:
        module.__dict__.pop("train", None)


def frozen_tensors(module: nn.Module, within: Iterable[nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Parameters that get no gradient, and buffers of modules that `set_mode` keeps in eval mode, by name.

    Args:
        module: Gives the names.
        within: Those of its modules to search, each without its children.
    """
    modules = list(within)
    frozen = {id(p) for m in modules for p in m.parameters(recurse=False) if not p.requires_grad}
    frozen |= {id(b) for m in modules if "train" in m.__dict__ for b in m.buffers(recurse=False)}
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if id(tensor) in frozen:
            yield name, tensor


def checksum(tensor: Tensor) -> int:
    """CRC-32 of a tensor's values in index order, independent of memory layout and device."""
    return crc32(tensor.detach().reshape(-1).view(torch.uint8).cpu().numpy().data)


def _train_children(module: nn.Module, mode: bool = True) -> nn.Module:
    for child in module.children():
        child.train(mode)
    return module
