"""The order that probing gives backbones is that of full fine-tuning.

python bench/study.py probe --pretrain CIFAR10_FOLDER --networks FOLDER [--backbone NAME] cifar=FOLDER:32

Each dataset is a folder with train/ and test/ of class folders, and the side of its images in pixels. Backbones are the
ResNet-20 that this package ships, and small timm networks that are pretrained here on some of CIFAR-10's training
images, for unlike times, so that some are better than others; they are stored in a folder, and read from there again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from visiontasks.backbones import create_vector, normalization
from visiontasks.backbones.export import save_local_dir
from visiontasks.data import DataModule, ImageFolder
from visiontasks.data.pipeline.loader import Loader, SplitDataset
from visiontasks.study.probe import study_backbones

SHIPPED = "resnet20_cifar.vt_cifar10"
PRETRAINED = (("test_resnet", 4), ("test_resnet", 1), ("test_efficientnet", 4), ("test_convnext", 4))
"""timm's networks, and epochs."""
SIDE = 32
"""Of the images that they are trained on, in pixels."""
EPOCHS, BATCH_SIZE, RATE = 10, 32, 1e-3
"""Of fine-tuning: all layers at one rate, by one cycle."""


def prove(words: Sequence[str]) -> None:
    """For each dataset the share of right answers of each backbone, probed and fine-tuned, and their correlation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER:SIDE")
    parser.add_argument("--pretrain", required=True, metavar="FOLDER")
    parser.add_argument("--networks", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--backbone", action="append", default=[], metavar="NAME", help="another one; may be repeated")
    given = parser.parse_args(words)
    names = [SHIPPED, *given.backbone, *_pretrained(given.pretrain, given.networks)]
    found = []
    for each in given.data:
        name, _, place = each.partition("=")
        folder, _, side = place.rpartition(":")
        data = ImageFolder(folder, image_size=int(side))
        data.setup()
        probed = {each.name: each.accuracy for each in study_backbones(data, names).probed}
        tuned = {name: _fine_tuned(data, name) for name in names}
        for backbone in names:
            print(f"{name:8} {Path(backbone).name:28} probed {probed[backbone]:.3f} fine-tuned {tuned[backbone]:.3f}")
        found.append(float(spearmanr([probed[each] for each in names], [tuned[each] for each in names]).statistic))
        print(f"{name:8} Spearman {found[-1]:.2f} over {len(names)} backbones, n {data.split_sizes}", flush=True)
    print(f"mean of {len(found)} datasets {sum(found) / len(found):.2f}")


def _pretrained(folder: str, networks: Path) -> list[str]:
    """Names of networks that are trained on images of a folder, which are stored where they are not yet."""
    places = [networks / f"{architecture}_{epochs}" for architecture, epochs in PRETRAINED]
    if not all((place / "config.json").is_file() for place in places):
        data = ImageFolder(folder, image_size=SIDE)
        data.setup()
        image, label = _images(data, "train", "val", "test")
        for place, (architecture, epochs) in zip(places, PRETRAINED, strict=True):
            torch.manual_seed(0)
            network = timm.create_model(architecture, num_classes=len(data.class_names))
            _train(network, _normalized(network, image), label, epochs)
            save_local_dir(network, place, data_config={"input_size": (3, SIDE, SIDE)})
    return [f"local-dir:{place}" for place in places]


def _fine_tuned(data: DataModule, name: str) -> float:
    """Share of test images that are right after fine-tuning on training and validation images."""
    torch.manual_seed(0)
    backbone = create_vector(name, weights="hub", image_size=data.image_size)
    head = nn.Linear(int(backbone.head_hidden_size), len(data.class_names))
    network = nn.Sequential(backbone, head)
    image, label = _images(data, "train", "val")
    _train(network, _normalized(backbone, image), label, EPOCHS)
    image, label = _images(data, "test")
    with torch.inference_mode():
        logits = [network(part) for part in _normalized(backbone, image).split(BATCH_SIZE)]
    return float((torch.cat(logits).argmax(1) == label).float().mean())


def _train(network: nn.Module, image: Tensor, label: Tensor, epochs: int) -> None:
    """Train all layers, and put the network into eval mode."""
    network.requires_grad_().train()
    steps = len(label) // BATCH_SIZE
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps * epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(label))[: steps * BATCH_SIZE].split(BATCH_SIZE):
            nn.functional.cross_entropy(network(image[rows]), label[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    network.eval()


def _images(data: DataModule, *splits: str) -> tuple[Tensor, Tensor]:
    """Images of some splits as an evaluation sees them, uint8 (n, 3, H, W), and their classes."""
    batches = []
    for split in splits:
        source = data.source(split)
        dataset = SplitDataset(source, data.image_size, data.resize, None, target=data.target, training=False)
        batches += list(Loader(dataset, batch_size=BATCH_SIZE, num_workers=0))
    return torch.cat([each["image"] for each in batches]), torch.cat([each["label"] for each in batches])


def _normalized(network: nn.Module, image: Tensor) -> Tensor:
    known = normalization(network)
    mean, std = (255 * torch.tensor(values).view(1, -1, 1, 1) for values in (known.mean, known.std))
    return (image - mean) / std
