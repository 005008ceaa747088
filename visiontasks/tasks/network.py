"""What a task has learned, as a plain torch module: pixels in, what the head gives out."""

from typing import Any

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.tasks.base import Task


class Network(nn.Module):
    """Backbone, normalization and head of a task.

    `network(image)` takes pixels, uint8 (B, 3, H, W), RGB 0..255, and normalizes them itself. It gives logits (B, K) of
    a classification; logits (B, N, K), None without classes, and boxes (B, N, 4), xyxy as shares of the image, of a
    localization; logits (B, K, H, W) of a segmentation. Images are expected at the run's `image_size`.

    Args:
        task: Whose backbone and head these are, not copies of them.

    Attributes:
        backbone: A timm module, which takes normalized images.
        head: Takes what the backbone gives.
        mean: Of each channel, (1, C, 1, 1), in 0..255; not in the state dict.
        std: The same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.backbone = task.backbone
        self.head = task.head
        self.register_buffer("mean", task.mean, persistent=False)
        self.register_buffer("std", task.std, persistent=False)
        self._task = (task,)  # in a tuple, since its modules are these
        self.train(task.training)

    def forward(self, image: Tensor) -> Any:
        """What the head gives for images, uint8 (B, 3, H, W); see the class."""
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            kind = str(image.dtype).removeprefix("torch.")
            raise InputError(
                f"got images {kind} {tuple(image.shape)}, expected pixels uint8 (B, 3, H, W), 0..255, which the "
                "network normalizes"
            )
        (task,) = self._task
        task.mean, task.std = self.mean, self.std  # a move to another device or type reaches this module's alone
        return task.raw_output({"image": image})
