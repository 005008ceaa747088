"""The frame of the networks with fully connected layers (LeNet-5, AlexNet, ZFNet), with timm's interface.

convolutions -> adaptive average pool -> flatten -> hidden layers -> classifier. At the paper's input size the
pool is the identity; it is not in the papers, and makes other input sizes work.
"""

from typing import Any

from torch import Tensor, nn


class FullyConnectedNet(nn.Module):
    """A network whose vector view is the output of its last hidden layer.

    Args:
        features: The convolutions.
        feature_info: timm's description of the feature maps; modules are named "features.<name>".
        pool_size: Height and width of the last feature map at the paper's input size.
        hidden: The layers between the flattened map and the classifier.
        hidden_size: Width of the last hidden layer.
        num_classes: Outputs of the classifier; 0 leaves it out.
        in_chans: Channels of the input.
        global_pool: "avg", or "" for the last feature map in place of a vector, which takes num_classes 0. The name is
            timm's; the pool is the one before the hidden layers.

    Raises:
        ValueError: If global_pool is something else, or "" with a classifier.
    """

    def __init__(
        self,
        features: nn.Sequential,
        feature_info: list[dict[str, Any]],
        pool_size: int,
        hidden: nn.Sequential,
        hidden_size: int,
        num_classes: int,
        in_chans: int,
        global_pool: str,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.feature_info = feature_info
        self.num_features = int(feature_info[-1]["num_chs"])
        self.head_hidden_size = hidden_size
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(pool_size)
        self.flatten = nn.Flatten()
        self.hidden = hidden
        self.reset_classifier(num_classes, global_pool)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (Identity where num_classes is 0)."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one; 0 classes leaves the last hidden layer's output.

        Args:
            num_classes: Outputs of the classifier.
            global_pool: See the class; None keeps it.

        Raises:
            ValueError: See the class.
        """
        if global_pool is not None:
            self.global_pool = global_pool
        if self.global_pool not in ("avg", "") or (num_classes and not self.global_pool):
            raise ValueError(
                f'global_pool is {self.global_pool!r}, expected "avg", or "" with num_classes 0: the hidden layers of '
                f"{type(self).__name__} need a map of fixed size"
            )
        self.num_classes = num_classes
        self.fc = make_classifier(self.head_hidden_size, num_classes).to(next(self.parameters()))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Accept False only: these networks have no gradient checkpointing."""
        if enable:
            raise NotImplementedError(f"{type(self).__name__} has no gradient checkpointing")

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the last feature map (B, num_features, h, w)."""
        features: Tensor = self.features(x)
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last feature map to logits, with pre_logits to the (B, head_hidden_size) vector before.

        Without a pool the map is returned as it is.
        """
        if not self.global_pool:
            return x
        x = self.hidden(self.flatten(self.pool(x)))
        if pre_logits:
            return x
        logits: Tensor = self.fc(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K), to the last feature map (B, num_features, h, w) without a pool."""
        return self.forward_head(self.forward_features(x))


def make_classifier(in_features: int, num_classes: int) -> nn.Module:
    """Build a linear layer that starts from N(0, 0.01) and a zero bias, or Identity for 0 classes."""
    if num_classes == 0:
        return nn.Identity()
    classifier = nn.Linear(in_features, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return classifier
