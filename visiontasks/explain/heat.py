"""Maps of what a network looks at, drawn over the picture at its own size."""

import cv2
import numpy as np
import torch

from visiontasks.data.pipeline.geometry import Float32Array, Geometry, Resize, Size, place
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.explain.methods import class_map, class_probability
from visiontasks.tasks import Task

HEAT_SHARE = 0.5  # of the colours over the picture
UNSEEN = 0.35  # brightness of what the network is not shown


def grad_cam_overlay(
    task: Task, image: UInt8Array, *, size: Size, resize: Resize, class_index: int | None = None
) -> UInt8Array:
    """Grad-CAM drawn over a picture.

    Args:
        task: In eval mode, see `class_map`.
        image: RGB, (H, W, 3), of any size.
        size: Height and width that the network is shown.
        resize: How images get that size.
        class_index: The class to explain; the most probable one by default.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        InputError: If the task tells no classes of images apart, or its backbone has no feature map.
    """
    placement = place((image.shape[0], image.shape[1]), size, resize)
    shown = torch.from_numpy(placement.image(image).copy()).permute(2, 0, 1)[None].to(task.device)
    if class_index is None:
        class_index = int(class_probability(task, shown)[0].argmax())
    return overlay_heat(image, class_map(task, shown, class_index).cpu().numpy(), placement)


def overlay_heat(image: UInt8Array, heat: Float32Array, placement: Geometry) -> UInt8Array:
    """Colour a picture by a map of what the network was shown of it.

    Args:
        image: RGB, (H, W, 3).
        heat: (h, w) over the resized image, of any size; the largest value becomes red, 0 and below blue.
        placement: Where the picture lies in the resized image.

    Returns:
        RGB, uint8, (H, W, 3); what the network was not shown is dark.
    """
    on_picture = to_original(heat, placement)
    seen = ~np.isnan(on_picture)
    strongest = float(np.nanmax(on_picture))
    level = np.where(seen, on_picture, 0).clip(0) / np.float32(strongest if strongest > 0 else 1)
    # OpenCV blends in 8 bits; numpy would take 100 bytes a pixel, 9 GB for a picture at the limit of pixels
    bgr = cv2.applyColorMap((255 * level).round().astype(np.uint8), cv2.COLORMAP_TURBO)
    coloured = cv2.addWeighted(image, 1 - HEAT_SHARE, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), HEAT_SHARE, 0)
    return np.where(seen[..., None], coloured, cv2.convertScaleAbs(image, alpha=UNSEEN)).astype(np.uint8, copy=False)


def to_original(heat: Float32Array, placement: Geometry) -> Float32Array:
    """Bring a map of the resized image to the size of the original, linearly.

    Args:
        heat: (h, w), of any size.
        placement: Where the original lies in the resized image.

    Returns:
        float32, (H, W) of the original; NaN where the resized image does not show it.
    """
    (height, width), (left, top, right, bottom) = placement.target, placement.content
    content = cv2.resize(heat.astype(np.float32), (width, height))[top:bottom, left:right]
    above, beside = max(0, -placement.top), max(0, -placement.left)
    below, behind = placement.scaled[0] - above - (bottom - top), placement.scaled[1] - beside - (right - left)
    borders, size = (above, below, beside, behind), (placement.size[1], placement.size[0])
    whole = cv2.resize(cv2.copyMakeBorder(content, *borders, cv2.BORDER_REPLICATE), size)
    shown = cv2.copyMakeBorder(np.ones_like(content), *borders, cv2.BORDER_CONSTANT, value=0)
    return np.where(cv2.resize(shown, size, interpolation=cv2.INTER_NEAREST) > 0, whole, np.float32(np.nan))
