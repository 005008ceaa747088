"""Tasks: LightningModules that join a backbone, a head, a loss and metrics."""

from visiontasks.tasks.base import Task
from visiontasks.tasks.classification import ClassificationTask
from visiontasks.tasks.detection import DetectionTask
from visiontasks.tasks.groups import parameter_groups, scale_learning_rates
from visiontasks.tasks.labels import MultiLabelTask
from visiontasks.tasks.localization import LocalizationTask
from visiontasks.tasks.schedules import Constant, Cosine, OneCycle, Plateau, Schedule, Step
from visiontasks.tasks.segmentation import SegmentationTask

__all__ = [
    "ClassificationTask",
    "Constant",
    "Cosine",
    "DetectionTask",
    "LocalizationTask",
    "MultiLabelTask",
    "OneCycle",
    "Plateau",
    "Schedule",
    "SegmentationTask",
    "Step",
    "Task",
    "parameter_groups",
    "scale_learning_rates",
]
