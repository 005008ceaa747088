"""A detector's head on cached maps of a frozen backbone trains the same network as without a cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visiontasks.commands import finetune as run
from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.recipe import find_recipe

pytestmark = [pytest.mark.filterwarnings("ignore:.*sync_dist=True")]
OPTIONS = [
    *("--model.backbone", "resnet20_cifar.vt_cifar10", "--model.head.init_args.width", "8"),
    *("--data.root", "squares", "--data.image_size", "32", "--data.batch_size", "4", "--data.num_workers", "0"),
    *("--data.cache_images_gb", "0"),  # what is read is counted
    *("--trainer.max_epochs", "4", "--trainer.num_sanity_val_steps", "0", "--trainer.precision", "32-true"),
    *("--finetune.freeze_epochs", "3", "--finetune.cached_views", "1"),
]


def write_squares(root: Path) -> None:
    """20 images with none to two white squares, as COCO json."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    for i in range(20):
        pixels = rng.integers(0, 100, (32, 40, 3)).astype(np.uint8)
        for _ in range(i % 3):
            x, y = (int(value) for value in rng.integers(0, 20, 2))
            pixels[y : y + 12, x : x + 12] = 255
            box = {"image_id": i, "category_id": 1, "bbox": [x, y, 12, 12], "area": 144, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, **box})
        Image.fromarray(pixels).save(root / "images" / f"{i}.png")
    images = [{"id": i, "file_name": f"{i}.png", "height": 32, "width": 40} for i in range(20)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "square"}]}
    (root / "annotations.json").write_text(json.dumps(content))


MOSAIC = "[{class_path: Mosaic, init_args: {target_size: [32, 32], cell_shape: [32, 32], p: 1.0}}]"


@pytest.mark.slow
@pytest.mark.parametrize("augment", [[], ["--data.augment", MOSAIC]], ids=["alone", "mosaic"])
def test_cached_maps_train_the_same_and_read_no_images(
    augment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three frozen epochs repeat one augmentation; the second and the third read nothing but the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "write_measured", lambda *_, **__: None)  # which reads images anew
    monkeypatch.setattr(run, "log_picture", lambda *_, **__: None)
    monkeypatch.setenv("VISIONTASKS_CACHE", str(tmp_path / "cache"))
    write_squares(Path("squares"))
    reads: dict[str, int] = {}
    states: dict[str, Any] = {}
    whole = BoxSource.__getitem__

    def counted(self: BoxSource, index: int) -> Any:
        reads[cache] += 1
        return whole(self, index)

    monkeypatch.setattr(BoxSource, "__getitem__", counted)
    for cache in ("auto", "off"):
        reads[cache] = 0
        options = [*OPTIONS, *augment, "--finetune.cache_features", cache]
        folder, result = run.finetune(find_recipe("folder_detect"), options)
        path = folder / "checkpoints" / "last.ckpt"
        states[cache] = (torch.load(path, weights_only=True)["state_dict"], result["metrics"])
    assert states["auto"][1] == states["off"][1]
    for name, value in states["off"][0].items():
        assert torch.equal(states["auto"][0][name], value), name
    assert reads["auto"] < reads["off"] - 12  # an epoch's training images at least
