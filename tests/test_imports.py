"""The import rule: a folder imports only from lower levels, siblings only as listed, and no folder is in a circle."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "visiontasks"

# A part is a folder or a file of the package; the folders of data are parts of their own.
LEVELS = {
    "errors": 0,
    "caches": 0,
    "class_names": 0,
    "csv_tables": 0,
    "downloads": 0,
    "cores": 0,
    "library_internals": 0,
    "regular_files": 0,
    "units": 0,
    "terminal": 0,
    "ops": 1,
    "backbones": 2,
    "heads": 2,
    "outputs": 2,
    "runs": 2,
    "data.pipeline": 3,
    "data.formats": 3,
    "data.targets": 3,
    "data.base": 3,
    "data.datasets": 3,
    "data": 3,  # what data/__init__.py gives out
    "data.audit": 3,
    "finetuning": 3,
    "tasks": 3,
    "training": 4,
    "recipe": 5,
    "explain": 6,
    "export": 6,
    "predict": 6,
    "report": 6,
    "results": 6,
    "study": 6,
    "summary": 6,
    "commands": 7,
    "notebook": 7,
    "run": 8,
    "python_training": 9,
    "python_api": 10,
    "__init__": 11,
    "__main__": 11,
}
# Which siblings may be imported; a test checks that no circle is among them.
SIBLINGS = {
    "regular_files": {"errors"},
    "downloads": {"errors"},
    "backbones": {"runs"},
    "data.formats": {"data.pipeline"},
    "data.targets": {"data.pipeline"},
    "data.base": {"data.formats", "data.pipeline", "data.targets"},
    "data.datasets": {"data.base", "data.formats", "data.pipeline", "data.targets"},
    "data": {"data.base", "data.datasets", "data.formats", "data.pipeline"},
    "data.audit": {"data", "data.base", "data.datasets", "data.formats", "data.pipeline"},
    "explain": {"report"},
    "export": {"predict"},
    "predict": {"report", "results"},
    "results": {"explain", "report"},
    "study": {"predict", "report"},
    "__main__": {"__init__"},
}
ONLY_TORCH = {"heads", "ops"}
# DeepLabV3's pooling is torchvision's own, so that it is the one that everybody measures. torch has no quantile of
# Student's t. Suppression and the pooling of regions are kernels that torch does not have.
EXCEPTIONS = {
    ("heads", "torchvision.models.segmentation.deeplabv3.ASPP"),
    *(("heads", f"torchvision.ops.{name}") for name in ("box_iou", "roi_align")),
    *(("ops", f"torchvision.ops.{name}") for name in ("batched_nms", "sigmoid_focal_loss")),
    ("ops", "scipy.special.stdtrit"),
}
WITHOUT_TRAINER = {"backbones", "heads", "ops"}
TRAINERS = {"lightning", "pytorch_lightning", "lightning_fabric"}
AUGMENTATION = {"albumentations", "albucore"}


def part_of(path: Path) -> str:
    """The part that a file belongs to, by its path below the package."""
    names = path.with_suffix("").parts
    if names[0] == "data" and len(names) > 1 and names[1] != "__init__":
        return f"data.{names[1]}"
    return names[0]


def part_of_name(name: str) -> str:
    """The part that an imported name is from."""
    names = name.split(".")[1:]
    if names[:1] == ["data"] and len(names) > 1 and f"data.{names[1]}" in LEVELS:
        return f"data.{names[1]}"
    return names[0] if names and names[0] in LEVELS else "__init__"  # a public name, which may load any part


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
    target = part_of_name(name)
    if target == part or LEVELS[target] < LEVELS[part] or target in SIBLINGS.get(part, ()):
        return None
    return f"imports {name}, which is not below {part}"


def external_violation(part: str, name: str) -> str | None:
    if (part, name) in EXCEPTIONS:
        return None
    library = name.split(".")[0]
    is_data = part.split(".")[0] == "data"
    if part in WITHOUT_TRAINER and library in TRAINERS:
        return f"imports {library}: a backbone or head must be usable without a trainer"
    if part in ONLY_TORCH and library != "torch" and library not in sys.stdlib_module_names:
        return f"imports {library}: {part} knows torch only"
    if is_data and library == "timm":
        return "imports timm: data knows no networks"
    if not is_data and library in AUGMENTATION:
        return f"imports {library}: only data may"
    return None


def violations(path: Path, source: str) -> list[str]:
    """What one file imports against the rule.

    Args:
        path: Where the file is, from the package's folder: data/base.py.
        source: Its text.
    """
    part = part_of(path)
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
        ("data/formats/yolo.py", "from visiontasks.data.datasets import image_folder"),
        ("data/pipeline/reader.py", "from visiontasks.data import read_image"),
        ("training/timing.py", "from visiontasks.recipe import read_recipe"),
        ("report/page.py", "from visiontasks.results.samples import Samples"),
        ("predict/files.py", "from visiontasks.commands.printing import print_result"),
        ("newcomer/base.py", ""),
        ("data/newcomer/base.py", ""),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str) -> None:
    assert len(violations(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "commands/finetune.py",
            "from visiontasks.tasks import ClassificationTask\nfrom visiontasks.data import DataModule",
        ),
        ("commands/printing.py", "from visiontasks.recipe import Recipe"),
        ("commands/main.py", "from .. import tasks, data\nfrom visiontasks import __version__"),
        ("tasks/base.py", "from visiontasks.backbones import create_vector\nimport lightning.pytorch as pl"),
        (
            "data/datasets/digits.py",
            "from ..base import DataModule\nfrom visiontasks.data.pipeline.sources import Source",
        ),
        ("data/base.py", "import albumentations as A"),
        ("backbones/weights.py", "import timm\nfrom visiontasks.errors import InputError"),
        ("ops/metrics.py", "import math\nimport torch"),
        ("heads/deeplab.py", "from torchvision.models.segmentation.deeplabv3 import ASPP"),
    ],
)
def test_an_allowed_import_is_not_reported(path: str, source: str) -> None:
    assert violations(Path(path), source) == []


def test_no_folder_is_in_a_circle() -> None:
    below: dict[str, set[str]] = {}
    for path in FILES:
        names = imported_names((PACKAGE / path).read_text(), ["visiontasks", *path.parts[:-1]])
        parts = {part_of_name(name) for name in names if name.startswith("visiontasks.")}
        below.setdefault(part_of(path), set()).update(parts - {part_of(path), "__init__"})
    rest = dict(below)
    while rest:
        free = [part for part, imported in rest.items() if not imported & rest.keys()]
        assert free, f"a circle among {', '.join(sorted(rest))}"
        rest = {part: imported for part, imported in rest.items() if part not in free}
