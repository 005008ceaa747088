"""A task of a new kind: how bright an image is, learned from the image itself."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from brightness_metric import MeanError
from brightness_output import Brightness
from share_head import ShareHead
from torch import Tensor
from torchmetrics import Metric

from visiontasks.backbones import create_vector
from visiontasks.ops.resampling import TensorGeometry
from visiontasks.outputs.geometry import Geometry
from visiontasks.tasks import Cosine, Schedule, Task
from visiontasks.tasks.base import Batch, OptimizerFactory, Split, default_optimizer
from visiontasks.tasks.report_sections import ReportSection, ValueTable


class BrightnessTask(Task):
    """Predicts the mean of an image's pixels."""

    monitor, monitor_mode, score_name, score_metric = "val/closeness", "max", "closeness", "closeness"
    outputs = Brightness
    purpose = "measures how bright images are"

    def __init__(
        self,
        backbone: str,
        *,
        weights: str,
        num_classes: int,
        optimizer: OptimizerFactory = default_optimizer,
        schedule: Schedule = Cosine(),  # noqa: B008 (a frozen value)
    ) -> None:
        net = create_vector(backbone, weights=weights)
        head = ShareHead(cast(int, net.head_hidden_size))
        columns = ("score", "brightness")
        super().__init__(net, head, MeanError(), optimizer=optimizer, schedule=schedule, sample_columns=columns)

    def training_loss(self, batch: Batch) -> Tensor:
        return F.mse_loss(self.raw_output(batch), truth(batch))

    def update_metrics(self, metrics: Metric, batch: Batch) -> dict[str, Tensor]:
        share = self.raw_output(batch)
        closeness = 1 - (share - truth(batch)).abs()
        metrics.update(closeness)
        return {"score": closeness, "brightness": share}

    def decode(self, raw: Tensor, geometry: Tensor) -> Iterator[Brightness]:
        for share, row in zip(raw.tolist(), geometry.tolist(), strict=True):
            yield Brightness(share, Geometry.of(row).size)

    def report_sections(self, split: Split, class_names: Sequence[str]) -> list[ReportSection]:
        shares = self.sample_table(split)["brightness"]
        table = ValueTable(("images", "brightest"), [(len(shares), float(shares.max()))])
        return [ReportSection("Bright images", "How bright images are.", [table])]

    def graph_values(self, image: Tensor, geometry: TensorGeometry) -> dict[str, Tensor]:
        return {"brightness": self.raw_output({"image": image})}

    @property
    def predicts_classes(self) -> bool:
        return False


def truth(batch: dict[str, Any]) -> Tensor:
    image: Tensor = batch["image"]
    return image.float().mean(dim=(1, 2, 3)) / torch.tensor(255.0)
