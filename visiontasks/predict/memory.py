"""How much memory a network takes for images that keep their size, measured on a small one."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from visiontasks.data.pipeline.geometry import place

SIDE = 256


@torch.inference_mode()
def bytes_per_pixel(predict: Callable[[dict[str, Any]], Any], device: torch.device) -> float:
    """Bytes of tensors that are there at once, at most, for each pixel of an image.

    Beside what is measured libraries take room for their own; of ResNets and U-Nets on a CPU all was 0 to 8 % more.

    Args:
        predict: A task's.
        device: Where it computes.
    """
    geometry = place((SIDE, SIDE), (SIDE, SIDE), "keep").row()
    image = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8, device=device)
    live = _Live()
    with live:
        predict({"image": image, "geometry": torch.from_numpy(geometry)[None]})
    return live.most / SIDE**2


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Counts the bytes of tensors that operators make, as long as they live.

    Attributes:
        most: At any time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.most: int = 0
        self._sizes: dict[int, int] = {}  # by address

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        return made

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in self._sizes:  # a view
            return
        self._sizes[address] = storage.nbytes()
        weakref.finalize(tensor, self._sizes.pop, address, None)
        self.most = max(self.most, sum(self._sizes.values()))
