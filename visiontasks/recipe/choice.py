"""Chooses the recipe for what a user names: a recipe, a recipe file, or a folder of images, at which it looks.

Imports nothing heavy, so that the answer comes at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from visiontasks.data.formats.box_counts import one_box_each
from visiontasks.data.formats.found import (
    ANY_BOXES,
    BOX,
    LABEL,
    LABELS,
    MASK,
    Found,
    Look,
    annotations_in,
    datasets_below,
)
from visiontasks.data.formats.layouts import YOLO_NAMES, head
from visiontasks.data.formats.split_folders import split_of
from visiontasks.data.pipeline.files import class_folders, is_image, listed
from visiontasks.errors import InputError, MissingFileError
from visiontasks.recipe.files import class_name, find_recipe, init_arg, read_recipe, recipes_dir
from visiontasks.recipe.keys import either
from visiontasks.runs.folder import BEST, RECIPE, runs_in

TASKS = {
    "classification": (LABEL, "folder_resnet"),
    "multilabel": (LABELS, "folder_labels"),
    "localization": (BOX, "folder_localize"),
    "detection": (BOX, "folder_detect"),
    "segmentation": (MASK, "folder_segment"),
}
"""What `--task` may be: the target of its images, and the recipe for a folder of them."""
READERS = {
    "ImageFolder": LABEL,
    "TableImages": LABEL,
    "TableLabels": LABELS,
    "VOCBoxes": BOX,
    "COCOBoxes": BOX,
    "CSVBoxes": BOX,
    ANY_BOXES: BOX,
    "MaskFolder": MASK,
}
"""Datasets that read any folder in their format, and the target of its images."""
MOST_WAYS = 3
WITHOUT_FOLDER = ("Digits", "DigitScenes", "DigitGroups")
_NEEDS = {
    LABEL: "class folders (my_images/cats/, my_images/dogs/) or a table of image and class",
    LABELS: "a table of images with any number of labels each",
    BOX: "images with boxes (such as COCO, Pascal VOC, YOLO, CSV, LabelMe, CVAT, Label Studio)",
    MASK: "images/ with masks/",
}
_OTHER_WAYS = {
    "localization": "; --task detection predicts any number of boxes",
    "detection": "; --task localization predicts one box in each",
}
_ARCHIVES = {".zip": "unzip -d {to} {name}", ".tar": "tar xf {name}", ".gz": "tar xf {name}", ".tgz": "tar xf {name}"}


@dataclass(frozen=True)
class Choice:
    """What to train.

    Args:
        recipe: A recipe's file.
        overrides: Recipe keys that the choice sets, `--key` and value in turn.
        reasons: Lines that tell what was chosen and why; none where the user named a recipe alone.
    """

    recipe: Path
    overrides: list[str]
    reasons: list[str]


def choose(target: str, folder: str | None = None, *, task: str | None = None) -> Choice:
    """Choose the recipe and its folder.

    Args:
        target: A recipe's name, the path of a recipe file (.yaml), or a folder of images. A recipe's name comes before
            a folder of the same name, which `./name` means.
        folder: The folder of images for a recipe (`data.root`); in either order.
        task: One of `TASKS`, for a folder that could be trained on in several ways.

    Raises:
        MissingFileError: If there is no such recipe, file or folder.
        InputError: If no recipe reads the folder, or it is not clear which one should; with the way out.
    """
    if task is not None and task not in TASKS:
        raise InputError(f"--task {task}: expected {either([*TASKS])}")
    if folder is not None and not is_recipe(target) and is_recipe(folder):
        target, folder = folder, target
    if is_recipe(target):
        return _for_recipe(target, folder, task)
    root = _existing_folder(target, folder)
    if folder is not None:
        raise InputError(f"{target} and {folder}: one folder is expected, or a recipe and a folder")
    return _for_folder(root, task)


def check_folder(recipe: Path, content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Check that the folder of images of a recipe is there.

    Args:
        recipe: The recipe's file.
        content: What `read_recipe` gave.
        overrides: `--key` and value in turn.

    Raises:
        MissingFileError: If it is not, in words for the one who names it: in the command, or in the recipe.
    """
    root = init_arg(content, overrides, "data", "root")
    if class_name(content, overrides, "data") not in READERS or not isinstance(root, str):
        return
    if Path(root).expanduser().is_dir():
        return
    if root == init_arg(content, (), "data", "root") and recipe.parent == recipes_dir():
        raise MissingFileError(f"{recipe.stem} needs your images: visiontasks finetune {recipe.stem} my_images")
    raise MissingFileError(f"data.init_args.root: no folder {root}/{_near_folder(Path(root).expanduser())}")


def is_recipe(target: str) -> bool:
    """Whether a name is that of a shipped recipe, or of a YAML file."""
    is_name = "/" not in target and (recipes_dir() / f"{target}.yaml").is_file()
    return is_name or target.endswith((".yaml", ".yml"))


def _for_recipe(target: str, folder: str | None, task: str | None) -> Choice:
    recipe = find_recipe(target)
    if YOLO_NAMES.search(head(recipe)):
        raise InputError(
            f"{target} describes a dataset for YOLO and is not a recipe: visiontasks finetune {Path(target).parent} "
            "reads its folder"
        )
    content = read_recipe(recipe)
    name = recipe.stem
    own = str(content["model"]["class_path"]).rpartition(".")[2].removesuffix("Task").lower()
    if task is not None and task != own:
        raise InputError(
            f"--task {task}: {target} is a recipe for {own}; leave out --task, or name a recipe for {task}, such as "
            f"{TASKS[task][1]}"
        )
    reasons = []
    if not target.endswith((".yaml", ".yml")) and Path(target).is_dir():
        reasons.append(f"{target}: the recipe of that name, not the folder (which ./{target} means)")
    if folder is None:
        return Choice(recipe, [], reasons)
    dataset = class_name(content, [], "data")
    if dataset in WITHOUT_FOLDER:
        raise InputError(
            f"{folder}: {name} trains on {dataset}, which comes with the package and takes no folder; for your own "
            f"images: visiontasks finetune {folder}"
        )
    if dataset not in READERS:  # which may download to it
        return Choice(recipe, ["--data.root", folder], reasons)
    root = _existing_folder(folder, folder)
    overrides = _read_by(root, dataset, name)
    return Choice(recipe, [*overrides, "--data.root", str(root)], reasons)


def _read_by(root: Path, dataset: str, recipe: str) -> list[str]:
    """What a recipe's dataset has to be told, or in place of which one, to read a folder."""
    found = annotations_in(Look.at(root))
    wanted = [each for each in found if each.target == READERS[dataset]]
    if not wanted and any(each.dataset for each in found):
        raise InputError(
            f"{recipe} needs {_NEEDS[READERS[dataset]]}, but {root}/ holds {_list(found)}: visiontasks finetune {root}"
        )
    if not wanted:
        return []  # the dataset itself may read more than is found here, and explains what it expects
    if not _reads(wanted[0], dataset):
        raise InputError(_unread(root, wanted[0]))
    return _options(wanted[0], dataset)


def _reads(found: Found, dataset: str) -> bool:
    """Whether annotations are read by a recipe with this dataset, or another one for the same task."""
    return bool(found.dataset) and (dataset == ANY_BOXES or found.dataset != ANY_BOXES)


def _options(found: Found, dataset: str) -> list[str]:
    if dataset == ANY_BOXES:
        return []
    named = ["--data", found.dataset] if found.dataset != dataset else []
    return [*named, *(word for key, value in found.options.items() for word in (f"--data.{key}", value))]


def _for_folder(root: Path, task: str | None) -> Choice:
    look = Look.at(root)
    found = annotations_in(look)
    below = datasets_below(look)
    if below:
        ways = [f"visiontasks finetune {folder}" for folder in below[:MOST_WAYS]]
        ways += [f"visiontasks finetune folder_resnet {root}, if its folders are the classes"] if found else []
        raise InputError(f"{root}/ holds the images one folder further down: {'; or '.join(ways)}")
    if not found:
        raise InputError(_nothing(look))
    one = _chosen(root, found, task)
    chosen_task, why = (task, "") if task else _task(root, one)
    recipe = TASKS[chosen_task][1]
    path = find_recipe(recipe)
    own = class_name(read_recipe(path), [], "data")
    if not _reads(one, own):
        raise InputError(_unread(root, one))
    reason = f"{root}/: {one.what}{why and f', {why}'}, so {chosen_task} with the recipe {recipe}"
    reasons = [reason + (" (--task)" if task else _OTHER_WAYS[chosen_task] if why else "")]
    return Choice(path, [*_options(one, own), "--data.root", str(root)], reasons)


def _task(root: Path, found: Found) -> tuple[str, str]:
    """The task of annotations, where the user names none, and why it is this one of several for boxes."""
    if found.dataset == ANY_BOXES:
        return "detection", ""
    if found.target == BOX and found.dataset:
        is_one, why = one_box_each(root, found)
        return "localization" if is_one else "detection", why
    return next(name for name, (target, _) in TASKS.items() if target == found.target), ""


def _chosen(root: Path, found: Sequence[Found], task: str | None) -> Found:
    """The annotations to train on.

    Raises:
        InputError: If there are none for the task, or several and no task.
    """
    if task is not None:
        wanted = [each for each in found if each.target == TASKS[task][0]]
        if not wanted:
            raise InputError(f"--task {task} needs {_NEEDS[TASKS[task][0]]}, but {root}/ holds {_list(found)}")
        return wanted[0]
    if len(found) > 1:
        tasks = [name for name, (target, _) in TASKS.items() if any(each.target == target for each in found)]
        ways = " or ".join(f"--task {name}" for name in tasks)
        raise InputError(f"{root}/ holds {_list(found)}: choose with {ways}")
    return found[0]


def _list(found: Sequence[Found]) -> str:
    return " and ".join(each.what for each in found)


def _nothing(look: Look) -> str:
    """Why no recipe reads a folder in which no annotations were found."""
    root = look.root
    ways = f"expected {_NEEDS[LABEL]}, {_NEEDS[BOX]}, or {_NEEDS[MASK]}"
    if not look.images:
        return f"{root}/ holds no images: {ways}"
    side_by_side = [name for name in look.images if len(name.parts) == 1]
    if side_by_side and _is_dataset(root.absolute().parent):
        return f"{root}/ is a part of a dataset: visiontasks finetune {root.parent}"
    if side_by_side:
        return f"{root}/ holds images without labels ({side_by_side[0]}): move each into {root}/<class>/"
    inside = sorted({name.parts[0] for name in look.images})
    if len(inside) == 1:
        return f"{root}/ holds images of one folder, {inside[0]}/: {ways}"
    return f"{root}/ holds images ({look.images[0]}), but no labels, boxes or masks that a recipe reads: {ways}"


def _unread(root: Path, found: Found) -> str:
    if found.dataset == ANY_BOXES:
        return (
            f"{root}/ holds {found.what}, which only detection reads as it is (visiontasks finetune folder_detect "
            f"{root}); for one box in each image: {found.way_out}"
        )
    return f"{root}/ holds {found.what}, which no recipe reads as it is: {found.way_out}"


def _existing_folder(target: str, folder: str | None) -> Path:
    """The folder of a name.

    Raises:
        MissingFileError: If it is not there; with near names.
        InputError: If it is a file, an archive, or a run.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        if (path / BEST).parent.is_dir() or runs_in(path) or next(path.glob(f"*/*/{RECIPE}"), None):
            raise InputError(
                f"{target} is a folder of runs, not of images: visiontasks predict {target} IMAGES uses it; to start "
                f"from its weights: visiontasks finetune my_images --init_from {target}"
            )
        return path
    if path.is_file():
        raise InputError(_file(path))
    if "/" in target or "\\" in target or folder is not None:
        raise MissingFileError(f"no folder {target}/{_near_folder(path)}")
    names = [recipe.stem for recipe in sorted(recipes_dir().glob("*.yaml"))]
    near = get_close_matches(path.stem, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`visiontasks recipes` lists the recipes"
    raise MissingFileError(f"no recipe {target!r} and no folder of that name{_near_folder(path) or f': {hint}'}")


def _near_folder(path: Path) -> str:
    """Folders beside a missing one whose names are near."""
    above = path.parent
    if not above.is_dir():
        return f": {above}/ is not there either"
    folders = [each for each in class_folders(above) if len(each) > 1]
    near = get_close_matches(path.name, folders, n=3, cutoff=0.7)
    return f": did you mean {listed([f'{above / name}/' for name in near])}?" if near else ""


def _file(path: Path) -> str:
    name, above = str(path), path.parent
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        to = path.with_suffix("") if suffix != ".gz" else path.with_suffix("").with_suffix("")
        return f"{name} is an archive: unpack it ({_ARCHIVES[suffix].format(to=to, name=name)}) and name the folder"
    if is_image(name):
        root = next((each for each in (above.parent, above) if _is_dataset(each)), None)
        way = f"visiontasks finetune {root}" if root else "visiontasks finetune my_images, with a folder for each class"
        return f"{name} is one image, and a training needs a folder of them: {way}"
    root_way = f": visiontasks finetune {above}" if _is_dataset(above) else ""
    return f"{name} is a file, and a training needs a folder of images{root_way}"


def _is_dataset(folder: Path) -> bool:
    """Whether a folder can be proposed: one that holds datasets as well is hardly a folder of classes."""
    found = [each for each in annotations_in(Look.at(folder)) if each.dataset]
    if [each.target for each in found] != [LABEL]:
        return bool(found)
    inner = [name for name in class_folders(folder) if split_of(name) is None]
    return not any(each.target == LABEL for name in inner for each in annotations_in(Look.at(folder / name)))
