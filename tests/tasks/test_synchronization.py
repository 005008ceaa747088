"""A training step asks a tensor for its value once, so that a GPU is waited for once: whether the loss is finite."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from visiontasks.recipe import find_recipe
from visiontasks.recipe.cli import RecipeCLI

aten = torch.ops.aten
# what cannot go on before it knows what the device has computed
WAITING = {
    aten._local_scalar_dense.default: "a value",
    aten.nonzero.default: "a mask's places",
    aten.masked_select.default: "a mask's places",
    aten.unique_dim.default: "distinct values",
    aten._unique2.default: "distinct values",
}


class Waits(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func == aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.found["a mask's places" if by_mask else WAITING.get(func, "")] += 1
        return func(*args, **kwargs or {})


def test_a_value_and_a_mask_are_counted() -> None:
    x = torch.arange(3.0)
    with Waits() as waits:
        x.sum().item()
        bool(x.sum() > 1)
        x[x > 1]
    assert (waits.found["a value"], waits.found["a mask's places"]) == (2, 1)


@pytest.mark.parametrize("recipe", ["digits_resnet", "digits_localize", "digits_segment"])
def test_a_training_step_asks_once(recipe: str) -> None:
    sizes = ("--data.batch_size", "4", "--data.num_workers", "0", "--data.image_size", "32")
    cli = RecipeCLI(["--config", str(find_recipe(recipe)), *sizes])
    if cli.model.needs_class_counts:
        cli.model.balance(cli.datamodule.class_counts)
    cli.datamodule.setup("fit")
    batch = next(iter(cli.datamodule.train_dataloader()))
    optimizer = torch.optim.SGD(cli.model.parameters(), lr=0.01, momentum=0.9)
    with Waits() as waits:
        loss = cli.model.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    del waits.found[""]
    assert dict(waits.found) == {"a value": 1}
