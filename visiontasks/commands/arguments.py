"""Parsers of the commands. Imports nothing heavy, so that a wrong option is answered at once."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiontasks import __version__
from visiontasks.commands.parser import Parser, add_run, add_target, command, count
from visiontasks.commands.study_arguments import add_study
from visiontasks.recipe.aliases import ALIASES
from visiontasks.recipe.choice import TASKS

if TYPE_CHECKING:
    from visiontasks.library_internals import Subcommands

EXPLANATIONS = ("grad-cam", "occlusion", "filters", "feature-maps")
PROBLEM_KINDS = ("bad", "labels", "duplicates", "near-duplicates", "groups", "classes")


def parsers(defaults: tuple[str, Mapping[str, Any]] = ("", {})) -> tuple[Parser, dict[str, Parser]]:
    """The parser of all commands, and that of each.

    What they parse has `command`, what it takes, and `takes_overrides`, whether recipe keys may follow.

    Args:
        defaults: For --help, a recipe's name and its values by short option.
    """
    whole = Parser("visiontasks", description="Fine-tune pretrained vision models.")
    whole.add_argument("--version", action="version", version=f"visiontasks {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_recipes(commands)
    _add_finetune(commands, *defaults)
    _add_evaluate(commands)
    _add_report(commands)
    _add_compare(commands)
    _add_predict(commands)
    _add_explain(commands)
    _add_check_data(commands)
    _add_export(commands)
    _add_summary(commands)
    _add_show(commands)
    add_study(commands)
    _add_backbones(commands)
    _add_cache(commands)
    return whole, commands.choices


def _add_recipes(commands: "Subcommands") -> None:
    listing = command(
        commands,
        "recipes",
        help="list the recipes, or describe one",
        usage="visiontasks recipes [NAME]",
        description="List the recipes with what was measured by them; with a name: what the recipe is, how it is run, "
        "and how it was measured.",
    )
    listing.add_argument("recipe", metavar="NAME", nargs="?", help="a recipe of the list, or path of a .yaml file")


def _add_finetune(commands: "Subcommands", recipe: str, defaults: Mapping[str, Any]) -> None:
    training = command(
        commands,
        "finetune",
        help="train on a folder of images, or a recipe",
        usage="visiontasks finetune RECIPE|FOLDER [FOLDER] [option ...] [--section.key value ...]",
        description="Train, and measure on the test split. For a folder alone the recipe is chosen by what "
        "it holds: class folders, boxes (Pascal VOC, COCO, YOLO, CSV and others), or images with masks.",
        epilog="Any key of the recipe can be set: --model.head.dropout 0.5 --data.val_fraction 0.1. --init_from RUN "
        "starts from an earlier run. --print_config prints all keys with their values.",
        takes_overrides=True,
    )
    add_target(training)
    _add_kind(training)
    training.add_argument("--quick", action="store_true", help="does everything run: one epoch on a few images")
    training.add_argument(
        "--name", metavar="NAME", help="the run goes to runs/NAME/<start time>; default: the recipe's name"
    )
    training.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="the run's folder itself, new or empty; default: runs/<recipe>/<start time>",
    )
    training.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, to the same result: its folder, or a checkpoint"
    )
    training.add_argument(
        "-v", "--verbose", action="store_true", help="print machine, learning rates, cache and shares of time too"
    )
    _list_aliases(training, recipe, defaults)


def _add_evaluate(commands: "Subcommands") -> None:
    evaluation = command(
        commands,
        "evaluate",
        help="measure a run on its test split",
        usage="visiontasks evaluate RUN [--split test|val] [--section.key value ...]",
        description="Measure the best weights of a run; --data.root FOLDER measures on other images.",
        takes_overrides=True,
    )
    add_run(evaluation)
    evaluation.add_argument("--split", choices=("test", "val"), default="test", help="default: test")


def _add_report(commands: "Subcommands") -> None:
    reporting = command(
        commands,
        "report",
        help="write a run's report.html again",
        usage="visiontasks report RUN [--section.key value ...]",
        description="Write report.html from what lies in a run's folder, also of one that did not finish. Pictures "
        "need the data: --data.root FOLDER if it was moved.",
        takes_overrides=True,
    )
    add_run(reporting)


def _add_compare(commands: "Subcommands") -> None:
    comparing = command(
        commands,
        "compare",
        help="show runs side by side",
        usage="visiontasks compare RUN RUN ...",
        description="Metrics, recipe keys that differ, times and versions, and McNemar's exact test of each two runs "
        "that were measured on the same samples.",
    )
    comparing.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run, or of several: the newest finished")


def _add_predict(commands: "Subcommands") -> None:
    predicting = command(
        commands,
        "predict",
        help="predict new images",
        usage="visiontasks predict RUN [RUN ...] IMAGE|FOLDER|GLOB ... [--out FILE] [--draw FOLDER] [option ...]",
        description="Predict images by one run, or by the average of several. The first argument is a run; so are "
        "the following ones that are run folders, up to the first that is not. Folders are searched at any depth. The "
        "exit status is 1 if not one image could be predicted.",
    )
    predicting.add_argument("inputs", nargs="+", metavar="RUN ... IMAGE ...", help="run folders, then images")
    predicting.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help=".csv, written as images are predicted, or .json; masks go into a folder beside it. Without it: lines",
    )
    predicting.add_argument(
        "--format",
        choices=("coco", "yolo"),
        help="of detections in place of rows: COCO's results in --out FILE.json, or YOLO's text files in --out FOLDER",
    )
    predicting.add_argument("--draw", metavar="FOLDER", type=Path, help="write each picture with its prediction drawn")
    predicting.add_argument("--top", metavar="N", type=count, default=5, help="how many classes to name; default: 5")
    predicting.add_argument(
        "--tta", choices=("flip", "tencrop"), help="average over the mirror image too, or over ten crops"
    )
    predicting.add_argument(
        "--threshold",
        metavar="SCORE",
        type=float,
        help="score that a detection needs; default: the one with the highest F1 on the validation split",
    )
    predicting.add_argument(
        "--coverage",
        metavar="SHARE",
        type=float,
        help="of a classification, such as 0.95: name as many classes for each image as it takes to hold the true one "
        "in this share of images like the validation images",
    )
    predicting.add_argument(
        "--unknown",
        metavar="SHARE",
        type=float,
        help="of a classification, such as 0.05: answer unknown where an image is unlike those of the training, which "
        "is wrong for this share of images like the validation images",
    )
    _add_device(predicting)
    predicting.add_argument("--batch-size", metavar="N", type=count, help="images at once; default: the recipe's")
    predicting.add_argument(
        "--engine",
        choices=("torch", "onnx", "int8"),
        default="torch",
        help="what computes the backbone on a CPU: torch (default), ONNX Runtime, or that in int8 where the run's "
        "validation images accept it",
    )


def _add_explain(commands: "Subcommands") -> None:
    explaining = command(
        commands,
        "explain",
        help="show what a run looks at in an image",
        usage="visiontasks explain RUN IMAGE [--class NAME] [--method METHOD ...] [--out FOLDER]",
        description="Write pictures of what in the image a class depends on: Grad-CAM, and how much covering a part "
        "lowers its probability; and of the first filters and the feature maps.",
    )
    add_run(explaining)
    explaining.add_argument("image", metavar="IMAGE", help="an image file")
    explaining.add_argument("--class", dest="class_name", metavar="NAME", help="default: the most probable one")
    explaining.add_argument(
        "--method",
        choices=EXPLANATIONS,
        action="append",
        default=[],
        help=f"{', '.join(EXPLANATIONS)}; may be repeated; default: all",
    )
    explaining.add_argument("--out", metavar="FOLDER", type=Path, help="default: explain/<image> in the run's folder")
    _add_device(explaining)


def _add_check_data(commands: "Subcommands") -> None:
    checking = command(
        commands,
        "check-data",
        help="find what is wrong with a folder of images, or those of a recipe",
        usage="visiontasks check-data RECIPE|FOLDER [FOLDER] [--ignore KIND] [--json FILE] [--section.key value ...]",
        description="Decode all images and masks of all splits, and list those that cannot be used, those that are in "
        "two splits, exactly or nearly, and those with two labels. Exit status: 0 without problems, 1 with, 2 if they "
        "cannot be looked at.",
        takes_overrides=True,
    )
    add_target(checking)
    checking.add_argument(
        "--ignore",
        metavar="KIND",
        choices=PROBLEM_KINDS,
        action="append",
        default=[],
        help=f"list problems of this kind ({', '.join(PROBLEM_KINDS)}) without counting them; may be repeated",
    )
    _add_kind(checking)
    checking.add_argument("--json", metavar="FILE", type=Path, help="write everything to a file too")


def _add_export(commands: "Subcommands") -> None:
    exporting = command(
        commands,
        "export",
        help="write a run for other programs",
        usage="visiontasks export RUN DIR [--format folder|onnx|torch-export|int8] [--images FOLDER] [--unknown] "
        "[--push-to-hub NAME]",
        description="Write a run's network: as a folder that timm loads, with three images and their predictions; "
        "or as one graph from pixels of any size to answers, which is compared with the run on 100 images at least; or "
        "in 8-bit integers, where a classification's validation images accept it.",
    )
    add_run(exporting)
    exporting.add_argument("folder", metavar="DIR", type=Path, help="where to; must not be there yet, or be empty")
    exporting.add_argument(
        "--format", choices=("folder", "onnx", "torch-export", "int8"), default="folder", help="default: folder"
    )
    exporting.add_argument(
        "--images", metavar="FOLDER", type=Path, help="images to check on; default: those that the run was tested on"
    )
    exporting.add_argument(
        "--unknown",
        action="store_true",
        help="of a classification: with what its training images look like, so that unlike ones are noticed (p_known)",
    )
    exporting.add_argument(
        "--push-to-hub", metavar="NAME", help="put it on the Hugging Face hub too: model, or owner/model; made private"
    )


def _add_summary(commands: "Subcommands") -> None:
    costs = command(
        commands,
        "summary",
        help="what a network costs, layer by layer",
        usage="visiontasks summary BACKBONE [--image-size N|HxW] [--in-chans C] [--head HEAD --num-classes K] "
        "[--no-classifier] [--depth N] [--format table|csv|json]",
        description="For each layer: output, activations, weights and biases, multiply-adds, receptive field, stride; "
        "and in all, with the memory of a training. Needs no weights and no images.",
    )
    costs.add_argument("backbone", metavar="BACKBONE", help="a timm name such as resnet50, or local-dir:FOLDER")
    costs.add_argument("--image-size", metavar="N|HxW", help="in pixels; default: what the network was trained with")
    costs.add_argument("--in-chans", metavar="C", type=count, help="channels of the image; default: the network's own")
    costs.add_argument(
        "--head", metavar="HEAD", help="put a head of visiontasks.heads on the backbone: LinearHead, FCNHead, ..."
    )
    costs.add_argument("--num-classes", metavar="K", type=count, help="of the head, or of the network's own classifier")
    costs.add_argument(
        "--classifier",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="without a head: the whole network with its classifier (default), or the backbone alone",
    )
    costs.add_argument("--depth", metavar="N", type=count, help="sum up what lies deeper than N levels of modules")
    costs.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")


def _add_show(commands: "Subcommands") -> None:
    showing = command(
        commands,
        "show",
        help="draw augmented training images with their labels, boxes or masks",
        usage="visiontasks show RECIPE|FOLDER [FOLDER] [--out FILE] [--split SPLIT] [--count N] [--key value ...]",
        description="Write a PNG of the first images of a split as the network gets them, augmented and resized, each "
        "beside its original. Needs no weights and no network.",
        takes_overrides=True,
    )
    add_target(showing)
    _add_kind(showing)
    showing.add_argument("--out", metavar="FILE", type=Path, help="the PNG; default: <recipe>_<split>.png")
    showing.add_argument("--split", choices=("train", "val", "test"), default="train", help="default: train")
    showing.add_argument("--count", metavar="N", type=count, default=8, help="how many images; default: 8")


def _add_backbones(commands: "Subcommands") -> None:
    networks = command(
        commands,
        "backbones",
        help="list networks to fine-tune, with what they cost",
        usage="visiontasks backbones [PATTERN ...] [--format table|csv|json]",
        description="List a selection for small computers, or the networks of timm and of this package whose name "
        "contains a text or matches a glob: parameters and multiply-adds with the classifier, as summary gives them, "
        "image size, stages, strides of the feature maps, and whether the weights are here.",
    )
    networks.add_argument("patterns", metavar="PATTERN", nargs="*", help="resnet18, 'mobilenetv3*', local-dir:FOLDER")
    networks.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")


def _add_cache(commands: "Subcommands") -> None:
    caching = command(
        commands,
        "cache",
        help="list or empty what trainings have cached",
        usage="visiontasks cache [--clear] [--older-than AGE]",
        description="List the cached features of frozen backbones, by which trainings begin faster, or remove them. "
        "What a training uses at the moment stays.",
    )
    caching.add_argument("--clear", action="store_true", help="remove them")
    caching.add_argument("--older-than", metavar="AGE", help="only those last used so long ago: 30d, 12h")


def _add_kind(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--task", metavar="TASK", help=f"for a folder that could be several things: {', '.join(TASKS)}"
    )


def _list_aliases(command: argparse.ArgumentParser, recipe: str, defaults: Mapping[str, Any]) -> None:
    """List the short options of recipe keys, which `visiontasks.recipe.aliases` reads."""
    group = command.add_argument_group(
        "options for recipe keys",
        f"The defaults are those of {recipe}; visiontasks finetune RECIPE --help shows those of another recipe.",
    )
    for alias in ALIASES:
        text = f"{alias.meaning} ({alias.key}); default: {defaults.get(alias.option)}"
        group.add_argument(alias.option, metavar=alias.metavar, help=text.replace("%", "%%"))


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="cpu, cuda:0 or the like; default: a GPU if there is one")
