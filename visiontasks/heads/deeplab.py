"""DeepLabV3 on torchvision's atrous spatial pyramid pooling.

Rethinking Atrous Convolution for Semantic Image Segmentation. Liang-Chieh Chen, George Papandreou, Florian Schroff,
Hartwig Adam, 2017. https://arxiv.org/abs/1706.05587

Deviations: the backbone keeps its strides (the paper dilates the last blocks to stride 16 or 8), and the paper's rates
at stride 16 are scaled to the actual stride. A 3x3 convolution follows the pooling, before the scores, as in
torchvision. Batch normalization takes running statistics where there is one value, as in the image-level branch for a
batch of one image.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from visiontasks.heads.dense import BatchNorm, DenseHead, Size, check_positive, conv_norm_act, resize

RATES = (6, 12, 18)  # of the paper, at stride 16


class DeepLabV3Head(DenseHead):
    """Convolves the deepest map with several dilations, adds its mean, and scores both together.

    Args:
        channels: See DenseHead.
        reductions: See DenseHead.
        num_classes: K.
        branch_width: Channels of each branch and after them.

    Raises:
        InputError: If branch_width is below 1.
    """

    def __init__(
        self, channels: Sequence[int], reductions: Sequence[int], num_classes: int, *, branch_width: int = 256
    ) -> None:
        super().__init__(channels, reductions)
        check_positive(branch_width=branch_width)
        self.aspp = ASPP(channels[-1], [max(1, rate * 16 // reductions[-1]) for rate in RATES], branch_width)
        for parent in [*self.aspp.modules()]:
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, BatchNorm(child.num_features))
        self.conv = conv_norm_act(branch_width, branch_width)
        self.score = nn.Conv2d(branch_width, num_classes, 1)

    def forward(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """See DenseHead."""
        return resize(self.score(self.conv(self.aspp(features[-1]))), size)
