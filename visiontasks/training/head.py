"""Loads the head of an earlier run that a training starts from, if its classes are the same."""

from collections.abc import Sequence
from pathlib import Path

from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BEST
from visiontasks.tasks import Task

PREFIX = "head."


def load_head(task: Task, weights: str, class_names: Sequence[str]) -> str:
    """Load the head of the run that `model.weights` names, if it was trained on the same classes in the same order.

    Args:
        task: Its backbone already has the run's weights.
        weights: `model.init_args.weights` of the recipe.
        class_names: The data's, by index.

    Returns:
        What was done, one line; empty if the weights are not of a run.
    """
    path = Path(weights).expanduser()
    path = path / BEST if (path / BEST).is_file() else path
    if path.suffix != ".ckpt":
        return ""
    try:
        checkpoint = read_checkpoint(path)
    except InputError:  # from another program; only its backbone was readable
        return f"{path}: only the backbone is loaded; the head starts from random weights"
    state = checkpoint["state_dict"]
    head = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    shapes, own = ({name: tensor.shape for name, tensor in part.items()} for part in (head, task.head.state_dict()))
    if list(checkpoint["visiontasks"].get("class_names", ())) != list(class_names):
        reason = "it was trained on other classes than the data has"
    elif shapes != own:
        reason = "model.init_args describes another head"
    else:
        task.head.load_state_dict(head)
        return f"{path}: backbone and head are loaded, since the classes are the same"
    return f"{path}: only the backbone is loaded; the head starts from random weights, since {reason}"
