"""Plain Lightning as its documentation teaches it: a LightningModule, torchvision's transforms, BackboneFinetuning.

https://lightning.ai/docs/pytorch/stable/advanced/finetuning.html and the example of `BackboneFinetuning`: Adam,
learning rate 1e-3, the backbone joins with a tenth of it, all other arguments at their defaults. As many workers as
Lightning's own warning asks for, and persistent, as it asks for too.

    python bench/peer_lightning.py PHOTOS WEIGHTS TIMES.json
"""

import sys
import time
from typing import Any

import lightning as L
import timm
import torch
import torch.nn.functional as F
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch.callbacks import BackboneFinetuning
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import Accuracy
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from bench.work import BATCH_SIZE, FROZEN_EPOCHS, FULL_EPOCHS, IMAGE_SIZE, LEARNING_RATE, MIN_SCALE, Epoch, write_epochs


class Classifier(L.LightningModule):
    def __init__(self, weights: str, num_classes: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(f"local-dir:{weights}", pretrained=True, num_classes=0)
        self.head = torch.nn.Linear(self.backbone.num_features, num_classes)
        self.accuracy = Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        image, label = batch
        loss = F.cross_entropy(self(image), label)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        image, label = batch
        logits = self(image)
        self.accuracy(logits, label)
        self.log("val_loss", F.cross_entropy(logits, label), prog_bar=True)
        self.log("val_acc", self.accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(filter(lambda p: p.requires_grad, self.parameters()), lr=LEARNING_RATE)


class Times(L.Callback):
    def __init__(self, images: int) -> None:
        self.images = images
        self.epochs: list[Epoch] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        top1 = float(trainer.callback_metrics["val_acc"])
        self.epochs.append(Epoch(time.monotonic() - self.start, self.images, top1))


def main(photos: str, weights: str, times: str) -> None:
    L.seed_everything(0, workers=True)
    config = timm.data.resolve_data_config(model=timm.create_model(f"local-dir:{weights}", pretrained=False))
    to_tensor = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(config["mean"], config["std"]),
    ]
    augment = [v2.RandomResizedCrop(IMAGE_SIZE, scale=(MIN_SCALE, 1.0)), v2.RandomHorizontalFlip()]
    resize = [v2.Resize(IMAGE_SIZE), v2.CenterCrop(IMAGE_SIZE)]
    train = ImageFolder(f"{photos}/train", v2.Compose([*augment, *to_tensor]))
    val = ImageFolder(f"{photos}/val", v2.Compose([*resize, *to_tensor]))
    workers = suggested_max_num_workers(1)
    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "num_workers": workers, "persistent_workers": workers > 0}
    clock = Times(len(train))
    trainer = L.Trainer(
        max_epochs=FROZEN_EPOCHS + FULL_EPOCHS,
        callbacks=[BackboneFinetuning(unfreeze_backbone_at_epoch=FROZEN_EPOCHS), clock],
    )
    trainer.fit(
        Classifier(weights, len(train.classes)),
        DataLoader(train, shuffle=True, **options),
        DataLoader(val, **options),
    )
    write_epochs(times, clock.epochs, precision=str(trainer.precision))


if __name__ == "__main__":
    main(*sys.argv[1:])
