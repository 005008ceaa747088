"""Parsers of the questions of `study`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from visiontasks.commands.parser import Parser, add_run, add_target, command, count

if TYPE_CHECKING:
    from visiontasks.library_internals import Subcommands

ABOUT_IMAGES = "RECIPE|FOLDER [FOLDER] [--backbone NAME] [--out FOLDER] [--key value ...]"


def add_study(commands: "Subcommands") -> None:
    """Add the command with a parser for each question."""
    studying = command(
        commands,
        "study",
        help="answers about your images: which backbone, which labels are wrong, how much data",
        usage="visiontasks study QUESTION ... (visiontasks study QUESTION --help)",
        description="Answer a question from the features of a frozen backbone, which are computed once and cached. "
        "Each answer is printed, and written as JSON and as a section of one page.",
    )
    questions = studying.add_subparsers(dest="question", required=True, metavar="QUESTION")
    _add_probe(questions)
    _add_labels(questions)
    _add_how_much_data(questions)
    _add_groups(questions)
    _add_trainings(questions)
    _add_search(questions)
    _add_next(questions)
    _add_similar(questions)
    _add_field(questions)
    _add_extend(questions)
    studying.questions = questions.choices


def _add_probe(questions: "Subcommands") -> None:
    probing = command(
        questions,
        "probe",
        help="which backbone suits the images",
        usage=f"visiontasks study probe {ABOUT_IMAGES}",
        description="Rank backbones by linear heads on their features, each image judged by heads that have not seen "
        "it: accuracy with interval, McNemar's test against the best, time for an image, parameters, license of the "
        "weights.",
        takes_overrides=True,
    )
    _add_images(probing)
    probing.add_argument(
        "--backbones",
        metavar="NAMES",
        action="append",
        default=[],
        help="to try, separated by commas; default: 12 for a laptop, as far as they can be had",
    )


def _add_labels(questions: "Subcommands") -> None:
    labels = command(
        questions,
        "labels",
        help="which labels are probably wrong, and about how many",
        usage=f"visiontasks study labels {ABOUT_IMAGES}",
        description="List images whose label is not what heads that have not seen them predict, and estimate how many "
        "labels are wrong. The page saves corrections.csv for data.corrections.",
        takes_overrides=True,
    )
    _add_images(labels)


def _add_how_much_data(questions: "Subcommands") -> None:
    amount = command(
        questions,
        "how-much-data",
        help="what twice as many images would bring",
        usage=f"visiontasks study how-much-data {ABOUT_IMAGES}",
        description="Fit heads on growing parts of the images, and continue the learning curve, with an interval.",
        takes_overrides=True,
    )
    _add_images(amount)


def _add_groups(questions: "Subcommands") -> None:
    grouping = command(
        questions,
        "groups",
        help="what a random split claims where images belong together: frames, patients, places",
        usage=f"visiontasks study groups {ABOUT_IMAGES}",
        description="Judge each image by heads that may have seen others of its group, and by heads that have not. The "
        "groups are those of --data.groups, else each that names, folders, times and near duplicates suggest.",
        takes_overrides=True,
    )
    _add_images(grouping)


def _add_trainings(questions: "Subcommands") -> None:
    training = command(
        questions,
        "folds",
        help="how good a recipe is, by trainings on folds of the images or with several seeds",
        usage="visiontasks study folds RECIPE|FOLDER [FOLDER] [--folds N] [--repeats N] [--seeds N] [--key value ...]",
        description="Train on each fold of the images in turn: mean with interval, predictions of all images, and "
        "networks for predict. --seeds trains on the recipe's own splits instead. The same command goes on where it "
        "was interrupted.",
        takes_overrides=True,
    )
    add_target(training)
    training.add_argument("--folds", metavar="N", type=_folds, help="default: 5")
    training.add_argument("--repeats", metavar="N", type=count, default=1, help="divisions into folds; default: 1")
    training.add_argument("--seeds", metavar="N", type=count, help="trainings with so many seeds, in place of folds")
    training.add_argument("--out", metavar="FOLDER", type=Path, help="default: studies/<folder of the images>")
    training.set_defaults(task=None)


def _add_search(questions: "Subcommands") -> None:
    searching = command(
        questions,
        "search",
        help="which settings of a recipe are best on validation",
        usage="visiontasks study search RECIPE|FOLDER [FOLDER] [--trials N] [--vary KEY=LOW..HIGH] [--key value ...]",
        description="Train with different settings, by Optuna, and write the best recipe. The same command goes on "
        "where it was interrupted, and may run several times at once.",
        takes_overrides=True,
    )
    add_target(searching)
    searching.add_argument("--trials", metavar="N", type=count, default=30, help="default: 30")
    searching.add_argument(
        "--vary",
        metavar="KEY=VALUES",
        action="append",
        default=[],
        help="a recipe key with LOW..HIGH or A,B,C, several times; default: learning rate and weight decay",
    )
    searching.add_argument("--out", metavar="FOLDER", type=Path, help="default: studies/<folder of the images>")
    searching.set_defaults(task=None)


def _add_next(questions: "Subcommands") -> None:
    following = command(
        questions,
        "next",
        help="which unlabelled images are worth labelling, and whether choosing them beats chance",
        usage="visiontasks study next RECIPE|FOLDER IMAGE|FOLDER|GLOB ... [--count N] [--out FOLDER] [--key value ...]",
        description="Choose unlabelled images that are uncertain and differ from each other and from the labelled ones "
        "(a folder, or a recipe with its own or with --data.root FOLDER), replay the choice on the labelled ones, and "
        "write the list next.csv.",
        takes_overrides=True,
    )
    following.add_argument("target", metavar="RECIPE|FOLDER", help="the labelled images: a folder, or a recipe")
    following.add_argument("images", metavar="IMAGE|FOLDER|GLOB", nargs="+", help="images without labels")
    following.add_argument("--count", metavar="N", type=count, default=20, help="how many to choose; default: 20")
    following.add_argument("--seed", metavar="N", type=int, default=0, help="of clusters and replay; default: 0")
    following.add_argument("--out", metavar="FOLDER", type=Path, help="default: studies/<folder of the images>")
    following.set_defaults(task=None, folder=None)


def _add_similar(questions: "Subcommands") -> None:
    similar = command(
        questions,
        "similar",
        help="which training images are most similar to an image, for the trained network; embeddings",
        usage="visiontasks study similar RUN [IMAGE|FOLDER|GLOB ...] [--embeddings FILE] [--key value ...]",
        description="List the training images nearest to an image by the features of a run's own backbone, with label "
        "and distance. --embeddings writes the features of the images, or without images those of the run's own data.",
        takes_overrides=True,
    )
    _add_run_and_images(similar, "*")
    similar.add_argument("--count", metavar="N", type=count, default=8, help="how many neighbours; default: 8")
    similar.add_argument("--embeddings", metavar="FILE", type=Path, help=".npz (NumPy's) or .csv")


def _add_field(questions: "Subcommands") -> None:
    field = command(
        questions,
        "field",
        help="how photographs from where a run is used differ from its validation images, and what accuracy to expect",
        usage="visiontasks study field RUN IMAGE|FOLDER|GLOB ... [--out FOLDER] [--key value ...]",
        description="Compare photographs without labels with a run's validation images: sharpness, light, size, "
        "compression, predicted classes, distance of features; and forecast the accuracy on them from what is "
        "seen on validation images that are made worse.",
        takes_overrides=True,
    )
    _add_run_and_images(field, "+")


def _add_extend(questions: "Subcommands") -> None:
    extending = command(
        questions,
        "extend",
        help="add classes to a run without training its network",
        usage="visiontasks study extend RUN FOLDER [--out FOLDER] [--allow-fall] [--key value ...]",
        description="Fit the last layer of a run to further classes, one for each folder in FOLDER, and write a run "
        "that predicts old and new ones. It is refused if an old class is predicted worse than before by more than "
        "chance.",
        takes_overrides=True,
    )
    add_run(extending)
    extending.add_argument("new", metavar="FOLDER", help="with a folder of images for each new class")
    extending.add_argument(
        "--out", metavar="FOLDER", type=Path, help="the new run's folder; default: beside RUN, by the time"
    )
    extending.add_argument("--allow-fall", action="store_true", help="write the run even if an old class falls")


def _add_run_and_images(question: Parser, nargs: str) -> None:
    """What a question to a run about images takes."""
    add_run(question)
    question.add_argument("images", metavar="IMAGE|FOLDER|GLOB", nargs=nargs, help="images without labels")
    question.add_argument("--out", metavar="FOLDER", type=Path, help="default: study/ in the run's folder")


def _add_images(question: Parser) -> None:
    """What a question about images takes."""
    add_target(question)
    add_folds(question)
    question.add_argument("--out", metavar="FOLDER", type=Path, help="default: studies/<folder of the images>")
    question.set_defaults(task=None)


def add_folds(question: Parser) -> None:
    """Take what decides cross-fitting."""
    question.add_argument("--folds", metavar="N", type=_folds, default=5, help="of cross-fitting; default: 5")
    question.add_argument("--seed", metavar="N", type=int, default=0, help="of the folds; default: 0")


def _folds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number above 1, got {text!r}")
    return int(text)
