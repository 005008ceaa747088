"""What proofs share."""

import argparse
from collections.abc import Iterator, Sequence
from statistics import mean, stdev

import numpy as np

from visiontasks.backbones import create_vector
from visiontasks.data import ImageFolder
from visiontasks.study.features import Features, image_features


def datasets(words: Sequence[str], description: str) -> tuple[Iterator[tuple[str, Features]], argparse.Namespace]:
    """Features of the datasets that are named as NAME=FOLDER (class folders, or splits of them), and the options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--most", type=int, default=5000, help="images of a dataset")
    given = parser.parse_args(words)
    named = (each.partition("=") for each in given.data)
    found = ((name, read_features(path, given.backbone, given.image_size, given.most)) for name, _, path in named)
    return found, given


def read_features(folder: str, backbone: str, image_size: int, most: int) -> Features:
    """Features of all images of a folder, of the first `most` in a random order."""
    data = ImageFolder(folder, image_size=image_size)
    data.setup()
    network = create_vector(backbone, weights="hub", image_size=image_size)
    features = image_features(data, network)
    order = np.random.default_rng(0).permutation(len(features))[:most]
    return features.select(np.sort(order))


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.3g} (sd {deviation:.2g})"
