"""Datasets as Lightning DataModules: uint8 batches, exact order and augmentation, no silent failure."""

import os

# Here, because it must come before whichever module imports albumentations first, whose import
# asks a server for the newest version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from visiontasks.data.base import DataModule
from visiontasks.data.datasets.cifar10 import CIFAR10
from visiontasks.data.datasets.coco_boxes import COCOBoxes
from visiontasks.data.datasets.csv_boxes import CSVBoxes
from visiontasks.data.datasets.detection_folder import DetectionFolder
from visiontasks.data.datasets.digit_scenes import DigitScenes
from visiontasks.data.datasets.digits import Digits
from visiontasks.data.datasets.image_folder import ImageFolder
from visiontasks.data.datasets.mask_folder import MaskFolder
from visiontasks.data.datasets.mnist import MNIST
from visiontasks.data.datasets.oxford_pets import OxfordPets
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
