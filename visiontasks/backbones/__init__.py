"""Backbones: timm's networks and those timm lacks, as vectors or as pyramids, with stages and checked weights.

Importing this package registers lenet5, alexnet, alexnet_tv, zfnet, googlenet and the CIFAR ResNets with timm.
"""

from visiontasks.backbones import cifar_resnet
from visiontasks.backbones.stages import Stage, split_stages
from visiontasks.backbones.views import (
    Normalization,
    create_pyramid,
    create_vector,
    fixed_input_size,
    image_size,
    normalization,
)

__all__ = [
    "Normalization",
    "Stage",
    "cifar_resnet",
    "create_pyramid",
    "create_vector",
    "fixed_input_size",
    "image_size",
    "normalization",
    "split_stages",
]
