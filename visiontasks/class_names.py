"""Names of classes as they are compared: Unicode writes é as one character or as two, and both are one name."""

from collections.abc import Iterable
from unicodedata import normalize


def normalized(name: str) -> str:
    """A name in the composed form (NFC); files of a macOS archive have the decomposed one."""
    return normalize("NFC", name)


def same_names(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two lists hold the same names in the same order."""
    return [normalized(name) for name in names] == [normalized(name) for name in others]


def missing_names(names: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Those of the expected names that are not among the names."""
    there = set(map(normalized, names))
    return [name for name in expected if normalized(name) not in there]
