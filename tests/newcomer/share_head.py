"""A head for one share."""

from torch import Tensor, nn


class ShareHead(nn.Module):
    """Maps vectors (B, D) to shares (B,) in 0..1."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)

    def forward(self, feature: Tensor) -> Tensor:
        share: Tensor = self.linear(feature).sigmoid().squeeze(1)
        return share
