"""Why a network predicts what it predicts: Grad-CAM, occlusion, first filters, feature maps, as plain functions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from visiontasks.backbones import stage_outputs
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Float32Array, place
from visiontasks.tasks import Task


def grad_cam(feature_map: Tensor, score: Tensor) -> Tensor:
    """Where a score comes from: the positive part of the feature map's channels, each weighted by its mean gradient.

    Ramprasaath R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    2017, https://arxiv.org/abs/1610.02391, equations 1 and 2.

    Args:
        feature_map: (1, C, h, w), in the graph of the score.
        score: A scalar: the logit of a class.

    Returns:
        (h, w), 0 or more; all 0 where nothing speaks for the class.
    """
    (gradient,) = torch.autograd.grad(score, feature_map)
    weight = gradient.mean((2, 3), keepdim=True)
    return (weight * feature_map).sum(1).relu()[0].detach()


def occlusion(image: Tensor, score: Callable[[Tensor], Tensor], *, fill: Tensor, patch: int, stride: int) -> Tensor:
    """How much a score falls where a part of the image is covered.

    Matthew D. Zeiler and Rob Fergus, "Visualizing and Understanding Convolutional Networks", 2014,
    https://arxiv.org/abs/1311.2901, section 4.2; they show the score at each position of the square, here a pixel gets
    the mean over the squares that cover it.

    Args:
        image: (C, H, W).
        score: Maps images (B, C, H, W) to scores (B,).
        fill: What covers it, (C, 1, 1).
        patch: Side of the square in pixels; cut to the image.
        stride: Pixels from one square to the next, at most `patch`; the last ones end at the border.

    Returns:
        The fall, (H, W); below 0 where the score rises.

    Raises:
        ValueError: If the stride is larger than the square.
    """
    if stride > patch:
        raise ValueError(f"a stride of {stride} leaves gaps between squares of {patch}")
    height, width = image.shape[-2:]
    whole = score(image[None])[0]
    fall = torch.zeros(height, width, device=image.device)
    count = torch.zeros_like(fall)
    for top in _starts(height, patch, stride):
        places = [(slice(top, top + patch), slice(left, left + patch)) for left in _starts(width, patch, stride)]
        covered = image.repeat(len(places), 1, 1, 1)
        for i, (rows, columns) in enumerate(places):
            covered[i, :, rows, columns] = fill
        for (rows, columns), left_over in zip(places, score(covered), strict=True):
            fall[rows, columns] += whole - left_over
            count[rows, columns] += 1
    return fall / count


def class_map(task: Task, image: Tensor, class_index: int) -> Tensor:
    """Grad-CAM of a class on the backbone's last feature map, or on the one that the task names.

    Args:
        task: Of classification, or of localization with classes; of several objects the surest is explained.
        image: uint8 (1, 3, H, W), as the network gets it.
        class_index: The class.

    Returns:
        (h, w), the size of the map.

    Raises:
        InputError: If the task does not classify images, or its backbone has no feature map.
    """
    evidence = task.class_evidence(image, class_index)
    if evidence is not None:
        return grad_cam(*evidence)
    net, head = cast(Any, task.backbone), task.class_head
    if head is None and task.outputs.is_of_whole_image:
        raise InputError(f"{type(task).__name__} defines no class_head, which Grad-CAM needs: use --method occlusion")
    if head is None:
        raise InputError(_no_classes(task))
    if not hasattr(net, "forward_features"):
        raise InputError(f"{type(net).__name__} does not give its feature map, which Grad-CAM needs: use occlusion")
    with torch.no_grad():
        feature_map = net.forward_features(task.normalize(image))
    if feature_map.ndim != 4 or feature_map.shape[1] != net.num_features:
        raise InputError(
            f"{type(net).__name__} ends in features of shape {tuple(feature_map.shape)}, not in a map of "
            "(B, C, h, w), which Grad-CAM needs: use --method occlusion"
        )
    with torch.enable_grad():
        feature_map.requires_grad_()
        logits = head(net.forward_head(feature_map.clone())).view(-1, cast(int, task.num_classes))
        return grad_cam(feature_map, logits[:, class_index].max())


def class_probability(task: Task, image: Tensor) -> Tensor:
    """Probabilities of the classes, (B, K); of several objects in an image the largest one.

    Args:
        task: Of classification, or of localization with classes.
        image: uint8 (B, 3, H, W), as the network gets it.

    Raises:
        InputError: If the task does not classify images.
    """
    size = (image.shape[-2], image.shape[-1])
    geometry = torch.from_numpy(place(size, size, "keep").row()).to(image.device).expand(len(image), -1)
    with torch.inference_mode():
        outputs = task.predict({"image": image, "geometry": geometry})
        probabilities = [output.class_probability() for output in outputs]
    if any(probability is None for probability in probabilities):
        raise InputError(_no_classes(task))
    return torch.from_numpy(np.stack(cast(list[Float32Array], probabilities)))


def class_falls(task: Task, image: Tensor, class_index: int, *, patches: float = 4.0, steps: float = 16.0) -> Tensor:
    """Occlusion sensitivity of a class's probability, with squares of the mean colour of the training.

    Args:
        task: Of classification, or of localization with classes.
        image: uint8 (1, 3, H, W), as the network gets it.
        class_index: The class.
        patches: How many squares beside each other fill the shorter side.
        steps: How many strides do, at least `patches`.

    Returns:
        (H, W).

    Raises:
        InputError: If the task does not classify images.
    """
    side = min(image.shape[-2:])
    fill = task.mean[0].round().to(torch.uint8).expand(image.shape[1], 1, 1)
    return occlusion(
        image[0],
        lambda images: class_probability(task, images)[:, class_index],
        fill=fill,
        patch=max(1, round(side / patches)),
        stride=max(1, round(side / steps)),
    )


def first_filters(backbone: nn.Module) -> Tensor:
    """Weights of the first convolution, (filters, channels, height, width).

    Raises:
        InputError: If it has none.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().float()
    raise InputError(f"{type(backbone).__name__} has no convolution, so it has no filters to draw")


@torch.no_grad()
def feature_maps(task: Task, image: Tensor) -> dict[str, Tensor]:
    """What the layers that end the backbone's stages give, by their names, shallow to deep.

    Args:
        task: Any.
        image: uint8 (1, 3, H, W), as the network gets it.

    Returns:
        (C, h, w) of each.

    Raises:
        InputError: If timm knows no feature maps of the network.
    """
    found: dict[str, Tensor] = {}
    net = task.backbone
    with _noted(stage_outputs(net), found):
        net(task.normalize(image))
    if not found:
        raise InputError(f"{type(net).__name__} has no feature maps known to timm")
    return found


@contextmanager
def _noted(modules: dict[str, nn.Module], found: dict[str, Tensor]) -> Iterator[None]:
    """Keep copies of what modules give, since what comes next may work in place."""

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                found[name] = output[0].float().clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _no_classes(task: Task) -> str:
    return f"{type(task).__name__} of this run does not classify whole images, so there is no class to explain"


def _starts(length: int, patch: int, stride: int) -> list[int]:
    """Where squares begin: at even steps, the last one ends at the border."""
    last = max(0, length - patch)
    return [min(i * stride, last) for i in range(ceil(last / stride) + 1)]
