"""From a pretrained backbone to a measured, deployable vision model with one command.

Public names load on first use, so that `import visiontasks` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visiontasks.backbones import create_pyramid, create_vector
    from visiontasks.data import CIFAR10, MNIST, Digits, ImageFolder
    from visiontasks.export import load_exported
    from visiontasks.finetuning.schedule import FinetuneSchedule
    from visiontasks.predict import Predictor
    from visiontasks.python_api import finetune
    from visiontasks.results.batch import show_batch
    from visiontasks.run import Run, open_run
    from visiontasks.tasks import ClassificationTask, DetectionTask, LocalizationTask, SegmentationTask

__version__ = "0.1.0"

__all__ = [
    "CIFAR10",
    "MNIST",
    "ClassificationTask",
    "DetectionTask",
    "Digits",
    "FinetuneSchedule",
    "ImageFolder",
    "LocalizationTask",
    "Predictor",
    "Run",
    "SegmentationTask",
    "create_pyramid",
    "create_vector",
    "finetune",
    "load_exported",
    "open_run",
    "show_batch",
]

_HOME = {
    "CIFAR10": "visiontasks.data",
    "MNIST": "visiontasks.data",
    "ClassificationTask": "visiontasks.tasks",
    "DetectionTask": "visiontasks.tasks",
    "Digits": "visiontasks.data",
    "FinetuneSchedule": "visiontasks.finetuning.schedule",
    "ImageFolder": "visiontasks.data",
    "LocalizationTask": "visiontasks.tasks",
    "Predictor": "visiontasks.predict",
    "Run": "visiontasks.run",
    "SegmentationTask": "visiontasks.tasks",
    "create_pyramid": "visiontasks.backbones",
    "create_vector": "visiontasks.backbones",
    "finetune": "visiontasks.python_api",
    "load_exported": "visiontasks.export",
    "open_run": "visiontasks.run",
    "show_batch": "visiontasks.results.batch",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
