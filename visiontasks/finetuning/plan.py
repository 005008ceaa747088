"""What is trained when, in words and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from rich.table import Table
from torch import nn
from torch.optim import Optimizer

from visiontasks.backbones import Stage


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same stages are trained.

    Args:
        first_epoch: The first, counted from 0.
        end_epoch: One past the last.
        num_stages: How many of the deepest stages are trained besides the head; 0 for the head alone.
        image_side: Shorter side of the training images in pixels; None where they have their full size.
    """

    first_epoch: int
    end_epoch: int
    num_stages: int
    image_side: int | None = None

    @property
    def epochs(self) -> str:
        """The epochs counted from 1: "epochs 1-3" or "epoch 4"."""
        first = self.first_epoch + 1
        return f"epoch {first}" if first == self.end_epoch else f"epochs {first}-{self.end_epoch}"


def describe_phase(phase: Phase, stages: Sequence[Stage], *, network: str, is_slower: bool) -> str:
    """A line of the plan.

    Args:
        phase: Of a training.
        stages: Of the backbone, from shallow to deep.
        network: The backbone's name.
        is_slower: Whether the backbone has a lower learning rate than the head.
    """
    if phase.num_stages == 0:
        return f"{phase.epochs}: the head, on frozen {network} features"
    lower = ", backbone at a lower learning rate" if is_slower else ""
    if phase.num_stages == len(stages):
        size = "" if phase.image_side is None else f" on images of {phase.image_side} px"
        return f"{phase.epochs}: head and backbone{size}{lower}"
    names = ", ".join(stage.name for stage in stages[len(stages) - phase.num_stages :])
    return f"{phase.epochs}: head and {names} of {network}, the rest frozen{lower}"


def network_name(backbone: nn.Module) -> str:
    """What timm calls a network, without its tag; "backbone" for another one."""
    config: object = getattr(backbone, "pretrained_cfg", None) or {}
    name = config.get("architecture") if isinstance(config, dict) else None
    return str(name) if name else "backbone"


def phase_table(phases: Sequence[Phase], stages: Sequence[Stage], module: nn.Module) -> Table:
    """Stages and numbers of parameters of each phase, as a table for the terminal."""
    total = sum(p.numel() for p in module.parameters())
    in_backbone = {p for stage in stages for p in stage.parameters()}
    outside = sum(p.numel() for p in module.parameters() if p.requires_grad and p not in in_backbone)
    table = Table("epochs", "trained", "trainable", "frozen", box=None, pad_edge=False)
    for phase in phases:
        trained = stages[len(stages) - phase.num_stages :]
        trainable = outside + sum(stage.num_parameters for stage in trained)
        names = ", ".join(["head", *(stage.name for stage in trained)])
        if phase.num_stages == len(stages):
            names = f"head and whole backbone ({len(stages)} stages)"
        table.add_row(f"{phase.first_epoch + 1}-{phase.end_epoch}", names, f"{trainable:,}", f"{total - trainable:,}")
    return table


def peak_learning_rates(optimizers: Sequence[Optimizer]) -> dict[str, float]:
    """Peak learning rate by group, norms and biases together with their stage."""
    rates: dict[str, float] = {}
    for optimizer in optimizers:
        for i, group in enumerate(optimizer.param_groups):
            name = str(group.get("name", f"group {i}")).removesuffix(".no_decay")
            rates[name] = float(group.get("max_lr", group.get("initial_lr", group["lr"])))
    return rates


def is_slower(rates: dict[str, float], backbone: str) -> bool:
    """Whether all groups of the backbone have a lower learning rate than some other group."""
    of_backbone = [rate for name, rate in rates.items() if name.startswith(backbone)]
    others = [rate for name, rate in rates.items() if not name.startswith(backbone)]
    if not of_backbone or not others:
        return False
    most, head = max(of_backbone), max(others)
    return most < head and not isclose(most, head)
