"""Private names are used in the file that defines them; those of libraries in library_internals.py only."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import visiontasks

PACKAGE = Path(visiontasks.__file__).parent
INTERNALS = "library_internals.py"
DOCUMENTED = {"os._exit"}
"""Public in spite of the underscore."""
LOOPS = {"fit_loop", "validate_loop", "test_loop", "predict_loop", "epoch_loop", "val_loop"}
LOOPS |= {"epoch_progress", "batch_progress", "optim_progress", "loops"}
"""Lightning's loops and their counters: without underscore, but undocumented and changed by several releases."""
BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "import_module"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def defined(nodes: list[ast.AST]) -> set[str]:
    """Private names that a file defines: functions, classes, variables, and attributes of self."""
    found = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    found |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    stored = (n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    return found | {node.attr for node in stored if is_self(node.value)}


def reached(node: ast.AST) -> list[str]:
    """Names that a piece of code reaches through another object or module."""
    match node:
        case ast.Attribute(value=value, attr=name):
            return [] if is_self(value) else [name]
        case ast.ImportFrom(module=module, names=names):
            return [*(module or "").split("."), *(alias.name for alias in names)]
        case ast.Import(names=names):
            return [part for alias in names for part in alias.name.split(".")]
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return [name] if name in LOOPS else []
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in BY_NAME:
            texts = [arg.value for arg in args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            return [part for text in texts for part in text.split(".")]
    return []


def touches(path: str, source: str) -> list[str]:
    """Private names of libraries and of our other files that a file uses, each with its line.

    Args:
        path: Where the file is, from the package's folder.
        source: Its text.
    """
    if path == INTERNALS:
        return []
    nodes = [*ast.walk(ast.parse(source))]
    allowed = defined(nodes)
    found = []
    for node in nodes:
        if any(name in LOOPS or (is_private(name) and name not in allowed) for name in reached(node)):
            text = ast.unparse(node)
            found += [f"{path}:{node.lineno}: {text}"] if text not in DOCUMENTED else []  # type: ignore[attr-defined]
    return found


def test_private_names_of_libraries_are_used_in_one_file() -> None:
    files = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    found = [touch for path in files for touch in touches(str(path), (PACKAGE / path).read_text())]
    assert not found, "private names outside library_internals.py:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "trainer._signal_connector.teardown()",
        "trainer.fit_loop.done",
        "state['loops']",
        "x.fit_loop._should_accumulate()",
        "torch._dynamo.reset()",
        "torch.ops.aten._softmax",
        "from timm.models._hub import save_config_for_hf",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "import torch._dynamo",
        "importlib.import_module('timm.models._builder')",
        "getattr(model, '_model_args', {})",
        "setattr(trainer, '_last_val_time', 0)",
        "class A(B):\n    def f(self):\n        super()._apply(1)",
        "from visiontasks.tasks.base import _update_average",
        "from visiontasks.data import base\nbase._check_sources({}, [])",
    ],
)
def test_a_private_name_from_elsewhere_is_reported(source: str) -> None:
    assert touches("tasks/base.py", source)
    assert touches(INTERNALS, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self, other):\n        self._x = other._x",
        "def _f(): ...\nclass A:\n    def g(self):\n        return self._anything",
        "class A:\n    def _open(self): ...\ndef joined(a):\n    a._open()",
        "os._exit(1)",
        "_, rest = pair\nx = a.__class__.__name__",
        "names = {'_orig_mod.': ''}",
    ],
)
def test_own_private_names_are_not_reported(source: str) -> None:
    assert touches("tasks/base.py", source) == []


def attributes(code: CodeType) -> Iterator[str]:
    """Private attributes that a function, and functions within, read or write."""
    yield from (name for name in code.co_names if is_private(name))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from attributes(constant)


def private_names(kind: type) -> set[str]:
    """Private methods of a class, and private attributes that its methods use."""
    functions: dict[str, Any] = {n: getattr(v, "__func__", getattr(v, "fget", v)) for n, v in vars(kind).items()}
    own = {name: f for name, f in functions.items() if inspect.isfunction(f) and f.__module__ == kind.__module__}
    codes = {name: f.__code__ for name, f in own.items()}
    return {name for name in codes if is_private(name)} | {n for code in codes.values() for n in attributes(code)}


@pytest.fixture(scope="module")
def kinds() -> list[type]:
    """All classes of the package."""
    names = [module.name for module in pkgutil.walk_packages(visiontasks.__path__, "visiontasks.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    values = ((module.__name__, value) for module in modules for value in vars(module).values())
    return [value for name, value in values if inspect.isclass(value) and value.__module__ == name]


def test_classes_do_not_override_or_use_private_names_of_a_librarys_class(kinds: list[type]) -> None:
    found = []
    for kind in kinds:
        parents = [each for each in kind.__mro__ if each.__module__.split(".")[0] not in ("visiontasks", "builtins")]
        shared = private_names(kind) & set().union(*map(private_names, parents))
        found += [f"{kind.__module__}.{kind.__name__}: {name}" for name in sorted(shared)]
    assert not found, "private names of a parent from a library:\n" + "\n".join(found)
