"""What an installed package shows before anything is loaded, and that its metadata is true."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import visiontasks

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {"albumentations", "lightning", "matplotlib", "numpy", "sklearn", "timm", "torch", "torchvision"}
# where the name to import is not the name to install
DISTRIBUTIONS = {
    "PIL": "pillow",
    "docstring_parser": "docstring-parser",
    "cv2": "opencv-python-headless",
    "huggingface_hub": "huggingface-hub",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def third_party_imports() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "visiontasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"visiontasks"}


def test_import_loads_no_heavy_library() -> None:
    loaded = run_python("import sys, visiontasks; print(*{name.split('.')[0] for name in sys.modules})")
    assert HEAVY.isdisjoint(loaded.split())


def test_import_takes_milliseconds() -> None:
    code = "from time import perf_counter as now; t = now(); import visiontasks; print(now() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.05


@pytest.mark.parametrize("name", visiontasks.__all__)
def test_public_name_is_that_of_its_home(name: str) -> None:
    home = importlib.import_module(visiontasks._HOME[name])
    assert getattr(visiontasks, name) is getattr(home, name)
    assert name in dir(visiontasks)


def test_every_public_name_has_a_home() -> None:
    assert visiontasks.__all__ == list(visiontasks._HOME)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'visiontasks' has no attribute 'ClasificationTask'"):
        visiontasks.ClasificationTask  # noqa: B018


def test_every_imported_library_is_a_declared_dependency() -> None:
    optional = PROJECT["optional-dependencies"]  # imported where they are used
    lines = [*PROJECT["dependencies"], *(line for extra in ("export", "parquet", "search") for line in optional[extra])]
    declared = {re.split(r"[\[<>=,; ]", line)[0] for line in lines}
    assert {DISTRIBUTIONS.get(name, name) for name in third_party_imports()} <= declared


def test_only_albumentations_has_an_upper_bound() -> None:
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert [line for line in lines if "<" in line or "==" in line] == ["albumentations>=2.0.8,<3"]


def test_the_marker_of_typed_packages_is_there() -> None:
    assert (ROOT / "visiontasks" / "py.typed").is_file()
