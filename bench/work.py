"""The work that all programs of the benchmark do, the images for it, and how a program says what it took."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

IMAGE_SIZE = 224
BATCH_SIZE = 32
FROZEN_EPOCHS = 3
FULL_EPOCHS = 3
MIN_SCALE = 0.35  # of the random crops, as in recipes/folder_resnet.yaml
LEARNING_RATE = 1e-3
BACKBONE_LR_SCALE = 0.1
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
MADE_CLASSES, MADE_TRAIN, MADE_TEST = 3, 100, 100


@dataclass(frozen=True)
class Epoch:
    """What one epoch took, its evaluation included.

    Args:
        seconds: Wall time.
        images: Images that were trained on.
        top1: Accuracy on the test images behind it.
    """

    seconds: float
    images: int
    top1: float


def write_epochs(path: str | Path, epochs: list[Epoch], **facts: str) -> None:
    """What a program leaves for run.py.

    Args:
        path: The JSON file.
        epochs: All epochs, the frozen ones first.
        facts: What else belongs to the measurement, such as the precision.
    """
    Path(path).write_text(json.dumps({"epochs": [asdict(epoch) for epoch in epochs], **facts}, indent=2))


def read_epochs(path: str | Path) -> tuple[list[Epoch], dict[str, str]]:
    """What `write_epochs` wrote: the epochs, and the facts."""
    content = json.loads(Path(path).read_text())
    return [Epoch(**epoch) for epoch in content.pop("epochs")], content


def make_images(root: Path, *, classes: int = MADE_CLASSES, train: int = MADE_TRAIN, test: int = MADE_TEST) -> None:
    """Write JPEG photographs that never were: blurred noise under stripes, whose direction is the class.

    They have the size and about the bytes of photographs, so that decoding them costs as much.

    Args:
        root: Gets train/<class>/ and test/<class>/.
        classes: Number of classes.
        train: Training images of each.
        test: Test images of each.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                cv2.imwrite(str(folder / f"{i}.jpg"), _photograph(rng, np.pi * label / classes))


def _photograph(rng: np.random.Generator, angle: float) -> np.ndarray:
    height, width = rng.integers(256, 400, size=2)
    y, x = np.mgrid[:height, :width]
    phase = rng.uniform(0, 2 * np.pi)
    stripes = 40 * np.sin((np.cos(angle) * x + np.sin(angle) * y) / rng.uniform(4, 12) + phase)
    noise = cv2.GaussianBlur(rng.normal(128, 120, (height, width, 3)), (0, 0), 1.5)
    return np.asarray((noise + stripes[..., None]).clip(0, 255), dtype=np.uint8)
