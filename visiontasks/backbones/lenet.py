"""LeNet-5 as it is commonly realised: 61,706 parameters with 10 classes on 32x32 grey images.

Gradient-Based Learning Applied to Document Recognition. Yann LeCun, Leon Bottou, Yoshua Bengio, Patrick
Haffner, 1998. http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf

Deviations: ReLU instead of the scaled tanh; max pooling instead of the average with a trained scale and bias
(S2, S4); every map of C3 sees all six maps of S2 instead of a chosen subset; a linear layer instead of the
radial basis functions of the output; PyTorch's own initialisation, and the classifier from N(0, 0.01). The
paper pads the 28x28 digits to 32x32; an adaptive average pool, the identity at 32x32, makes other sizes of at
least 16x16 work.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from visiontasks.backbones.fully_connected import FullyConnectedNet

__all__ = ["LeNet5"]

MNIST_MEAN = (0.1307,)
MNIST_STD = (0.3081,)


class LeNet5(FullyConnectedNet):
    """LeNet-5 with timm's model interface; its vector is the 84 values of F6.

    Args:
        num_classes: Outputs of the classifier; 0 leaves it out.
        in_chans: Channels of the input.
        global_pool: "avg", or "" for the last feature map, see FullyConnectedNet.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 1, global_pool: str = "avg") -> None:
        features = nn.Sequential(
            nn.Conv2d(in_chans, 6, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        feature_info = [
            {"num_chs": 6, "reduction": 1, "module": "features.1"},
            {"num_chs": 16, "reduction": 2, "module": "features.4"},
            {"num_chs": 16, "reduction": 4, "module": "features.5"},
        ]
        hidden = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120), nn.ReLU(inplace=True), nn.Linear(120, 84), nn.ReLU(inplace=True)
        )
        super().__init__(features, feature_info, 5, hidden, 84, num_classes, in_chans, global_pool)


default_cfgs = generate_default_cfgs(
    {
        "lenet5.untrained": {
            "input_size": (1, 32, 32),
            "min_input_size": (1, 16, 16),
            "pool_size": (5, 5),
            "num_classes": 10,
            "mean": MNIST_MEAN,
            "std": MNIST_STD,
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "first_conv": "features.0",
            "classifier": "fc",
            "license": "apache-2.0",
        }
    }
)


@register_model
def lenet5(pretrained: bool = False, **kwargs: Any) -> LeNet5:
    """LeNet-5 for 32x32 grey images and 10 classes."""
    feature_cfg = {"out_indices": (0, 1, 2), "flatten_sequential": True}
    return build_model_with_cfg(LeNet5, "lenet5", pretrained, feature_cfg=feature_cfg, **kwargs)
