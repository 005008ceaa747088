"""Backbones: timm's networks and those missing from it, as vectors or pyramids, with stages and checked weights.

Importing this package registers lenet5, alexnet, alexnet_tv, zfnet, googlenet and the CIFAR ResNets with
timm.
"""

from visiontasks.backbones import alexnet, cifar_resnet, googlenet, lenet, zfnet
from visiontasks.backbones.convolutionize import convolutionize
from visiontasks.backbones.export import (
    pyramid_arguments,
    save_config,
    save_local_dir,
    save_pyramid,
    save_weights,
    to_classifier,
)
from visiontasks.backbones.input_size import (
    explained_size,
    input_size,
    size_error,
    size_fault,
    takes_any_size,
    vary_size,
)
from visiontasks.backbones.names import check_name
from visiontasks.backbones.stages import Stage, split_stages, stage_outputs
from visiontasks.backbones.views import (
    Normalization,
    create_pyramid,
    create_vector,
    image_size,
    map_channels,
    normalization,
)
from visiontasks.backbones.weights import check_weights

__all__ = [
    "Normalization",
    "Stage",
    "alexnet",
    "check_name",
    "check_weights",
    "cifar_resnet",
    "convolutionize",
    "create_pyramid",
    "create_vector",
    "explained_size",
    "googlenet",
    "image_size",
    "input_size",
    "lenet",
    "map_channels",
    "normalization",
    "pyramid_arguments",
    "save_config",
    "save_local_dir",
    "save_pyramid",
    "save_weights",
    "size_error",
    "size_fault",
    "split_stages",
    "stage_outputs",
    "takes_any_size",
    "to_classifier",
    "vary_size",
    "zfnet",
]
