"""Why a network predicts what it predicts."""

from visiontasks.explain.heat import grad_cam_overlay
from visiontasks.explain.methods import class_falls, class_map, feature_maps, first_filters, grad_cam, occlusion

__all__ = ["class_falls", "class_map", "feature_maps", "first_filters", "grad_cam", "grad_cam_overlay", "occlusion"]
