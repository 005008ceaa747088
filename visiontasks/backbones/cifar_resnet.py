"""The CIFAR ResNets of He et al. section 4.2, and their plain twins without shortcuts.

Deep Residual Learning for Image Recognition. Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, 2015.
https://arxiv.org/abs/1512.03385

A 3x3 stem of 16 channels, then three stages of n blocks with 16, 32 and 64 channels, two 3x3 convolutions
a block: 6n + 2 weighted layers. Where the shape changes, the shortcut takes every second pixel and fills the
new channels with zeros (option A), so a ResNet has exactly as many parameters as its plain twin.

Deviations: the classifier starts from N(0, 0.01) instead of He's initialisation, so that the first loss is
close to ln K; the input is normalized by mean and std instead of by the per-pixel mean. Any input size and
channel count work.
"""

from typing import Any

import torch.nn.functional as F
from timm.layers.classifier import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from visiontasks.backbones.shipped import shipped_file

__all__ = ["CifarResNet"]

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and the option A shortcut unless the network is plain."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut = shortcut
        self.new_channels = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        if self.shortcut:
            y = y + self._match_shape(x)
        out: Tensor = self.act2(y)
        return out

    def _match_shape(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x


class CifarResNet(nn.Module):
    """A ResNet for small images, with timm's model interface.

    Args:
        depth: Weighted layers, 6n + 2.
        shortcut: False builds the plain twin.
        drop_rate: Dropout before the classifier.
        global_pool: timm's pooling type; "" returns the feature map instead of a vector.
    """

    def __init__(
        self,
        depth: int,
        shortcut: bool = True,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth is {depth}, expected 6n + 2 (20, 32, 44, 56, 110)")
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = nn.ReLU(inplace=True)
        self.layer1 = _make_stage(16, 16, 1, blocks, shortcut)
        self.layer2 = _make_stage(16, 32, 2, blocks, shortcut)
        self.layer3 = _make_stage(32, 64, 2, blocks, shortcut)
        self.feature_info = [
            {"num_chs": 16, "reduction": 1, "module": "layer1"},
            {"num_chs": 32, "reduction": 2, "module": "layer2"},
            {"num_chs": 64, "reduction": 4, "module": "layer3"},
        ]
        self.num_features = self.head_hidden_size = 64
        self.global_pool, self.fc = create_classifier(64, num_classes, pool_type=global_pool)
        self.apply(_init_weights)

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (Identity where num_classes is 0)."""
        classifier: nn.Module = self.fc
        return classifier

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Replace the classifier by a new one; 0 classes leaves the pooled features."""
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(64, num_classes, pool_type=global_pool)
        self.fc.to(self.conv1.weight)
        _init_weights(self.fc)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Accept False only: these networks are small enough without gradient checkpointing."""
        if enable:
            raise NotImplementedError("the CIFAR ResNets have no gradient checkpointing")

    def forward_features(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the last feature map, (B, 64, ceil(H / 4), ceil(W / 4))."""
        x = self.act1(self.bn1(self.conv1(x)))
        features: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify; with pre_logits return the (B, 64) vector before the classifier."""
        x = self.global_pool(x)
        if self.drop_rate:
            x = F.dropout(x, p=self.drop_rate, training=self.training)
        if pre_logits:
            return x
        logits: Tensor = self.fc(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


def _make_stage(in_channels: int, out_channels: int, stride: int, blocks: int, shortcut: bool) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride, shortcut)
    rest = [BasicBlock(out_channels, out_channels, 1, shortcut) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def _cfg(**overrides: Any) -> dict[str, Any]:
    return {
        "input_size": (3, 32, 32),
        "pool_size": (8, 8),
        "num_classes": 10,
        "mean": CIFAR10_MEAN,
        "std": CIFAR10_STD,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
        **overrides,
    }


default_cfgs = generate_default_cfgs(
    {
        "resnet20_cifar.vt_cifar10": _cfg(file=shipped_file("resnet20_cifar.vt_cifar10")),
        "resnet32_cifar.untrained": _cfg(),
        "resnet44_cifar.untrained": _cfg(),
        "resnet56_cifar.untrained": _cfg(),
        "resnet110_cifar.untrained": _cfg(),
        "plain20_cifar.untrained": _cfg(),
        "plain56_cifar.untrained": _cfg(),
    }
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> CifarResNet:
    feature_cfg = {"out_indices": (0, 1, 2)}
    return build_model_with_cfg(CifarResNet, variant, pretrained, feature_cfg=feature_cfg, **kwargs)


@register_model
def resnet20_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-20, 0.27 M parameters."""
    return _create("resnet20_cifar", pretrained, depth=20, **kwargs)


@register_model
def resnet32_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-32, 0.46 M parameters."""
    return _create("resnet32_cifar", pretrained, depth=32, **kwargs)


@register_model
def resnet44_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-44, 0.66 M parameters."""
    return _create("resnet44_cifar", pretrained, depth=44, **kwargs)


@register_model
def resnet56_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-56, 0.85 M parameters."""
    return _create("resnet56_cifar", pretrained, depth=56, **kwargs)


@register_model
def resnet110_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-110, 1.7 M parameters; the paper warms it up at a learning rate of 0.01."""
    return _create("resnet110_cifar", pretrained, depth=110, **kwargs)


@register_model
def plain20_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-20 without shortcuts, for the paper's degradation experiment."""
    return _create("plain20_cifar", pretrained, depth=20, shortcut=False, **kwargs)


@register_model
def plain56_cifar(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-56 without shortcuts, for the paper's degradation experiment."""
    return _create("plain56_cifar", pretrained, depth=56, shortcut=False, **kwargs)
