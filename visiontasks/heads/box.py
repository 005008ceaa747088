"""Boxes from a feature vector."""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.heads.mlp import MLPHead

START = 0.25  # the first box: the middle half of the image in each direction


class BoxHead(nn.Module):
    """Linear layers, a sigmoid, and the sides put in order: always a box inside the image.

    Each coordinate is a sigmoid of its own output; of the two in each direction the smaller one is x1 (y1), so that x1
    <= x2 and y1 <= y2 whatever the weights. The weights of the last layer start at zero and every box at (0.25, 0.25,
    0.75, 0.75).

    Args:
        in_features: D, the length of the backbone's vector.
        num_boxes: N, boxes per image: 1 where the class does not matter, K for one box per class, or the number of
            objects.
        hidden_features: Width of each hidden layer; () for none. OverFeat (Sermanet et al., 2014) has 4096 and 1024.
        dropout: Probability of dropping a feature before each linear layer after the first, in [0, 1); without hidden
            layers before the only one.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(
        self, in_features: int, num_boxes: int = 1, *, hidden_features: Sequence[int] = (256,), dropout: float = 0.0
    ) -> None:
        super().__init__()
        if num_boxes < 1:
            raise InputError(f"a box head gives at least 1 box, got num_boxes={num_boxes}")
        self.num_boxes = num_boxes
        self.coordinates = MLPHead(in_features, 4 * num_boxes, hidden_features, dropout)
        outward = log((1 - START) / START)
        self.register_buffer("offset", torch.tensor([-outward, -outward, outward, outward]), persistent=False)
        self.offset: Tensor

    def forward(self, feature: Tensor) -> Tensor:
        """Map features (B, D) to boxes (B, N, 4), xyxy divided by the image's width and height, in float32."""
        output = self.coordinates(feature).float().view(-1, self.num_boxes, 4)
        first, second = (output + self.offset).sigmoid().split(2, dim=-1)
        return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)
