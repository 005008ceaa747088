"""Grad-CAM of the samples in a report, mistakes first, and the network's first filters."""

from collections.abc import Sequence

import numpy as np

from visiontasks.data import DataModule
from visiontasks.errors import InputError
from visiontasks.explain.heat import grad_cam_overlay
from visiontasks.explain.methods import first_filters
from visiontasks.explain.sheets import filter_row
from visiontasks.report import GradCams, Picture
from visiontasks.report.layout import wrapped
from visiontasks.results.pictures import in_eval_mode
from visiontasks.tasks import Task

COUNT = 6
_FILTERS_WIDTH = 800  # px


def grad_cams_of(task: Task, mistakes: Sequence[Picture], others: Sequence[Picture], data: DataModule) -> GradCams:
    """Explain samples by the class that the network gave them.

    Args:
        task: Of classification, or of localization with classes; it is left as it was.
        mistakes: The most important first.
        others: Samples that fill up where there are fewer than six mistakes.
        data: Has the classes, and the size and policy by which images become the network's input.
    """
    classes = {name: k for k, name in enumerate(data.class_names)}
    right = [picture for picture in others if picture.predicted_label == picture.true_label]
    chosen = [picture for picture in [*mistakes[:COUNT], *right] if picture.predicted_label in classes][:COUNT]
    samples, note = [], ""
    with in_eval_mode(task):
        try:
            for picture in chosen:
                k = classes[str(picture.predicted_label)]
                overlay = grad_cam_overlay(task, picture.image, size=data.image_size, resize=data.resize, class_index=k)
                samples.append((picture, overlay))
        except InputError:  # without a feature map
            note = (
                f"There is no Grad-CAM, because {type(task.backbone).__name__} does not end in a feature map: "
                "visiontasks explain RUN IMAGE --method occlusion shows it of an image."
            )
        try:
            about, tiles = filter_row(first_filters(task.backbone))
        except InputError:  # its first layer is not a convolution
            return GradCams(samples, None, note)
    return GradCams(samples, (np.asarray(wrapped(tiles, _FILTERS_WIDTH)), about), note)
