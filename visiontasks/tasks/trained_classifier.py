"""Backbone and class head of a finished classification run, for a task that goes on from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from visiontasks.backbones import create_vector, input_size, size_fault
from visiontasks.backbones.names import LOCAL_DIR, architecture_of
from visiontasks.errors import InputError, MissingFileError
from visiontasks.runs.checkpoint import read_checkpoint
from visiontasks.runs.folder import BACKBONE, BEST, find_run

KEY = "model.init_args.classifier"
BOXES = "head.boxes."
CLASSES = "head.classes."  # of a localization run, where the head has both


@dataclass(frozen=True)
class TrainedClassifier:
    """What a run's checkpoint holds.

    Args:
        path: The checkpoint.
        class_names: Of the data it was trained on, by index.
        backbone: Tensors of the backbone by name.
        head: Tensors of the class head by name.
    """

    path: Path
    class_names: tuple[str, ...]
    backbone: Mapping[str, Tensor]
    head: Mapping[str, Tensor]

    def create_backbone(
        self, name: str, *, in_chans: int, image_size: int | tuple[int, int] | None = None
    ) -> nn.Module:
        """Build the run's backbone with its weights, and the arguments, mean and std that it was trained with.

        Args:
            name: What the recipe says it is; must be of the run's architecture.
            in_chans: Channels of the input.
            image_size: See create_vector; by default the run's.

        Raises:
            InputError: If it is of another architecture, or the run's weights do not fit it.
        """
        noted = self.path.parent.parent / BACKBONE
        if (noted / "config.json").is_file():
            own = architecture_of(f"{LOCAL_DIR}{noted}")
            if architecture_of(name) != own:
                raise InputError(f"{KEY} {self.path} is of {own}, but model.init_args.backbone is {name}")
            name = f"{LOCAL_DIR}{noted}"
        net = create_vector(name, weights="none", in_chans=in_chans)
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if size is not None and size != input_size(net) and size_fault(net, size):
            return create_vector(name, weights=str(self.path), in_chans=in_chans, image_size=size)
        self._fill(net, self.backbone, "backbone", "set model.init_args.backbone and in_chans to the run's")
        return net

    def fill_head(self, head: nn.Module) -> None:
        """Give a class head the run's weights.

        Raises:
            InputError: If they do not fit.
        """
        self._fill(head, self.head, "head", "set model.init_args.class_head to the head of the run's recipe")

    def check_num_classes(self, num_classes: int) -> None:
        """Refuse another number of classes than the run's.

        Raises:
            InputError: If it is another one.
        """
        if len(self.class_names) != num_classes:
            raise InputError(
                f"{KEY} {self.path} tells {len(self.class_names)} classes apart ({_listed(self.class_names)}), but the "
                f"data has {num_classes}: give a run that was trained on the data's classes"
            )

    def _fill(self, module: nn.Module, tensors: Mapping[str, Tensor], part: str, remedy: str) -> None:
        own = module.state_dict()
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        wrong = [f"{name} is missing" for name in own if name not in tensors]
        wrong += [f"{name} is of no use" for name in tensors if name not in own]
        wrong += [
            f"{name} is {tuple(tensor.shape)} and should be {shapes[name]}"
            for name, tensor in tensors.items()
            if name in own and tuple(tensor.shape) != shapes[name]
        ]
        if wrong:
            raise InputError(
                f"{KEY} {self.path} does not fit the {part} ({len(wrong)} tensors: {'; '.join(wrong[:3])}): {remedy}"
            )
        module.load_state_dict(tensors)


def read_classifier(run: str) -> TrainedClassifier:
    """Read the checkpoint of a finished run of ClassificationTask, or of LocalizationTask with classes.

    Args:
        run: A run folder, a folder of runs (the newest is taken), or a .ckpt file.

    Raises:
        MissingFileError: If there is none.
        InputError: If it cannot be read, or has no class head.
    """
    path = _find_checkpoint(Path(run).expanduser())
    try:
        content = read_checkpoint(path)
    except InputError as error:
        raise InputError(f"{KEY} {error}") from error
    state: dict[str, Tensor] = content["state_dict"]
    prefix = CLASSES if any(name.startswith(BOXES) for name in state) else "head."
    backbone, head = _below("backbone.", state), _below(prefix, state)
    if not backbone or not head:
        missing = prefix if backbone else "backbone."
        raise InputError(f"{KEY} {path} has no tensors {missing}*: give a run of ClassificationTask")
    return TrainedClassifier(path, tuple(content["visiontasks"]["class_names"]), backbone, head)


def _find_checkpoint(path: Path) -> Path:
    if path.is_file():
        return path
    try:
        return find_run(str(path)) / BEST
    except MissingFileError as error:
        raise MissingFileError(f"{KEY}: {error}") from error


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
