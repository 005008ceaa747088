"""Datasets as Lightning DataModules: uint8 batches, exact order and augmentation, no silent failure."""

import os

# Here, because it must come before whichever module imports albumentations first, whose import
# asks a server for the newest version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from visiontasks.data.base import DataModule
from visiontasks.data.cifar10 import CIFAR10
from visiontasks.data.coco_boxes import COCOBoxes
from visiontasks.data.csv_boxes import CSVBoxes
from visiontasks.data.digit_scenes import DigitScenes
from visiontasks.data.digits import Digits
from visiontasks.data.folder import ImageFolder
from visiontasks.data.loader import collate
from visiontasks.data.mask_folder import MaskFolder
from visiontasks.data.mnist import MNIST
from visiontasks.data.oxford_pets import OxfordPets
from visiontasks.data.reader import read_image
from visiontasks.data.resize import resize_image
from visiontasks.data.sources import Sample, Source, sample_name, stratified_split
from visiontasks.data.transforms import transform_names
from visiontasks.data.voc_boxes import VOCBoxes
from visiontasks.data.voc_segmentation import VOCSegmentation

__all__ = [
    "CIFAR10",
    "MNIST",
    "COCOBoxes",
    "CSVBoxes",
    "DataModule",
    "DigitScenes",
    "Digits",
    "ImageFolder",
    "MaskFolder",
    "OxfordPets",
    "Sample",
    "Source",
    "VOCBoxes",
    "VOCSegmentation",
    "collate",
    "read_image",
    "resize_image",
    "sample_name",
    "stratified_split",
    "transform_names",
]
