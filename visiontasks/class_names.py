"""Comparison of class names in one Unicode form: é can be written as one character or as two."""

from collections.abc import Iterable
from unicodedata import normalize


def normalized(name: str) -> str:
    """A name in the composed form (NFC); archives from macOS use the decomposed one."""
    return normalize("NFC", name)


def same_names(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two lists hold the same names in the same order."""
    return [normalized(name) for name in names] == [normalized(name) for name in others]


def missing_names(names: Iterable[str], expected: Iterable[str]) -> list[str]:
    """The expected names that are missing."""
    present = set(map(normalized, names))
    return [name for name in expected if normalized(name) not in present]
