"""Predictions of finished runs for new images."""

from visiontasks.outputs import Box, ClassProbability
from visiontasks.predict.predictor import Prediction, Predictor

__all__ = ["Box", "ClassProbability", "Prediction", "Predictor"]
