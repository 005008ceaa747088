"""Follows through the operators of a network what part of the image each position of each tensor sees.

What is computed from values that see the whole image sees it too, also a map that is multiplied by them (squeeze and
excitation). After an operator without a rule (windows cut out of the map, upsampling, rolling, sorting) it is unknown,
and stays so until something sees the whole image.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from visiontasks.library_internals import storage_id, tree_leaves
from visiontasks.ops.arithmetic import WHOLE, Span
from visiontasks.summary.positions import Operands, Seen, UnknownSight, plain_dims
from visiontasks.summary.rules import CONSTANTS, rule_of


class Sight:
    """What each tensor sees that an image leads to.

    Args:
        image: (1, C, H, W).
    """

    def __init__(self, image: Tensor) -> None:
        self._seen: Any = WeakTensorKeyDictionary()
        self._spoiled: dict[int, Any] = {}  # storages of which a part was written to; kept, so that none is taken again
        batch, channels, _, _ = plain_dims(image)
        height, width = image.shape[-2:]
        self._seen[image] = Seen((batch, channels, ((0, height),), ((1, width),)), (Span(), Span()))

    def of(self, tensor: Tensor) -> Seen | None:
        """What a tensor sees; None if it does not depend on the image."""
        if storage_id(tensor) in self._spoiled:
            return Seen(plain_dims(tensor), None)
        seen: Seen | None = self._seen.get(tensor)
        return seen

    def follow(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """Note what the output of an operator sees.

        Args:
            func: An overload of torch.ops.aten.
            args: Its arguments.
            kwargs: The others.
            output: What it gave.
        """
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [(leaf, seen) for leaf in leaves if (seen := self.of(leaf)) is not None]
        if not known or func.overloadpacket in CONSTANTS:
            return
        operands = Operands(args, known, self.of)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._note(tensor, _after(func, operands, tensor), in_place=tensor is args[0])

    def _note(self, tensor: Tensor, seen: Seen, *, in_place: bool) -> None:
        storage = tensor.untyped_storage()
        in_part = tensor.numel() * tensor.element_size() < storage.nbytes()
        if in_place and in_part and self.of(tensor) != seen:
            self._spoiled[storage_id(tensor)] = storage
        self._seen[tensor] = seen


def _after(func: Any, operands: Operands, output: Tensor) -> Seen:
    rule = rule_of(func)
    try:
        if rule is None:
            raise UnknownSight
        return rule(operands, output)
    except (UnknownSight, ValueError):
        knows_all = any(seen.spans and all(s.size == WHOLE.size for s in seen.spans) for _, seen in operands.known)
        return Seen(plain_dims(output), (WHOLE, WHOLE) if knows_all else None)
