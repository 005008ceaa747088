"""Makes the heads that a recipe names, and refuses by its key one that does not fit."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from visiontasks.errors import InputError

Head = TypeVar("Head", bound=nn.Module)

HEAD = "model.init_args.head"  # as the heads' own errors name it


def make_head(key: str, factory: Callable[..., Head], *sizes: Any) -> Head:
    """Make a head, with errors by its own key.

    Args:
        key: The recipe's.
        factory: Makes it from the sizes.
        sizes: From the backbone and the data.

    Raises:
        InputError: If the recipe's values are wrong.
    """
    try:
        return factory(*sizes)
    except InputError as error:
        raise InputError(str(error).replace(f"{HEAD}.", f"{key}.")) from error


@torch.no_grad()
def check_head(key: str, head: nn.Module, in_features: int, expected: tuple[int, ...]) -> None:
    """Try a vector head on one vector.

    Args:
        key: The recipe's.
        head: Maps (B, in_features) to (B, *expected).
        in_features: Length of the vector.
        expected: Shape of the output without the batch.

    Raises:
        InputError: If its output has another shape, which could pass for the right one and be trained to nothing.
    """
    modes = [(module, module.training) for module in head.modules()]
    try:
        given = tuple(head.eval()(torch.zeros(1, in_features)).shape[1:])
    except (RuntimeError, ValueError) as error:
        name = type(head).__name__
        raise InputError(f"{key}: {name} takes no vectors of {in_features} features ({error})") from error
    finally:
        for module, training in modes:
            module.training = training
    if given != expected:
        raise InputError(f"{key}: {type(head).__name__} gives {given} for an image, expected {expected}")
