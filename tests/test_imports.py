"""The import rule: cli -> {tasks, data, finetune, report} -> {backbones, heads} -> ops, downward only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "visiontasks"

# A module imports only from a lower level, or from its own part. A part is a folder or a file of its name;
# all the files beside the folders that are not named here are the command line.
LEVELS = {
    "errors": 0,
    "class_names": 0,
    "csv_tables": 0,
    "checkpoints": 1,
    "downloads": 1,
    "entrance": 1,
    "feature_cache": 2,
    "feature_rows": 0,
    "features": 1,
    "frozen": 1,
    "ops": 1,
    "regular_files": 1,
    "result_file": 1,
    "runs": 2,
    "backbones": 3,
    "heads": 3,
    "data": 4,
    "finetune": 4,
    "report": 4,
    "summary": 4,
    "tasks": 4,
    "cli": 5,
    "__main__": 6,
    "__init__": 7,
}
# Folders that are part of the command line.
COMMANDS = {
    "explain",
    "export",
    "predict",
    "recipe",
    "results",
    "training",
}
ONLY_TORCH = {"heads", "ops"}
# DeepLabV3's pooling is torchvision's own, so that it is the one that everybody measures. torch has no quantile of
# Student's t.
EXCEPTIONS = {("heads", "torchvision.models.segmentation.deeplabv3.ASPP"), ("ops", "scipy.special.stdtrit")}
WITHOUT_TRAINER = {"backbones", "heads", "ops"}
TRAINERS = {"lightning", "pytorch_lightning", "lightning_fabric"}
AUGMENTATION = {"albumentations", "albucore"}


def part_of(name: str) -> str:
    return "cli" if name in COMMANDS or (name not in LEVELS and (PACKAGE / f"{name}.py").is_file()) else name


def imported_names(source: str, package: list[str]) -> Iterator[str]:
    """Dotted names that a file imports at any depth, absolute; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = [*above, *(node.module or "").split(".")]
            yield from (".".join(filter(None, [*module, alias.name])) for alias in node.names)


def internal_violation(part: str, name: str) -> str | None:
    if name == "visiontasks.__version__":
        return None
    target = part_of(name.split(".")[1]) if "." in name else "__init__"
    if target not in LEVELS:  # a public name, which may load any part
        target = "__init__"
    if target == part or LEVELS[target] < LEVELS[part]:
        return None
    return f"imports {name}, which is not below {part}"


def external_violation(part: str, name: str) -> str | None:
    if (part, name) in EXCEPTIONS:
        return None
    library = name.split(".")[0]
    if part in WITHOUT_TRAINER and library in TRAINERS:
        return f"imports {library}: a backbone or head must be usable without a trainer"
    if part in ONLY_TORCH and library != "torch" and library not in sys.stdlib_module_names:
        return f"imports {library}: {part} knows torch only"
    if part == "data" and library == "timm":
        return "imports timm: data knows no networks"
    if part != "data" and library in AUGMENTATION:
        return f"imports {library}: only data may"
    return None


def violations(path: Path, source: str) -> list[str]:
    """What one file imports against the rule.

    Args:
        path: Where the file is, from the package's folder: data/base.py.
        source: Its text.
    """
    part = part_of(path.parts[0].removesuffix(".py"))
    if part not in LEVELS:
        return [f"{path} belongs to no part: give it a level in LEVELS"]
    found = []
    for name in imported_names(source, ["visiontasks", *path.parts[:-1]]):
        internal = name.split(".")[0] == "visiontasks"
        why = internal_violation(part, name) if internal else external_violation(part, name)
        if why:
            found.append(f"{path} {why}")
    return found


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_downward_only(path: Path) -> None:
    assert violations(path, (PACKAGE / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ops/boxes.py", "from visiontasks.heads import LinearHead"),
        ("heads/linear.py", "import visiontasks.backbones.stages"),
        ("tasks/base.py", "from visiontasks.data import DataModule"),
        ("tasks/base.py", "from ..data import DataModule"),
        ("tasks/base.py", "from visiontasks import data"),
        ("tasks/base.py", "from visiontasks import create_vector"),
        ("tasks/base.py", "import visiontasks"),
        ("data/base.py", "from visiontasks.recipe import find_recipe"),
        ("data/base.py", "from timm.data import create_transform"),
        ("data/base.py", "if TYPE_CHECKING:\n    from visiontasks.tasks import ClassificationTask"),
        ("backbones/weights.py", "def load():\n    import lightning.pytorch as pl"),
        ("heads/linear.py", "import timm"),
        ("heads/deeplab.py", "from torchvision.models.segmentation import deeplabv3_resnet50"),
        ("ops/boxes.py", "from torchvision.models.segmentation.deeplabv3 import ASPP"),
        ("ops/metrics.py", "import numpy as np"),
        ("tasks/base.py", "import albumentations as A"),
        ("newcomer/base.py", ""),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str) -> None:
    assert len(violations(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "cli.py",
            "from visiontasks.tasks import ClassificationTask\nfrom visiontasks.data import DataModule",
        ),
        ("printing.py", "from visiontasks.recipe import Recipe"),
        ("cli.py", "from . import tasks, data\nfrom visiontasks import __version__"),
        ("tasks/base.py", "from visiontasks.backbones import create_vector\nimport lightning.pytorch as pl"),
        ("data/digits.py", "from .base import DataModule\nfrom visiontasks.data.base import Source"),
        ("data/base.py", "import albumentations as A"),
        ("backbones/weights.py", "import timm\nfrom visiontasks.errors import InputError"),
        ("ops/metrics.py", "import math\nimport torch"),
        ("heads/deeplab.py", "from torchvision.models.segmentation.deeplabv3 import ASPP"),
    ],
)
def test_an_allowed_import_is_not_reported(path: str, source: str) -> None:
    assert violations(Path(path), source) == []
