"""What finished runs say of new images."""

from visiontasks.outputs import Box, ClassProbability
from visiontasks.predict.predictor import Prediction, Predictor

__all__ = ["Box", "ClassProbability", "Prediction", "Predictor"]
