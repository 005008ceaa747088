"""GoogLeNet as torchvision has it, without auxiliary heads: 6,624,904 parameters.

Going Deeper with Convolutions. Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed,
Dragomir Anguelov, Dumitru Erhan, Vincent Vanhoucke, Andrew Rabinovich, 2014. https://arxiv.org/abs/1409.4842

Deviations, all of them torchvision's, whose weights this network loads: batch norm after every convolution
instead of biases and response normalization; the branch that the paper calls 5x5 has 3x3 convolutions
(https://github.com/pytorch/vision/issues/906); dropout of 0.2 instead of 0.4; the last pool is 2x2. Both
auxiliary heads are left out. The weights come from TensorFlow and want mean = std = 0.5, which torchvision
hides in `transform_input`. Without weights, convolutions start from He's initialisation.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.classifier import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

__all__ = ["GoogLeNet"]


class ConvNormAct(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H', W')."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """Four branches side by side, joined along the channels.

    Args:
        in_channels: Channels of the input.
        one: Channels of the 1x1 branch.
        three: Channels of the 3x3 branch, reduced and final.
        five: Channels of the branch that the paper calls 5x5, reduced and final.
        pool: Channels of the pooling branch.
    """

    def __init__(self, in_channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.branch1 = ConvNormAct(in_channels, one, 1)
        self.branch2 = nn.Sequential(
            ConvNormAct(in_channels, three[0], 1), ConvNormAct(three[0], three[1], 3, padding=1)
        )
        self.branch3 = nn.Sequential(ConvNormAct(in_channels, five[0], 1), ConvNormAct(five[0], five[1], 3, padding=1))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), ConvNormAct(in_channels, pool, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """GoogLeNet with timm's model interface; its vector is the 1024 pooled values.

    Args:
        num_classes: Outputs of the classifier; 0 leaves it out.
        in_chans: Channels of the input.
        drop_rate: Dropout before the classifier.
        global_pool: timm's pooling type; "" returns the feature map instead of a vector.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.2, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.conv1 = ConvNormAct(in_chans, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = ConvNormAct(64, 64, 1)
        self.conv3 = ConvNormAct(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "conv1"},
            {"num_chs": 192, "reduction": 4, "module": "conv3"},
            {"num_chs": 480, "reduction": 8, "module": "inception3b"},
            {"num_chs": 832, "reduction": 16, "module": "inception4e"},
            {"num_chs": 1024, "reduction": 32, "module": "inception5b"},
        ]
        self.num_features = self.head_hidden_size = 1024
        self.global_pool, self.fc = create_classifier(1024, num_classes, pool_type=global_pool)
        self.apply(_init_weights)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (Identity where num_classes is 0)."""
        classifier: nn.Module = self.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Replace the classifier by a new one; 0 classes leaves the pooled features."""
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(1024, num_classes, pool_type=global_pool)
        self.fc.to(self.conv1.conv.weight)
        _init_weights(self.fc)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Accept False only: this network has no gradient checkpointing."""
        if enable:
            raise NotImplementedError("GoogLeNet has no gradient checkpointing")

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the last feature map, (B, 1024, ceil(H / 32), ceil(W / 32))."""
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.maxpool4(self.inception4e(self.inception4d(x)))
        features: Tensor = self.inception5b(self.inception5a(x))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify; with pre_logits return the (B, 1024) vector before the classifier."""
        x = F.dropout(self.global_pool(x), p=self.drop_rate, training=self.training)
        if pre_logits:
            return x
        logits: Tensor = self.fc(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


def drop_auxiliary_heads(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Leave out the two auxiliary heads that torchvision's weights hold."""
    return {k: v for k, v in state_dict.items() if not k.startswith(("aux1.", "aux2."))}


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


default_cfgs = generate_default_cfgs(
    {
        "googlenet.tv_in1k": {
            "url": "https://download.pytorch.org/models/googlenet-1378be20.pth",
            "input_size": (3, 224, 224),
            "min_input_size": (3, 15, 15),
            "pool_size": (7, 7),
            "num_classes": 1000,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "first_conv": "conv1.conv",
            "classifier": "fc",
            "license": "bsd-3-clause",
        }
    }
)


@register_model
def googlenet(pretrained: bool = False, **kwargs: Any) -> GoogLeNet:
    """torchvision's GoogLeNet, 6.6 M parameters."""
    return build_model_with_cfg(GoogLeNet, "googlenet", pretrained, pretrained_filter_fn=drop_auxiliary_heads, **kwargs)
