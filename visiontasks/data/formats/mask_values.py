"""The option `values` of masks: which class index a value, or a colour, of a mask file stands for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.mask_pixels import LARGEST_INDEX, Shown, UInt8Array, colour_name
from visiontasks.data.pipeline.reader import read_mask_and_colours, read_mask_colours
from visiontasks.errors import InputError
from visiontasks.ops.losses import IGNORED

_EXPECTED = (
    'expected values such as {0: 0, 128: 1, 255: 2}, or colours such as {"0,0,0": 0, "128,0,0": 1} or {"#800000": 1}'
)


@dataclass(frozen=True)
class Recoding:
    """Reads masks, and puts class indices in place of some values, or of all colours.

    Args:
        targets: Class index, or 255 for ignored, of each value (0 to 255) or colour (0xRRGGBB).
        of_colours: Whether they are colours. Then every colour of a mask has to be one of them, while a value that is
            none of them stays as it is.
    """

    targets: Mapping[int, int]
    of_colours: bool = False

    def read(self, path: str) -> tuple[UInt8Array, Shown]:
        """Read a mask.

        Returns:
            Class indices, (H, W); and what the file's own values are shown in, nothing where colours are read.

        Raises:
            InputError: If it cannot be read, has an unknown colour, or a value that another one is mapped onto.
        """
        if self.of_colours:
            return self._of_colours(path), Shown()
        values, shown = read_mask_and_colours(path)
        if not self.targets:
            return values, shown
        self._check_collision(path, values)
        table = np.arange(LARGEST_INDEX + 1, dtype=np.uint8)
        table[[*self.targets]] = [*self.targets.values()]
        return np.asarray(table[values], np.uint8), shown

    def _of_colours(self, path: str) -> UInt8Array:
        codes = read_mask_colours(path)
        known = np.array(sorted(self.targets), np.uint32)
        position = np.searchsorted(known, codes).clip(max=len(known) - 1)
        strange = known[position] != codes
        if strange.any():
            found, counts = np.unique(codes[strange], return_counts=True)
            order = np.argsort(-counts, kind="stable").tolist()
            names = [f"{colour_name(int(found[i]))} ({counts[i]:,} pixels)" for i in order]
            raise InputError(
                f"{path}: {len(names)} colour(s) that data.init_args.values does not name: "
                f"{listed(names)}; name them there (255 means no class), or save the mask without them"
            )
        targets = np.array([self.targets[code] for code in known.tolist()], np.uint8)
        return np.asarray(targets[position], np.uint8)

    def _check_collision(self, path: str, values: UInt8Array) -> None:
        taken = {target: value for value, target in self.targets.items() if target not in self.targets}
        taken.pop(IGNORED, None)
        for value in np.unique(values[np.isin(values, [*taken])]).tolist():
            raise InputError(
                f"{path}: has the value {value} too, onto which data.init_args.values maps {taken[value]}; add what "
                f"it is there ({value}: {value} if it is the same class)"
            )


def parse_values(given: Mapping[int | str, int | None] | None) -> Recoding:
    """The option as a recipe has it.

    Raises:
        InputError: If a value, a colour or a class index is none, or given twice.
    """
    targets: dict[int, int] = {}
    kinds = set()
    for name, target in (given or {}).items():
        if target is None:  # what YAML makes of {128,0,0: 1} and of {255:1}
            raise InputError(
                f"data.init_args.values: {name} has no class index, {_EXPECTED}, with quotes around colours and a "
                "space behind each colon"
            )
        source, is_colour = _source(name)
        if isinstance(target, bool) or not 0 <= target <= IGNORED:
            raise InputError(f"data.init_args.values: {name}: {target}, expected a class index of 0 to {IGNORED}")
        if source in targets and is_colour in kinds:
            raise InputError(f"data.init_args.values: {name} is given twice, expected each value or colour once")
        targets[source] = target
        kinds.add(is_colour)
    if len(kinds) > 1:
        raise InputError(f"data.init_args.values: {listed(list(map(str, given or {})))}: {_EXPECTED}, not both")
    return Recoding(targets, of_colours=kinds == {True})


def proposal(
    values: Sequence[int],
    classes: Sequence[int] | None = None,
    *,
    given: Recoding = Recoding({}),
) -> str:
    """The option that makes values the classes 0, 1, 2, ..., or given ones, in their order.

    Args:
        values: Values as they are read now.
        classes: Class index of each.
        given: How masks are read now, which the option replaces.
    """
    wanted = dict(zip(values, range(len(values)) if classes is None else classes, strict=True))
    targets = {source: wanted.get(target, target) for source, target in given.targets.items()}
    if given.of_colours:
        pairs = [f'"{colour_name(source)}": {target}' for source, target in targets.items()]
    else:
        targets |= {value: target for value, target in wanted.items() if value != target and value not in targets}
        pairs = [f"{source}: {target}" for source, target in sorted(targets.items())]
    return f"data.init_args.values: {{{', '.join(pairs)}}}"


def _source(name: int | str) -> tuple[int, bool]:
    """A value, or the code of a colour."""
    text = str(name).strip()
    parts = text.replace(",", " ").split()
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return int(text[1:], 16), True
    numbers = [int(part) for part in parts if part.isdecimal() and part.isascii()]
    if len(numbers) == len(parts) and all(number <= LARGEST_INDEX for number in numbers):
        if len(numbers) == 3:
            return int.from_bytes(bytes(numbers)), True
        if len(numbers) == 1:
            return numbers[0], False
    raise InputError(f"data.init_args.values: {name!r}, {_EXPECTED}")
