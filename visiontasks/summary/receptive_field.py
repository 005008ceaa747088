"""Follows the receptive field of each tensor through the operators of a network.

Values computed from others whose field is the whole image have that field too, also a map that is multiplied by them
(squeeze and excitation). After an operator without a rule (windows cut out of the map, upsampling, rolling, sorting)
the field is unknown, until one is the whole image.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from visiontasks.library_internals import storage_id, tree_leaves
from visiontasks.ops.arithmetic import WHOLE, Span
from visiontasks.summary.positions import Operands, ReceptiveField, UnknownField, plain_dims
from visiontasks.summary.rules import CONSTANTS, rule_of


class ReceptiveFields:
    """Receptive fields of the tensors that are computed from an image.

    Args:
        image: (1, C, H, W).
    """

    def __init__(self, image: Tensor) -> None:
        self._fields: Any = WeakTensorKeyDictionary()
        self._spoiled: dict[
            int, Any
        ] = {}  # storages that were written to in part; held, so that no address is used again
        batch, channels, _, _ = plain_dims(image)
        height, width = image.shape[-2:]
        self._fields[image] = ReceptiveField((batch, channels, ((0, height),), ((1, width),)), (Span(), Span()))

    def of(self, tensor: Tensor) -> ReceptiveField | None:
        """A tensor's receptive field; None if it does not depend on the image."""
        if storage_id(tensor) in self._spoiled:
            return ReceptiveField(plain_dims(tensor), None)
        field: ReceptiveField | None = self._fields.get(tensor)
        return field

    def follow(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> None:
        """Set the field of an operator's output.

        Args:
            func: An overload of torch.ops.aten.
            args: Its arguments.
            kwargs: Its keyword arguments.
            output: Its output.
        """
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [(leaf, field) for leaf in leaves if (field := self.of(leaf)) is not None]
        if not known or func.overloadpacket in CONSTANTS:
            return
        operands = Operands(args, known, self.of)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._set(tensor, _after(func, operands, tensor), in_place=tensor is args[0])

    def _set(self, tensor: Tensor, field: ReceptiveField, *, in_place: bool) -> None:
        storage = tensor.untyped_storage()
        in_part = tensor.numel() * tensor.element_size() < storage.nbytes()
        if in_place and in_part and self.of(tensor) != field:
            self._spoiled[storage_id(tensor)] = storage
        self._fields[tensor] = field


def _after(func: Any, operands: Operands, output: Tensor) -> ReceptiveField:
    rule = rule_of(func)
    try:
        if rule is None:
            raise UnknownField
        return rule(operands, output)
    except (UnknownField, ValueError):
        knows_all = any(field.spans and all(s.size == WHOLE.size for s in field.spans) for _, field in operands.known)
        return ReceptiveField(plain_dims(output), (WHOLE, WHOLE) if knows_all else None)
