"""Figures as people read them. Imports nothing heavy."""


def in_units(number: float, of: str = "") -> str:
    """A count with three digits and its unit: 290 K, 1.85 G, 12.8 MB; below 1000 as it is."""
    units = ["", "K", "M", "G", "T"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    unit = units[0]
    digits = 0 if not unit or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:,.{digits}f} {unit}{of}".strip()


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 box, 2 boxes.

    Args:
        number: How many.
        noun: One of them.
        plural: Several of them; by default the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
