"""fastai as its documentation teaches it: ImageDataLoaders, vision_learner, fine_tune.

https://docs.fast.ai/tutorial.vision.html: random resized crops of each image, `aug_transforms` of each batch,
everything else at its defaults. With `flip` as the last argument a batch is flipped and no more, which is what the
others do.

    python bench/peer_fastai.py PHOTOS WEIGHTS TIMES.json [flip]
"""

import sys
import time

from fastai.vision.all import (
    Callback,
    Flip,
    ImageDataLoaders,
    RandomResizedCrop,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)

from bench.work import BATCH_SIZE, FROZEN_EPOCHS, FULL_EPOCHS, IMAGE_SIZE, MIN_SCALE, Epoch, write_epochs


class Times(Callback):
    order = 70  # behind the Recorder, which is 50

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def before_epoch(self) -> None:
        self.start = time.monotonic()

    def after_epoch(self) -> None:
        top1 = float(self.learn.recorder.values[-1][-1])
        images = len(self.dls.train) * BATCH_SIZE  # what is left over is dropped
        self.epochs.append(Epoch(time.monotonic() - self.start, images, top1))


def main(photos: str, weights: str, times: str, augment: str = "docs") -> None:
    set_seed(0)
    dls = ImageDataLoaders.from_folder(
        photos,
        train="train",
        valid="val",
        bs=BATCH_SIZE,
        item_tfms=RandomResizedCrop(IMAGE_SIZE, min_scale=MIN_SCALE),
        batch_tfms=[Flip()] if augment == "flip" else aug_transforms(),
    )
    clock = Times()
    learn = vision_learner(dls, f"local-dir:{weights}", metrics=accuracy, cbs=clock)
    learn.fine_tune(FULL_EPOCHS, freeze_epochs=FROZEN_EPOCHS)
    write_epochs(times, clock.epochs, precision="32-true")


if __name__ == "__main__":
    main(*sys.argv[1:])
