"""`visiontasks.finetune`: the command of that name for Python and notebooks, with the same result.

Imports nothing heavy, so that a wrong option is answered at once.
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from visiontasks.commands.early import check_early
from visiontasks.commands.inside import in_python
from visiontasks.commands.words import Typed, read_words
from visiontasks.errors import InputError
from visiontasks.recipe.aliases import SECTIONS, WHOLE_KEYS, check_answers, option_name
from visiontasks.recipe.foreign import FLAGS

if TYPE_CHECKING:
    from visiontasks.run import Run

PathLike = str | os.PathLike[str]
_OF_TERMINALS = ("help", "print_config", "print-config")


def finetune(
    target: PathLike | None = None,
    folder: PathLike | None = None,
    *,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    backbone: str | None = None,
    weights: PathLike | None = None,
    freeze_epochs: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    seed: int | None = None,
    init_from: "PathLike | Run | None" = None,
    task: str | None = None,
    quick: bool = False,
    name: str | None = None,
    out: PathLike | None = None,
    resume: "PathLike | Run | None" = None,
    verbose: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    **recipe_keys: Any,
) -> "Run":
    """Train on a folder of images or by a recipe, measure the best epoch, write the run's folder.

    It is the command `visiontasks finetune` with the same numbers, folder and report. Ctrl-C, or the stop button of a
    notebook, saves after the step that is being done, and raises KeyboardInterrupt with the call that goes on. A
    notebook shows the curves after each epoch. Random states, warnings and the allocator are as before afterwards.

    Args:
        target: A folder of images, a recipe's name ("digits_resnet"), or a recipe's file (.yaml). May be left out with
            `resume`.
        folder: The folder of images for a recipe.
        epochs: Passes over the training images; this and what follows are the recipe's own by default.
        lr: Highest learning rate, that of the head.
        batch_size: Images in a training step.
        image_size: Side, or height and width, of the network's input in pixels.
        backbone: A timm name such as "resnet50.a1_in1k", or "local-dir:FOLDER".
        weights: "hub", "none" (random), or a file or folder of weights.
        freeze_epochs: First epochs in which the head alone is trained.
        workers: Loading processes.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        seed: Of order, augmentation and new weights.
        init_from: A run to start from, also of other classes.
        task: "classification", "localization" or "segmentation", for a folder that could be several things.
        quick: Does everything run? One epoch on a few images.
        name: The run's folder is runs/NAME/<start time>; by default the recipe's name.
        out: The run's folder itself, which must be new or empty.
        resume: An interrupted run to go on with, to the same result: its folder, or a checkpoint in it.
        verbose: Print machine, learning rates, cache and shares of time too.
        overrides: Recipe keys with values, {"data.val_fraction": 0.1}, or words of a command line.
        recipe_keys: The same as keywords, `**{"trainer.max_epochs": 3}`; also what other tools call the options above,
            such as `max_epochs`.

    Returns:
        The finished run.

    Raises:
        MissingFileError: If a folder, recipe, run or weight is not there.
        InputError: If an option is unknown or out of range, or the data or the recipe cannot be trained.
        KeyboardInterrupt: If it was interrupted; its message is how to go on.
    """
    options = {
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "image_size": image_size,
        "backbone": backbone,
        "weights": weights,
        "freeze_epochs": freeze_epochs,
        "workers": workers,
        "device": device,
        "seed": seed,
        "init_from": init_from,
        "task": task,
        "quick": quick or None,
        "name": name,
        "out": out,
        "resume": resume,
        "verbose": verbose or None,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if isinstance(overrides, str):
        raise InputError(f"overrides: got the text {overrides!r}, expected a dict such as {{'data.val_fraction': 0.1}}")
    _check_names([*(overrides if isinstance(overrides, Mapping) else ()), *recipe_keys], list(options))
    places = [_place(each) for each in (target, folder) if each is not None]
    if not places and resume is None:
        raise InputError('required: a folder of images or a recipe, as in finetune("my_images")')
    words = [*places, *_words(given), *(_words(overrides) if isinstance(overrides, Mapping) else overrides or [])]
    typed = Typed()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's in a notebook without widgets
            arguments = read_words(["finetune", *words, *_words(recipe_keys)], typed)
            overrides_typed = [word for option in typed.options for word in option.words]
            check_early(arguments, overrides_typed)

            from visiontasks.python_training import train_here  # with torch and lightning

        return train_here(arguments, overrides_typed)
    except InputError as error:
        error.args = (in_python(typed.name_keys(str(error))), *error.args[1:])
        raise error.with_traceback(None) from None  # the message is what the user can act on


def _check_names(names: Sequence[str], options: Sequence[str]) -> None:
    """Refuse a keyword that is no option, recipe key, or another tool's name of an option, by its near names."""
    for name in names:
        try:
            check_answers(name)
        except InputError as error:
            raise InputError(in_python(str(error))) from None
        ours = option_name(name).removeprefix("--")
        is_key = "." in ours or ours in (*SECTIONS, *WHOLE_KEYS)
        is_known = is_key or ours.replace("-", "_") in options or ours in FLAGS
        if not is_known or ours in _OF_TERMINALS:
            near = get_close_matches(name, options, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(options)}, or a recipe key"
            raise InputError(f"finetune() takes no {name!r}: {hint}")


def _place(given: object) -> str:
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    raise InputError(
        f"got {type(given).__name__} {given!r:.60}, expected a folder of images, a recipe's name or its file, as in "
        'finetune("my_images", epochs=10)'
    )


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command line, by the name that the caller gave: epochs=3, trainer.max_epochs=3."""
    words = []
    for name, value in options.items():
        if name in SECTIONS and isinstance(value, Mapping):
            words += _words({f"{name}.{key}": each for key, each in value.items()})
        else:
            words.append(f"{name}={_text(name, value)}")
    return words


def _text(name: str, value: Any) -> str:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    try:
        return json.dumps(value)
    except TypeError as error:
        kind = type(value).__name__
        raise InputError(f"{name}: got {kind}, expected a number, a text, a list or a dict of these") from error
