"""ZFNet: AlexNet with a finer first layer. 62,357,608 parameters.

Visualizing and Understanding Convolutional Networks. Matthew D. Zeiler, Rob Fergus, 2014.
https://arxiv.org/abs/1311.2901

The first layer is 7x7 with stride 2 (AlexNet: 11x11, stride 4), the second has stride 2, and no layer is
grouped. The maps at 224x224 are those of the paper's figure 3: 110, 55, 26, 13, 13, 13, 6; the paddings that
give them are a padding of 1 in the first layer and pools that round up.

Deviations: the paper's contrast normalization across feature maps is AlexNet's local response normalization,
with its constants; "initialized to 10^-2" is read as N(0, 0.01) with zero biases; first-layer filters are not
renormalized during training; the input is normalized by mean and std of the colours instead of by the mean
image. An adaptive average pool, the identity at 224x224, makes other sizes of at least 47x47 work.
"""

from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from visiontasks.backbones.alexnet import hidden_layers, response_norm
from visiontasks.backbones.fully_connected import FullyConnectedNet

__all__ = ["ZFNet"]


class ZFNet(FullyConnectedNet):
    """ZFNet with timm's model interface; its vector is the 4096 values of fc7.

    Args:
        num_classes: Outputs of the classifier; 0 leaves it out.
        in_chans: Channels of the input.
        drop_rate: Dropout on the outputs of fc6 and fc7.
        global_pool: "avg", or "" for the last feature map, see FullyConnectedNet.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.5, global_pool: str = "avg"
    ) -> None:
        features = nn.Sequential(
            nn.Conv2d(in_chans, 96, 7, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            response_norm(),
            nn.Conv2d(96, 256, 5, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            response_norm(),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        feature_info = [
            {"num_chs": 96, "reduction": 2, "module": "features.1"},
            {"num_chs": 96, "reduction": 4, "module": "features.3"},
            {"num_chs": 256, "reduction": 8, "module": "features.5"},
            {"num_chs": 256, "reduction": 16, "module": "features.13"},
            {"num_chs": 256, "reduction": 32, "module": "features.14"},
        ]
        hidden = hidden_layers(256 * 6 * 6, drop_rate)
        super().__init__(features, feature_info, 6, hidden, 4096, num_classes, in_chans, global_pool)
        for module in [*self.features, *self.hidden]:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(cast(Tensor, module.bias))


default_cfgs = generate_default_cfgs(
    {
        "zfnet.untrained": {
            "input_size": (3, 224, 224),
            "min_input_size": (3, 47, 47),
            "pool_size": (6, 6),
            "num_classes": 1000,
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "first_conv": "features.0",
            "classifier": "fc",
            "license": "apache-2.0",
        }
    }
)


@register_model
def zfnet(pretrained: bool = False, **kwargs: Any) -> ZFNet:
    """ZFNet, 62.4 M parameters."""
    feature_cfg = {"out_indices": (0, 1, 2, 3, 4), "flatten_sequential": True}
    return build_model_with_cfg(ZFNet, "zfnet", pretrained, feature_cfg=feature_cfg, **kwargs)
