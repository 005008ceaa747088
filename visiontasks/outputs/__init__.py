"""What is predicted of one image: how it is averaged, compared, drawn and written."""

from visiontasks.outputs.base import Box, ClassProbability, Difference, LegendEntry, Output
from visiontasks.outputs.boxes import CORNERS
from visiontasks.outputs.class_scores import ClassScores
from visiontasks.outputs.detections import Detections
from visiontasks.outputs.label_scores import LabelScores
from visiontasks.outputs.semantic_mask import SemanticMask

__all__ = [
    "CORNERS",
    "Box",
    "ClassProbability",
    "ClassScores",
    "Detections",
    "Difference",
    "LabelScores",
    "LegendEntry",
    "Output",
    "SemanticMask",
]
