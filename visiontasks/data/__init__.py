"""Datasets as Lightning DataModules: uint8 batches, exact order and augmentation, no silent failure.

Public names load on first use, so that a look at a folder (`visiontasks.data.formats.layouts`) needs no torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Here, because it must come before whichever module imports albumentations first, whose import
# asks a server for the newest version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

if TYPE_CHECKING:
    from visiontasks.data.base import DataModule
    from visiontasks.data.datasets.cifar10 import CIFAR10
    from visiontasks.data.datasets.coco_boxes import COCOBoxes
    from visiontasks.data.datasets.csv_boxes import CSVBoxes
    from visiontasks.data.datasets.detection_folder import DetectionFolder
    from visiontasks.data.datasets.digit_groups import DigitGroups
    from visiontasks.data.datasets.digit_scenes import DigitScenes
    from visiontasks.data.datasets.digits import Digits
    from visiontasks.data.datasets.image_folder import ImageFolder
    from visiontasks.data.datasets.mask_folder import MaskFolder
    from visiontasks.data.datasets.mnist import MNIST
    from visiontasks.data.datasets.oxford_pets import OxfordPets
    from visiontasks.data.datasets.table_images import TableImages, TableLabels
    from visiontasks.data.datasets.voc_boxes import VOCBoxes
    from visiontasks.data.datasets.voc_segmentation import VOCSegmentation
    from visiontasks.data.pipeline.loader import collate
    from visiontasks.data.pipeline.reader import read_image
    from visiontasks.data.pipeline.sources import Sample, Source, sample_name, stratified_split
    from visiontasks.data.pipeline.transforms import transform_names
    from visiontasks.outputs.geometry import resize_image

__all__ = [
    "CIFAR10",
    "MNIST",
    "COCOBoxes",
    "CSVBoxes",
    "DataModule",
    "DetectionFolder",
    "DigitGroups",
    "DigitScenes",
    "Digits",
    "ImageFolder",
    "MaskFolder",
    "OxfordPets",
    "Sample",
    "Source",
    "TableImages",
    "TableLabels",
    "VOCBoxes",
    "VOCSegmentation",
    "collate",
    "read_image",
    "resize_image",
    "sample_name",
    "stratified_split",
    "transform_names",
]

_HOME = {
    "CIFAR10": "visiontasks.data.datasets.cifar10",
    "MNIST": "visiontasks.data.datasets.mnist",
    "COCOBoxes": "visiontasks.data.datasets.coco_boxes",
    "CSVBoxes": "visiontasks.data.datasets.csv_boxes",
    "DataModule": "visiontasks.data.base",
    "DetectionFolder": "visiontasks.data.datasets.detection_folder",
    "DigitGroups": "visiontasks.data.datasets.digit_groups",
    "DigitScenes": "visiontasks.data.datasets.digit_scenes",
    "Digits": "visiontasks.data.datasets.digits",
    "ImageFolder": "visiontasks.data.datasets.image_folder",
    "MaskFolder": "visiontasks.data.datasets.mask_folder",
    "OxfordPets": "visiontasks.data.datasets.oxford_pets",
    "Sample": "visiontasks.data.pipeline.sources",
    "Source": "visiontasks.data.pipeline.sources",
    "TableImages": "visiontasks.data.datasets.table_images",
    "TableLabels": "visiontasks.data.datasets.table_images",
    "VOCBoxes": "visiontasks.data.datasets.voc_boxes",
    "VOCSegmentation": "visiontasks.data.datasets.voc_segmentation",
    "collate": "visiontasks.data.pipeline.loader",
    "read_image": "visiontasks.data.pipeline.reader",
    "resize_image": "visiontasks.outputs.geometry",
    "sample_name": "visiontasks.data.pipeline.sources",
    "stratified_split": "visiontasks.data.pipeline.sources",
    "transform_names": "visiontasks.data.pipeline.transforms",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
