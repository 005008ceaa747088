"""Runs a network from the middle: the output of one of its modules is known, and what comes before is not computed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError

Compute = Callable[[Tensor], Sequence[Tensor]]

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class FeatureInjection:
    """Records a module's output, and can replace it by a known one.

    The network runs its own code in its own modes, so that this works with any network, in training too. With a known
    output injected, the image may be the placeholder of `find_placeholder`.

    Args:
        module: A part of a network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.injected: Tensor | None = None
        """The output that replaces the module's own."""
        self.output: Tensor | None = None
        """The module's last output; None if it was not a tensor, or not recorded."""
        self.records = True
        """Whether outputs are recorded, which takes a copy."""
        self._stops = False
        self._hook = module.register_forward_hook(self._pass)

    def compute_output(self, compute: Compute, image: Tensor) -> Tensor:
        """The module's output for images; the rest of the network is not run.

        Args:
            compute: Runs the network.
            image: Images (B, C, H, W).
        """
        self._stops = self.records = True
        try:
            compute(image)
        except _ReachedError:
            pass
        finally:
            self._stops = False
        assert self.output is not None
        return self.output

    def close(self) -> None:
        """Leave the module as it was."""
        self._hook.remove()

    def _pass(self, module: nn.Module, args: Any, output: Any) -> Any:
        if self.injected is not None:
            return self.injected
        # a copy, since the next module may work in place
        self.output = output.clone() if self.records and isinstance(output, Tensor) else None
        if self._stops:
            raise _ReachedError
        return None


def find_placeholder(compute: Compute, module: nn.Module, image: Tensor) -> Tensor:
    """The cheapest batch of images with which a network runs while a module's output is injected: none, or one.

    It is tested that the result equals the whole network's to the last bit. The network must be in eval mode, and only
    trained parameters may require a gradient.

    Args:
        compute: Runs the network.
        module: A part of it.
        image: Images to test with, (B, C, H, W).

    Returns:
        Zeros, (0, C, H, W), or (1, C, H, W) if the network cannot run on an empty batch.

    Raises:
        InputError: If the network cannot be run from there, with the reason.
    """
    injection = FeatureInjection(module)
    try:
        whole, known = compute(image), injection.output
        if known is None or len(known) != len(image):
            raise InputError("its output is not a tensor with a row for each image")
        if known.requires_grad:
            raise InputError("a trained part comes before it")
        for number in (0, 1):
            placeholder = torch.zeros_like(image[:number])
            injection.injected = known.clone()
            if _same(compute, placeholder, whole):
                return placeholder
        raise InputError("the modules after it need more than its output")
    finally:
        injection.close()


@torch.no_grad()
def depends_on_place(compute: Compute, modules: Iterable[nn.Module], image: Tensor) -> bool:
    """Whether the last digits of a network's output for an image depend on the image's place in the batch.

    A kernel may sum the end of a batch in another order than the rest. Which ones do depends on the processor and on
    PyTorch's version, so it is tested with the batch rolled by one image and reversed. Outputs of all modules are
    compared, since later modules may round a difference away in one batch and not in another.

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
    """For each output of a module or of the network that has a row for each image, the sum of a row's bits, (B,)."""
    found: list[Tensor] = []

    def add(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim and len(output) == len(image):
            found.append(_bit_sums(output))

    hooks = [module.register_forward_hook(add) for module in modules]
    try:
        for output in compute(image):
            add(nn.Identity(), (), output)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _bit_sums(output: Tensor) -> Tensor:
    """The sum of each row's bits, int64 (B,), read once in the order of the memory and 8 bytes at a time.

    A copy in another order and a sum of short integers would take several times as long as the network.
    """
    inner = sorted(range(1, output.ndim), key=output.stride, reverse=True)
    rows = output.detach().permute(0, *inner).flatten(1).contiguous() if inner else output.detach()[:, None]
    size = rows.element_size()
    if not rows.numel() or rows.shape[1] * size % 8:
        return rows.view(_INTEGERS[size]).sum(1)
    return (rows.clone() if rows.storage_offset() * size % 8 else rows).view(torch.int64).sum(1)


class _ReachedError(Exception):
    pass


def _same(compute: Compute, image: Tensor, expected: Sequence[Tensor]) -> bool:
    try:
        found = compute(image)
    except Exception:  # noqa: BLE001 (a network may raise anything for a batch size that it was not written for)
        return False
    return all(a.equal(b) for a, b in zip(found, expected, strict=True))
