"""What is predicted of one image: how it is averaged, compared, drawn and written."""

from visiontasks.outputs.base import ClassProbability, Difference, LegendEntry, Output
from visiontasks.outputs.class_scores import ClassScores
from visiontasks.outputs.detections import CORNERS, Box, Detections
from visiontasks.outputs.semantic_mask import SemanticMask

__all__ = [
    "CORNERS",
    "Box",
    "ClassProbability",
    "ClassScores",
    "Detections",
    "Difference",
    "LegendEntry",
    "Output",
    "SemanticMask",
]
