"""Linear classifier on a feature vector."""

from torch import Tensor, nn

from visiontasks.errors import InputError


class LinearHead(nn.Module):
    """One linear layer, all zero at the start.

    With zero weights every class has the same logit, so the first cross entropy is exactly ln K whatever the
    backbone's scale, and a pretrained backbone that trains from the first step is not disturbed by a random head
    (its gradient starts at zero).

    Args:
        in_features: D, the length of the backbone's vector.
        num_classes: K.
        dropout: Probability of dropping a feature, in [0, 1).

    Raises:
        InputError: If dropout is out of its range.
    """

    def __init__(self, in_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"model.init_args.head.init_args.dropout must be in [0, 1), got {dropout}")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_features, num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, feature: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, K)."""
        logits: Tensor = self.linear(self.dropout(feature))
        return logits
