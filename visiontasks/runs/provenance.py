"""What a checkpoint stores beside its weights: recipe, classes, how images are prepared, versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from visiontasks.errors import InputError

ENTRY = "visiontasks"
"""Key of a checkpoint."""
PACKAGES = ("visiontasks", "torch", "torchvision", "lightning", "timm", "albumentations", "torchmetrics")


@dataclass(frozen=True)
class Provenance:
    """The entry "visiontasks" of a checkpoint.

    Args:
        recipe: The resolved recipe, YAML.
        class_names: By class index.
        image_size: Height and width in pixels of the network's input.
        resize: How an image gets that size, see `visiontasks.outputs.geometry`.
        mean: Of each channel of the network's input, for images scaled to 0..1.
        std: The same.
        versions: Of packages, by name; empty if unknown.
        processes: Training processes; None if unknown.
        threads: Of torch in each of them, on which the last digits depend; None if unknown.
    """

    recipe: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    processes: int | None = None
    threads: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which load without unpickling; `from_dict` reads them again."""
        return {
            "recipe": self.recipe,
            "versions": dict(self.versions),
            "processes": self.processes,
            "threads": self.threads,
            "preprocessing": {
                "image_size": list(self.image_size),
                "resize": self.resize,
                "mean": list(self.mean),
                "std": list(self.std),
                "in_chans": len(self.mean),
            },
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], path: Path) -> "Provenance":
        """Read a checkpoint's entry.

        Args:
            content: Of the entry.
            path: The checkpoint, for messages.

        Raises:
            InputError: If a value is missing or of another kind.
        """
        known = content if isinstance(content, Mapping) else {}
        missing = [key for key in ("recipe", "class_names", "preprocessing") if key not in known]
        if missing:
            raise InputError(
                f"{path} has no {', '.join(missing)} in its entry {ENTRY}: another version of visiontasks wrote it; "
                "train the recipe again"
            )
        try:
            prepared = content["preprocessing"]
            return cls(
                recipe=str(content["recipe"]),
                class_names=tuple(map(str, content["class_names"])),
                image_size=_pair(prepared["image_size"], path),
                resize=str(prepared["resize"]),
                mean=tuple(map(float, prepared["mean"])),
                std=tuple(map(float, prepared["std"])),
                versions=dict(content.get("versions") or {}),
                processes=content.get("processes"),
                threads=content.get("threads"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: its entry {ENTRY} cannot be read ({type(error).__name__}: {error})") from error


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {name: version(name) for name in PACKAGES} | {"python": python_version()}


def _pair(size: Sequence[int], path: Path) -> tuple[int, int]:
    if len(size) != 2:
        raise InputError(f"{path} has image_size {size}, expected height and width")
    return int(size[0]), int(size[1])
