"""Freezing and unfreezing by schedule, and the features of frozen backbones."""
