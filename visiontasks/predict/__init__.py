"""What finished runs say of new images."""

from visiontasks.predict.predictor import Box, ClassProbability, Prediction, Predictor

__all__ = ["Box", "ClassProbability", "Prediction", "Predictor"]
