"""AlexNet twice: the two-group network of the 2012 paper, and torchvision's one with its weights.

ImageNet Classification with Deep Convolutional Neural Networks. Alex Krizhevsky, Ilya Sutskever, Geoffrey E.
Hinton, 2012. https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html

`alexnet`: 60,965,224 parameters. Deviations: the input is 227x227 (the paper's figure says 224, which does
not give its 55x55 map), normalized by mean and std of the colours instead of by the mean image; the two GPUs'
halves are groups of one network. Its initialisation is the paper's: N(0, 0.01), and biases of 1 in the layers
2, 4, 5 and the hidden ones.

`alexnet_tv`: torchvision's, of One weird trick for parallelizing convolutional neural networks (Alex
Krizhevsky, 2014, https://arxiv.org/abs/1404.5997): one group, 64 to 256 channels, no response normalization,
61,100,840 parameters. Its dropout comes before each hidden layer instead of after.

In both an adaptive average pool, the identity at the paper's size, makes other sizes work, of at least 67x67
(`alexnet`) and 63x63 (`alexnet_tv`).
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from visiontasks.backbones.fully_connected import FullyConnectedNet

__all__ = ["AlexNet", "AlexNetTV"]

# torchvision's numbered classifier layers, as ours are named.
TORCHVISION_NAMES = {"classifier.1.": "hidden.fc6.", "classifier.4.": "hidden.fc7.", "classifier.6.": "fc."}


def response_norm() -> nn.LocalResponseNorm:
    """The paper's local response normalization over 5 channels: k = 2, alpha = 1e-4, beta = 0.75.

    The paper adds alpha times the sum of the squares, PyTorch alpha times their mean: hence 5 times the
    paper's alpha.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def hidden_layers(in_features: int, drop_rate: float) -> nn.Sequential:
    """fc6 and fc7 of the 2012 paper: 4096 units each, with dropout on their outputs."""
    return nn.Sequential(
        OrderedDict(
            fc6=nn.Linear(in_features, 4096),
            act6=nn.ReLU(inplace=True),
            drop6=nn.Dropout(drop_rate),
            fc7=nn.Linear(4096, 4096),
            act7=nn.ReLU(inplace=True),
            drop7=nn.Dropout(drop_rate),
        )
    )


class AlexNet(FullyConnectedNet):
    """The network of the 2012 paper with timm's model interface; its vector is the 4096 values of fc7.

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
            nn.Conv2d(in_chans, 96, 11, stride=4),
            nn.ReLU(inplace=True),
            response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            response_norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(256, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        feature_info = [
            {"num_chs": 96, "reduction": 4, "module": "features.1"},
            {"num_chs": 256, "reduction": 8, "module": "features.5"},
            {"num_chs": 256, "reduction": 16, "module": "features.13"},
            {"num_chs": 256, "reduction": 32, "module": "features.14"},
        ]
        hidden = hidden_layers(256 * 6 * 6, drop_rate)
        super().__init__(features, feature_info, 6, hidden, 4096, num_classes, in_chans, global_pool)
        self._init_weights()

    def _init_weights(self) -> None:
        ones = [self.features[i] for i in (4, 10, 12)] + [self.hidden.fc6, self.hidden.fc7]
        for module in [*self.features, *self.hidden]:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.constant_(cast(Tensor, module.bias), float(module in ones))


class AlexNetTV(FullyConnectedNet):
    """torchvision's AlexNet with timm's model interface; its vector is the 4096 values of fc7.

    Args:
        num_classes: Outputs of the classifier; 0 leaves it out.
        in_chans: Channels of the input.
        drop_rate: Dropout on the inputs of fc6 and fc7.
        global_pool: "avg", or "" for the last feature map, see FullyConnectedNet.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.5, global_pool: str = "avg"
    ) -> None:
        features = nn.Sequential(
            nn.Conv2d(in_chans, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        feature_info = [
            {"num_chs": 64, "reduction": 4, "module": "features.1"},
            {"num_chs": 192, "reduction": 8, "module": "features.4"},
            {"num_chs": 256, "reduction": 16, "module": "features.11"},
            {"num_chs": 256, "reduction": 32, "module": "features.12"},
        ]
        hidden = nn.Sequential(
            OrderedDict(
                drop6=nn.Dropout(drop_rate),
                fc6=nn.Linear(256 * 6 * 6, 4096),
                act6=nn.ReLU(inplace=True),
                drop7=nn.Dropout(drop_rate),
                fc7=nn.Linear(4096, 4096),
                act7=nn.ReLU(inplace=True),
            )
        )
        super().__init__(features, feature_info, 6, hidden, 4096, num_classes, in_chans, global_pool)


def rename_torchvision_keys(state_dict: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map the keys of torchvision's AlexNet weights to ours; ours pass unchanged."""
    renamed = {}
    for key, tensor in state_dict.items():
        prefix = next((old for old in TORCHVISION_NAMES if key.startswith(old)), None)
        renamed[TORCHVISION_NAMES[prefix] + key.removeprefix(prefix) if prefix else key] = tensor
    return renamed


def _cfg(**overrides: Any) -> dict[str, Any]:
    return {
        "input_size": (3, 224, 224),
        "pool_size": (6, 6),
        "num_classes": 1000,
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "crop_pct": 0.875,
        "interpolation": "bilinear",
        "first_conv": "features.0",
        "classifier": "fc",
        **overrides,
    }


default_cfgs = generate_default_cfgs(
    {
        "alexnet.untrained": _cfg(
            input_size=(3, 227, 227), min_input_size=(3, 67, 67), crop_pct=227 / 256, license="apache-2.0"
        ),
        "alexnet_tv.tv_in1k": _cfg(
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            min_input_size=(3, 63, 63),
            license="bsd-3-clause",
        ),
    }
)

FEATURE_CFG = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}


@register_model
def alexnet(pretrained: bool = False, **kwargs: Any) -> AlexNet:
    """AlexNet of the 2012 paper, two groups, 61.0 M parameters."""
    return build_model_with_cfg(AlexNet, "alexnet", pretrained, feature_cfg=dict(FEATURE_CFG), **kwargs)


@register_model
def alexnet_tv(pretrained: bool = False, **kwargs: Any) -> AlexNetTV:
    """torchvision's AlexNet, 61.1 M parameters."""
    return build_model_with_cfg(
        AlexNetTV,
        "alexnet_tv",
        pretrained,
        feature_cfg=dict(FEATURE_CFG),
        pretrained_filter_fn=rename_torchvision_keys,
        **kwargs,
    )
