"""A network entered in the middle: what one of its modules says is known, and what comes before it is not computed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError

Compute = Callable[[Tensor], Sequence[Tensor]]

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Entrance:
    """Stands behind a module, notes what it says, and can say something else in its place.

    The network runs its own code in its own modes, so that any network can be entered, in training too. Entered, it is
    given what the module says of a batch, and for an image the stand-in of `find_stand_in`.

    Args:
        module: A part of a network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.given: Tensor | None = None
        """What the module is to say."""
        self.said: Tensor | None = None
        """What it said last; None if that was no tensor, or nobody listened."""
        self.listens = True
        """Whether what it says is noted, which takes a copy."""
        self._stops = False
        self._hook = module.register_forward_hook(self._pass)

    def reach(self, compute: Compute, image: Tensor) -> Tensor:
        """What the module says of images; what comes behind it is not run.

        Args:
            compute: Runs the network.
            image: Images (B, C, H, W).
        """
        self._stops = self.listens = True
        try:
            compute(image)
        except _ReachedError:
            pass
        finally:
            self._stops = False
        assert self.said is not None
        return self.said

    def close(self) -> None:
        """Leave the module as it was."""
        self._hook.remove()

    def _pass(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self.given is not None:
            return self.given
        self.said = (
            output.clone() if self.listens and isinstance(output, Tensor) else None
        )  # the next module may write into it
        if self._stops:
            raise _ReachedError
        return None


def find_stand_in(compute: Compute, module: nn.Module, image: Tensor) -> Tensor:
    """Images that cost next to nothing, with which a network can be entered behind a module: none, or one.

    That this gives what the whole network gives, to the last bit, is tried; the network must be in eval mode, and only
    what is trained may require a gradient.

    Args:
        compute: Runs the network.
        module: A part of it.
        image: Images to try it with, (B, C, H, W).

    Returns:
        Zeros, (0, C, H, W), or (1, C, H, W) if the network cannot run on an empty batch.

    Raises:
        InputError: If the network cannot be entered there, with the reason.
    """
    entrance = Entrance(module)
    try:
        whole, known = compute(image), entrance.said
        if known is None or len(known) != len(image):
            raise InputError("it gives no tensor with a row for each image")
        if known.requires_grad:
            raise InputError("a part of what is trained comes before it")
        for number in (0, 1):
            stand_in = torch.zeros_like(image[:number])
            entrance.given = known.clone()
            if _same(compute, stand_in, whole):
                return stand_in
        raise InputError("what comes behind it needs more than its output")
    finally:
        entrance.close()


@torch.no_grad()
def depends_on_place(compute: Compute, modules: Iterable[nn.Module], image: Tensor) -> bool:
    """Whether the last digits of what a network says of an image depend on the image's place in the batch.

    A kernel may sum the end of a batch in another order than the rest. Which ones do depends on the processor and on
    PyTorch's version, so it is tried, with the batch rolled by one image and reversed. Outputs of all modules are
    compared, for in one batch a difference may be rounded away by what follows.

    Args:
        compute: Runs the network, in eval mode.
        modules: Its parts.
        image: Images (B, C, H, W).
    """
    modules = list(modules)
    places = torch.arange(len(image), device=image.device)
    expected = _outputs(compute, modules, image)
    for order in (places.roll(1), places.flip(0)):
        found = _outputs(compute, modules, image[order])
        if not all(a[order].equal(b) for a, b in zip(expected, found, strict=True)):
            return True
    return False


def _outputs(compute: Compute, modules: Iterable[nn.Module], image: Tensor) -> list[Tensor]:
    """For each tensor with a row for each image, that modules and the network give, the sum of a row's bits, (B,)."""
    found: list[Tensor] = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim and len(output) == len(image):
            bits = output.view(_INTEGERS[output.element_size()])
            found.append(bits.reshape(len(image), -1).sum(1))

    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        for output in compute(image):
            note(nn.Identity(), (), output)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class _ReachedError(Exception):
    pass


def _same(compute: Compute, image: Tensor, expected: Sequence[Tensor]) -> bool:
    try:
        found = compute(image)
    except Exception:  # noqa: BLE001 (whatever a network raises for a batch that it was not made for)
        return False
    return all(a.equal(b) for a, b in zip(found, expected, strict=True))
