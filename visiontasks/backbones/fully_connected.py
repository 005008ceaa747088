"""The frame of the networks with fully connected layers (LeNet-5, AlexNet, ZFNet), with timm's interface.

convolutions -> adaptive average pool -> flatten -> hidden layers -> classifier. At the paper's input size the
pool is the identity; it is not in the papers, and makes other input sizes work.
"""

from typing import Any, cast

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
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.feature_info = feature_info
        self.num_features = int(feature_info[-1]["num_chs"])
        self.head_hidden_size = hidden_size
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(pool_size)
        self.flatten = nn.Flatten()
        self.hidden = hidden
        self.fc = make_classifier(hidden_size, num_classes)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (Identity where num_classes is 0)."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one; 0 classes leaves the last hidden layer's output."""
        if global_pool is not None:
            raise ValueError(f"global_pool is {global_pool!r}, but the network has fully connected layers instead")
        self.num_classes = num_classes
        self.fc = make_classifier(self.head_hidden_size, num_classes).to(next(self.parameters()))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Accept False only: these networks have no gradient checkpointing."""
        if enable:
            raise NotImplementedError(f"{type(self).__name__} has no gradient checkpointing")

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the last feature map (B, num_features, h, w)."""
        return cast(Tensor, self.features(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last feature map to logits, with pre_logits to the (B, head_hidden_size) vector before."""
        x = self.hidden(self.flatten(self.pool(x)))
        return x if pre_logits else cast(Tensor, self.fc(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


def make_classifier(in_features: int, num_classes: int) -> nn.Module:
    """Build a linear layer that starts from N(0, 0.01) and a zero bias, or Identity for 0 classes."""
    if num_classes == 0:
        return nn.Identity()
    classifier = nn.Linear(in_features, num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    return classifier
