"""A loop of plain PyTorch over images that lie in memory, resized and normalized before the clock starts.

No loading, no augmentation, no checkpoint, no logging. Network, optimizer, batches, frozen BatchNorm, memory layout
(channels_last) and the allocator's setting are visiontasks', and so is the precision, which run.py gives.

    python bench/peer_raw.py PHOTOS WEIGHTS TIMES.json 32-true|bf16-mixed
"""

import sys
import time
from collections.abc import Iterator

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from bench.work import (
    BACKBONE_LR_SCALE,
    BATCH_SIZE,
    FROZEN_EPOCHS,
    FULL_EPOCHS,
    IMAGE_SIZE,
    LABEL_SMOOTHING,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Epoch,
    write_epochs,
)
from visiontasks.training.machine import keep_freed_memory


def in_memory(folder: str, mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """All images of a folder, normalized, channels last, and their labels."""
    transform = v2.Compose(
        [
            v2.Resize(IMAGE_SIZE),
            v2.CenterCrop(IMAGE_SIZE),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    images, labels = zip(*ImageFolder(folder, transform), strict=True)
    return torch.stack(images).contiguous(memory_format=torch.channels_last), torch.tensor(labels)


def batches(images: Tensor, labels: Tensor, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(images)) if shuffle else torch.arange(len(images))
    for rows in order.split(BATCH_SIZE):
        if len(rows) == BATCH_SIZE or not shuffle:
            yield images[rows], labels[rows]


def main(photos: str, weights: str, times: str, precision: str) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    backbone = timm.create_model(f"local-dir:{weights}", pretrained=True, num_classes=0)
    config = timm.data.resolve_data_config(model=backbone)
    train, test = (in_memory(f"{photos}/{split}", config["mean"], config["std"]) for split in ("train", "val"))
    head = nn.Linear(backbone.num_features, int(train[1].max()) + 1)
    model = nn.Sequential(backbone, head).to(memory_format=torch.channels_last)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    optimizer = torch.optim.AdamW(
        [{"params": head.parameters()}, {"params": backbone.parameters(), "lr": BACKBONE_LR_SCALE * LEARNING_RATE}],
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
    )
    model.eval()  # BatchNorm keeps its statistics, also when it is trained; nothing else depends on the mode
    epochs: list[Epoch] = []
    for epoch in range(FROZEN_EPOCHS + FULL_EPOCHS):
        start = time.monotonic()
        backbone.requires_grad_(epoch >= FROZEN_EPOCHS)
        trained = 0
        for image, label in batches(*train, shuffle=True):
            with autocast:
                logits = model(image)
            F.cross_entropy(logits.float(), label, label_smoothing=LABEL_SMOOTHING).backward()
            optimizer.step()
            optimizer.zero_grad()
            trained += len(image)
        right = 0
        with torch.inference_mode(), autocast:
            for image, label in batches(*test, shuffle=False):
                right += int((model(image).argmax(1) == label).sum())
        epochs.append(Epoch(time.monotonic() - start, trained, right / len(test[1])))
    write_epochs(times, epochs, precision=precision)


if __name__ == "__main__":
    main(*sys.argv[1:])
