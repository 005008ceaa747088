"""Starts a training from an earlier run: its backbone, and what fits of its head, rows of classes by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from visiontasks.class_names import missing_names, normalized, same_names
from visiontasks.data.pipeline.files import listed
from visiontasks.errors import InputError
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BEST, RECIPE, start_checkpoint
from visiontasks.runs.provenance import ENTRY, Provenance
from visiontasks.tasks import Task

HEAD = "head."
CLASSES = "classes."
"""Before the tensors of a class head that has another head beside it."""
MOST_REASONS = 3


@dataclass(frozen=True, eq=False)
class Start:
    """The best checkpoint of the run that `init_from` names.

    Args:
        path: The checkpoint.
        provenance: What it stores beside the weights.
        head: Tensors of its head by name.
    """

    path: Path
    provenance: Provenance
    head: Mapping[str, Tensor]

    @torch.no_grad()
    def fill_head(self, task: Task, class_names: Sequence[str]) -> str:
        """Load what fits into a task's head; its backbone has the run's weights already.

        Tensors are matched by name; those of a head of classes alone also fit the classes of a head that has boxes
        beside them, and the other way round. Where the classes differ in number, order or set, the rows of shared
        classes are loaded, and those of new ones stay as they are.

        Args:
            task: The new task.
            class_names: Of its data, by index.

        Returns:
            One line: what was loaded and what was not.

        Raises:
            InputError: If a part of the head is frozen (`freeze_classes`), but not all of it was loaded.
        """
        known = [normalized(name) for name in self.provenance.class_names]
        wanted = [normalized(name) for name in class_names]
        pairs = [(k, known.index(name)) for k, name in enumerate(wanted) if name in known]
        own = task.head.state_dict()
        given = {_name_in(own, name): tensor for name, tensor in self.head.items()}
        dims = {} if known == wanted else _class_dims(task, len(wanted))
        rows = _Rows(pairs, len(wanted), len(known), objects=getattr(task, "num_objects", 1))
        faults = {name: rows.load(tensor, given.get(name), dims.get(name, ())) for name, tensor in own.items()}
        self._check_frozen(task, faults, missing_names(known, class_names))
        left = [f"{HEAD}{name} {fault}" for name, fault in faults.items() if fault]
        left += [f"unexpected tensor {HEAD}{name}" for name in given if name not in own]
        loaded = sum(not fault for fault in faults.values())
        tensors = f"{len(task.backbone.state_dict())} tensors of the backbone and {loaded} of {len(own)} of the head"
        of_classes = _class_dims(task, len(wanted)) if task.new_head else dict.fromkeys(own, (0,))
        has_classes = any(dims and not faults[name] for name, dims in of_classes.items())
        line = _classes_line(known, class_names) if has_classes or not pairs else "no class is taken over"
        not_loaded = f"; not loaded: {_first(left)}" if left else ""
        return f"init_from {self.path}: loaded {tensors}; {line}{not_loaded}"

    def _check_frozen(self, task: Task, faults: Mapping[str, str], new: Sequence[str]) -> None:
        frozen = [name for name, parameter in task.head.named_parameters() if not parameter.requires_grad]
        reasons = [f"{HEAD}{name} {faults[name]}" for name in frozen if faults[name]]
        if frozen and new:
            reasons.insert(0, f"it has no class {listed(list(new))}")
        if reasons:
            raise InputError(
                f"init_from {self.path} does not fill the class head, which model.init_args.freeze_classes keeps as it "
                f"is: {_first(reasons)}; give a run with the data's classes and this class_head, or set "
                "freeze_classes to false"
            )


def read_start(name: str) -> Start:
    """Read the checkpoint that `init_from` names.

    Args:
        name: A run folder, a folder of runs, of which the newest finished one is taken, or a .ckpt file.

    Raises:
        MissingFileError: If there is no such run, or it has no checkpoint.
        InputError: If it cannot be read.
    """
    path = start_checkpoint(name)
    try:
        checkpoint = read_checkpoint(path)
        provenance = Provenance.from_dict(checkpoint[ENTRY], path)
    except InputError as error:
        raise InputError(f"init_from: {error}") from error
    tensors = checkpoint["state_dict"]
    head = {key.removeprefix(HEAD): tensor for key, tensor in tensors.items() if key.startswith(HEAD)}
    return Start(path, provenance, head)


def weights_note(weights: str) -> str:
    """One line where `model.weights` names a run, of which it loads the backbone only; empty otherwise."""
    path = Path(weights).expanduser()
    if not (path / BEST).is_file() and not (path.suffix == ".ckpt" and (path.parent.parent / RECIPE).is_file()):
        return ""
    return f"model.weights {weights}: only the backbone is loaded; --init_from {weights} loads its head too"


class _Rows:
    """Which rows of a tensor belong to which class.

    A dimension of N * K * r has r rows for each of K classes, for each of N objects.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], num_own: int, num_given: int, *, objects: int) -> None:
        self.pairs = pairs
        self.num_own = num_own
        self.num_given = num_given
        self.objects = objects

    def load(self, own: Tensor, given: Tensor | None, dims: tuple[int, ...]) -> str:
        """Load a tensor, of class dimensions the rows of shared classes; why not, if it does not fit."""
        if given is None:
            return "is not in the run"
        if dims and not self.pairs:
            return "has no class in common"
        expected = list(own.shape)
        for dim in dims:
            expected[dim] = own.shape[dim] // self.num_own * self.num_given
        if list(given.shape) != expected or any(own.shape[dim] % (self.objects * self.num_own) for dim in dims):
            return f"is {tuple(given.shape)}, expected {tuple(expected)}"
        places = []
        for dim in dims:
            ours, theirs = self._indices(own.shape[dim] // (self.objects * self.num_own))
            given = given.index_select(dim, theirs)
            places.append((dim, ours))
        _put(own, given.to(own.dtype), places)
        return ""

    def _indices(self, rows: int) -> tuple[Tensor, Tensor]:
        ours, theirs = torch.tensor(self.pairs).unbind(1)
        places = []
        for classes, number in ((ours, self.num_own), (theirs, self.num_given)):
            each = torch.arange(self.objects)[:, None, None] * number + classes[:, None]
            places.append((each * rows + torch.arange(rows)).flatten())
        return places[0], places[1]


def _put(own: Tensor, values: Tensor, places: Sequence[tuple[int, Tensor]]) -> None:
    """Write values into the rows of a tensor that are named for each of some dimensions."""
    if not places:
        own.copy_(values)
        return
    (dim, rows), *rest = places
    if rest:
        part = own.index_select(dim, rows)
        _put(part, values, rest)
        values = part
    own.index_copy_(dim, rows, values)


def _class_dims(task: Task, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Dimensions of a head's tensors that have classes: those that are larger with one class more."""
    if task.new_head is None:
        raise InputError(
            f"init_from: the run has other classes than the data, and {type(task).__name__} does not set new_head, by "
            "which the rows of a class are found: give model.init_args.weights instead, which loads the backbone only"
        )
    with torch.random.fork_rng(devices=[]):
        larger = task.new_head(num_classes + 1).state_dict()
    return {
        name: tuple(dim for dim, size in enumerate(tensor.shape) if size != larger[name].shape[dim])
        for name, tensor in task.head.state_dict().items()
    }


def _name_in(own: Mapping[str, Tensor], name: str) -> str:
    """The name of a run's tensor in a task whose head has other parts."""
    if name not in own:
        for other in (f"{CLASSES}{name}", name.removeprefix(CLASSES)):
            if other in own:
                return other
    return name


def _classes_line(known: Sequence[str], class_names: Sequence[str]) -> str:
    if same_names(known, class_names):
        return f"the same {len(known)} classes"
    new = missing_names(known, class_names)
    taken = [name for name in class_names if name not in new]
    return f"classes taken over: {listed(taken) or 'none'}; new classes: {listed(new) or 'none'}"


def _first(reasons: Sequence[str]) -> str:
    more = len(reasons) - MOST_REASONS
    return "; ".join(reasons[:MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
