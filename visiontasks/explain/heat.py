"""Grad-CAM and occlusion maps, drawn over the picture at its own size."""

import cv2
import numpy as np
import torch

from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.explain.methods import class_map, class_probability
from visiontasks.outputs.geometry import Float32Array, Geometry, Resize, Size, place
from visiontasks.tasks import Task

HEAT_SHARE = 0.5  # of the colours over the picture
CUT_OFF = 0.35  # brightness of what the network does not get


def grad_cam_overlay(
    task: Task, image: UInt8Array, *, size: Size, resize: Resize, class_index: int | None = None
) -> UInt8Array:
    """Grad-CAM drawn over a picture.

    Args:
        task: In eval mode, see `class_map`.
        image: RGB, (H, W, 3), of any size.
        size: Height and width of the network's input.
        resize: How images get that size.
        class_index: The class to explain; the most probable one by default.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        InputError: If the task does not classify images, or its backbone has no feature map.
    """
    geometry = place((image.shape[0], image.shape[1]), size, resize)
    shown = torch.from_numpy(geometry.image(image).copy()).permute(2, 0, 1)[None].to(task.device)
    if class_index is None:
        class_index = int(class_probability(task, shown)[0].argmax())
    return overlay_heat(image, class_map(task, shown, class_index).cpu().numpy(), geometry)


def overlay_heat(image: UInt8Array, heat: Float32Array, geometry: Geometry) -> UInt8Array:
    """Colour a picture by a map of the network's input.

    Args:
        image: RGB, (H, W, 3).
        heat: (h, w) over the resized image, of any size; the largest value becomes red, 0 and below blue.
        geometry: How the picture became the network's input.

    Returns:
        RGB, uint8, (H, W, 3); what the network did not get is dark.
    """
    on_picture = geometry.original_heat(heat)
    inside = ~np.isnan(on_picture)
    strongest = float(np.nanmax(on_picture))
    level = np.where(inside, on_picture, 0).clip(0) / np.float32(strongest if strongest > 0 else 1)
    # OpenCV blends in 8 bits; numpy would take 100 bytes a pixel, 9 GB for a picture at the limit of pixels
    bgr = cv2.applyColorMap((255 * level).round().astype(np.uint8), cv2.COLORMAP_TURBO)
    coloured = cv2.addWeighted(image, 1 - HEAT_SHARE, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), HEAT_SHARE, 0)
    return np.where(inside[..., None], coloured, cv2.convertScaleAbs(image, alpha=CUT_OFF)).astype(np.uint8, copy=False)
