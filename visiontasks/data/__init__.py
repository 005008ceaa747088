"""Datasets as Lightning DataModules: uint8 batches, exact order and augmentation, and no silent failure."""

from visiontasks.data.base import DataModule
from visiontasks.data.cifar10 import CIFAR10
from visiontasks.data.digits import Digits

__all__ = ["CIFAR10", "DataModule", "Digits"]
