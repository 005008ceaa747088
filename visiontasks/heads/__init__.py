"""Heads: what turns a backbone's output into logits, boxes or masks. Plain torch modules, no trainer.

Vector heads are made as `Head(in_features, num_outputs)` and take a feature vector; dense heads are made as
`Head(channels, reductions, num_classes)` and take a pyramid's maps and the image's size, and so are detection heads.
"""

from visiontasks.heads.box import BoxHead
from visiontasks.heads.deconv import DeconvHead
from visiontasks.heads.deeplab import DeepLabV3Head
from visiontasks.heads.dense import DenseHead
from visiontasks.heads.detection import DetectionHead
from visiontasks.heads.fasterrcnn import FasterRCNNHead
from visiontasks.heads.fcn import FCNHead
from visiontasks.heads.fcos import FCOSHead
from visiontasks.heads.hourglass import HourglassHead
from visiontasks.heads.linear import LinearHead
from visiontasks.heads.mlp import MLPHead
from visiontasks.heads.retinanet import RetinaNetHead
from visiontasks.heads.unet import UNetHead

__all__ = [
    "BoxHead",
    "DeconvHead",
    "DeepLabV3Head",
    "DenseHead",
    "DetectionHead",
    "FCNHead",
    "FCOSHead",
    "FasterRCNNHead",
    "HourglassHead",
    "LinearHead",
    "MLPHead",
    "RetinaNetHead",
    "UNetHead",
]
