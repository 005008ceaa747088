"""Classifier with hidden layers on a feature vector."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from visiontasks.errors import InputError
from visiontasks.heads.linear import LinearHead


class MLPHead(nn.Module):
    """Hidden layers (linear, ReLU, dropout), then a linear layer that starts at zero as `LinearHead` does.

    Args:
        in_features: D, the length of the backbone's vector.
        num_classes: K.
        hidden_features: Width of each hidden layer.
        dropout: Probability of dropping a feature before each linear layer after the first, in [0, 1).

    Raises:
        InputError: If dropout or a width is out of its range.
    """

    def __init__(
        self, in_features: int, num_classes: int, hidden_features: Sequence[int] = (512,), dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden_features]
        if min(widths) < 1:
            raise InputError(
                f"model.init_args.head.init_args.hidden_features must be 1 or more each, got {list(hidden_features)}"
            )
        classifier = LinearHead(widths[-1], num_classes, dropout=dropout)
        layers: list[nn.Module] = []
        for i, (width_in, width_out) in enumerate(pairwise(widths)):
            layers += [nn.Dropout(dropout)] if i else []
            layers += [nn.Linear(width_in, width_out), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*layers)
        self.classifier = classifier

    def forward(self, feature: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, K)."""
        logits: Tensor = self.classifier(self.hidden(feature))
        return logits
