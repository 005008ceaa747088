"""Wrong input of every kind, as users type it: each is answered shortly, with its cause and what to change."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
import yaml
from PIL import Image
from torch import nn

from visiontasks.commands.finetune import finetune
from visiontasks.recipe import find_recipe, read_recipe

Refused = Callable[[str], str]
SHORT = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"


@pytest.fixture(scope="module")
def wrong_inputs(
    tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path], write_scenes: Callable[..., None]
) -> Path:
    """A folder with recipes, images, weights and runs that have something wrong with them."""
    root = tmp_path_factory.mktemp("wrong")
    _write_recipes(root)
    _write_weights(root)
    _write_runs(root / "old")
    _write_masks(root, write_scenes)
    write_scenes(root / "boxes", "VOCBoxes")
    class_folders(root / "good", {"cat": 5, "dog": 5})
    class_folders(root / "one_class", {"cat": 5})
    class_folders(root / "empty_class", {"cat": 5, "dog": 0})
    class_folders(root / "val_knows_more", {"train/cat": 3, "train/dog": 3, "val/cat": 2, "val/cow": 2})
    class_folders(root / "misnamed", {"train/cat": 3, "train/dog": 3, "val/cat": 2, "validation/cat": 2})
    (class_folders(root / "foreign", {"cat": 5, "dog": 5}) / "cat" / "notes.docx").touch()
    truncated = class_folders(root / "truncated", {"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/dog": 2})
    cut = truncated / "train" / "cat" / "0.png"
    cut.write_bytes(cut.read_bytes()[:100])
    (root / "no_images").mkdir()
    (root / "a_file").write_text("x")
    return root


def _write_recipes(root: Path) -> None:
    def write(name: str, edit: Callable[[dict[str, Any]], object]) -> None:
        recipe = deepcopy(read_recipe(find_recipe("digits_lenet")))
        edit(recipe)
        (root / f"{name}.yaml").write_text(yaml.safe_dump(recipe))

    write("no_model", lambda recipe: recipe.pop("model"))
    write("no_class", lambda recipe: recipe["model"].pop("class_path"))
    write("no_backbone", lambda recipe: recipe["model"]["init_args"].pop("backbone"))
    write("task", lambda recipe: recipe["model"].update(class_path="ClasificationTask"))
    write("section", lambda recipe: recipe.update(trainr={"max_epochs": 3}))
    write("trainer_key", lambda recipe: recipe["trainer"].update(max_epoch=3))
    write("finetune_key", lambda recipe: recipe["finetune"].update(freeze_epoch=3))
    write("model_key", lambda recipe: recipe["model"]["init_args"].update(bakbone="resnet18"))
    write("data_key", lambda recipe: recipe["data"]["init_args"].update(batchsize=3))
    write("optimizer_key", lambda recipe: recipe["model"]["init_args"]["optimizer"]["init_args"].update(momentun=0))
    write("epochs", lambda recipe: recipe["trainer"].update(max_epochs="two"))
    write("num_classes", lambda recipe: recipe["model"]["init_args"].update(num_classes=3))
    write("normalize", lambda recipe: recipe["data"]["init_args"].update(augment=[{"class_path": "Normalize"}]))
    write("flip", lambda recipe: recipe["data"]["init_args"].update(augment=[{"class_path": "HorizontlFlip"}]))
    crop = {"class_path": "RandomCrop", "init_args": {"height": -1, "width": 3}}
    write("crop", lambda recipe: recipe["data"]["init_args"].update(augment=[crop]))
    flip = {"class_path": "HorizontalFlip", "init_args": {"pp": 1}}
    write("flip_key", lambda recipe: recipe["data"]["init_args"].update(augment=[flip]))
    one_of = {"class_path": "OneOf", "init_args": {"transforms": [{"class_path": "HorizontalFlip"}], "p": 3}}
    write("one_of", lambda recipe: recipe["data"]["init_args"].update(augment=[one_of]))
    large = {"class_path": "RandomCrop", "init_args": {"height": 50, "width": 50}}
    write("large_crop", lambda recipe: recipe["data"]["init_args"].update(augment=[large]))
    write("with_config", lambda recipe: recipe.update(config="other.yaml"))
    (root / "twice.yaml").write_text("seed_everything: 0\ntrainer: {max_epochs: 1}\nseed_everything: 1\n")
    (root / "broken.yaml").write_text("model: [1, 2\ndata: 3")
    (root / "empty.yaml").touch()


def _write_weights(root: Path) -> None:
    tensors = timm.create_model("lenet5", in_chans=1).state_dict()
    safetensors.torch.save_file(tensors, root / "lenet5.safetensors")
    (root / "cut.safetensors").write_bytes((root / "lenet5.safetensors").read_bytes()[:1000])
    tensors["features.0.weight"] = torch.zeros(7, 1, 5, 5)
    safetensors.torch.save_file(tensors, root / "misshapen.safetensors")
    del tensors["features.0.weight"]
    safetensors.torch.save_file(tensors, root / "incomplete.safetensors")
    torch.save(nn.Linear(1, 1), root / "pickled.pth")
    torch.save({"epoch": 3}, root / "no_tensors.pth")
    safetensors.torch.save_file({"a": torch.zeros(1)}, root / "other.safetensors")
    (root / "empty.pth").touch()


def _write_runs(root: Path) -> None:
    for run, checkpoint in (("untrained", None), ("cut", b"PK\x03\x04"), ("foreign", b"")):
        folder = root / run / "1"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(find_recipe("digits_lenet").read_text())
        if checkpoint is not None:
            (folder / "checkpoints" / "best.ckpt").write_bytes(checkpoint)
    torch.save({"state_dict": {}}, root / "foreign" / "1" / "checkpoints" / "best.ckpt")
    trained = finetune(find_recipe("digits_lenet"), shlex.split(SHORT), runs=root / "made")[0]
    for run in ("trained", "broken_recipe", "half_a_recipe", "broken_backbone", "empty"):
        shutil.copytree(trained, root / run / "1")
    (root / "broken_recipe/1/recipe.yaml").write_text("model: [\n")
    recipe = yaml.safe_load((root / "half_a_recipe/1/recipe.yaml").read_text())
    (root / "half_a_recipe/1/recipe.yaml").write_text(yaml.safe_dump({"model": recipe["model"]}))
    (root / "broken_backbone/1/backbone/config.json").write_text("{")
    (root / "empty/1/checkpoints/best.ckpt").write_bytes(b"")


def _write_masks(root: Path, write_scenes: Callable[..., None]) -> None:
    for name in ("masks", "strange_masks", "large_masks"):
        write_scenes(root / name, "MaskFolder")
    (root / "strange_masks" / "classes.txt").write_text("a\nb\nc\n")
    Image.new("L", (40, 32), 7).save(root / "strange_masks/masks/cat_1.png")
    Image.new("L", (41, 32), 1).save(root / "large_masks/masks/cat_1.png")


# What a user may type, and what has to be in the answer: the cause, and the key or option to change.
WRONG = [
    # commands
    ("finetun digits_lenet", "'finetun' is not a command: did you mean finetune?"),
    ("finetune", "required: RECIPE|FOLDER, such as visiontasks finetune my_images"),
    ("evaluate", "required: RUN"),
    ("evaluate old/cut --split train", "invalid choice: 'train'", "'test', 'val'"),
    ("recipes digits_resnt", "did you mean digits_resnet"),
    ("recipes digits_resnet more", "recipes does not take more"),
    # recipes
    ("finetune digits_resnt", "no recipe 'digits_resnt'", "did you mean digits_resnet"),
    ("finetune nowhere.yaml", "no recipe file nowhere.yaml"),
    ("finetune broken.yaml", "broken.yaml is not YAML", "line 2, column 5"),
    ("finetune empty.yaml", "empty.yaml is not a recipe", "got None"),
    ("finetune no_model.yaml", "no section model"),
    ("finetune no_class.yaml", "model has no class_path"),
    ("finetune no_backbone.yaml", "model.init_args.backbone is missing from the recipe", "set --backbone"),
    ("finetune section.yaml", "unknown key trainr.max_epochs: did you mean trainer.max_epochs"),
    ("finetune trainer_key.yaml", "unknown key max_epoch in trainer: did you mean max_epochs"),
    ("finetune finetune_key.yaml", "unknown key freeze_epoch in finetune: did you mean freeze_epochs"),
    ("finetune model_key.yaml", "unknown key bakbone in model (ClassificationTask): did you mean backbone?"),
    ("finetune data_key.yaml", "unknown key batchsize in data (Digits): did you mean batch_size?"),
    ("finetune optimizer_key.yaml", "momentun in model.init_args.optimizer (SGD): did you mean momentum?"),
    ("finetune flip_key.yaml", "unknown key pp in data.init_args.augment (HorizontalFlip): did you mean p?"),
    ("finetune epochs.yaml", "trainer.max_epochs: expected int or null, got 'two'"),
    ("finetune num_classes.yaml", "model.init_args.num_classes", "comes from the data"),
    ("finetune task.yaml", "'ClasificationTask' for model: did you mean ClassificationTask, LocalizationTask"),
    ("finetune flip.yaml", "'HorizontlFlip' for data.init_args.augment: did you mean HorizontalFlip?"),
    ("finetune crop.yaml", "RandomCrop (data.init_args.augment)", "height", "greater than or equal to 1, got -1"),
    ("finetune normalize.yaml", "data.init_args.augment: Normalize is refused", "remove it"),
    # keys and types of overrides
    ("finetune digits_lenet --model.bakbone x", "unknown key bakbone in model", "did you mean backbone?"),
    ("finetune digits_lenet --trainer.max_epoch 3", "unknown key max_epoch in trainer", "max_epochs"),
    ("finetune digits_lenet --maxx_epochs 3", "unknown option --maxx_epochs: did you mean --epochs"),
    ("finetune digits_lenet --model.optimizer.lrr 1", "lrr in --model.optimizer (SGD): did you mean lr?"),
    ("finetune digits_lenet --model.schedule.wormup 1", "wormup in --model.schedule (OneCycle)"),
    ("finetune digits_lenet --model.head.dropuot 1", "in --model.head (LinearHead): did you mean dropout?"),
    ("finetune digits_lenet --data.root photos", "photos: digits_lenet trains on Digits, which comes with the package"),
    ("finetune digits_lenet --data.file photos", "unknown key file in data (Digits): known are augment, batch_size"),
    ("finetune digits_lenet --data.seed 3", "--data.seed", "comes from --seed"),
    ("finetune digits_lenet photos", "photos: digits_lenet trains on Digits, which comes with the package"),
    ("finetune digits_lenet good good", "visiontasks finetune does not take good"),
    ("finetune digits_lenet --trainer.max_epochs", "--trainer.max_epochs needs a value"),
    ("finetune digits_lenet --trainer.max_epochs two", "trainer.max_epochs: expected int or null, got 'two'"),
    ("finetune digits_lenet --model.optimizer.lr fast", "--model.optimizer.lr: expected float, got 'fast'"),
    ("finetune digits_lenet --model.in_chans 2", "--model.in_chans: expected 1 or 3, got 2"),
    (
        "finetune digits_lenet --model.class_weights equal",
        "class_weights: expected 'balanced', 'sqrt_balanced', list or null",
    ),
    ("finetune digits_lenet --data.resize stretch", "expected 'crop', 'squash', 'letterbox' or 'keep', got 'stretch'"),
    ("finetune digits_lenet --data.augment HorizontalFlip", "--data.augment: expected list or null"),
    ("finetune digits_lenet --data.augment '[3]'", "--data.augment: ", "subclass of BasicTransform"),
    ("finetune digits_lenet --seed_everything x", "seed_everything: expected bool or int, got 'x'"),
    # names
    ("finetune digits_lenet --model.backbone resnt18", "unknown backbone 'resnt18'", "did you mean resnet18"),
    ("finetune digits_lenet --model.backbone resnet18.a9", "unknown tag in backbone 'resnet18.a9'"),
    ("finetune digits_lenet --model.head LinerHead", "'LinerHead' for --model.head: did you mean LinearHead"),
    ("finetune digits_lenet --model.optimizer SGDD", "'SGDD' for --model.optimizer: did you mean SGD"),
    ("finetune digits_lenet --model.optimizer Cosine", "'Cosine' for --model.optimizer: known are", "AdamW"),
    ("finetune digits_lenet --model.schedule Cosin", "'Cosin' for --model.schedule: did you mean Cosine?"),
    (
        "finetune digits_lenet --data Digts",
        "unknown name 'Digts' for data: did you mean Digits, DigitScenes or DigitGroups?",
    ),
    ("finetune digits_lenet --model.head my.Head", "--model.head: cannot import my.Head: no module my is installed"),
    (
        "finetune digits_lenet --model.head torch.nn.Conv2d",
        "--model.head.kernel_size is missing from the recipe:",
    ),
    (
        "finetune digits_lenet --model.head torch.nn.Nope",
        "--model.head: ",
        "cannot import torch.nn.Nope: torch.nn has no Nope",
    ),
    (
        "finetune digits_lenet --model torch.nn.Linear",
        "model: ",
        "torch.nn.Linear does not correspond to a subclass of Task",
    ),
    ("finetune digits_lenet --trainer.callbacks TimerX", "'TimerX' for --trainer.callbacks: did you mean Timer?"),
    # ranges
    ("finetune digits_lenet --model.optimizer.lr -1", "--model.optimizer: Invalid learning rate: -1"),
    ("finetune digits_lenet --model.label_smoothing 2", "--model.label_smoothing", "[0, 1), got 2"),
    ("finetune digits_lenet --model.head.dropout 2", "--model.head.dropout", "[0, 1), got 2"),
    ("finetune digits_lenet --model.ema_decay 1.5", "--model.ema_decay", "[0, 1), got 1.5"),
    ("finetune digits_lenet --model.class_weights '[1, 2]'", "class_weights", "10 values", "got [1.0, 2.0]"),
    ("finetune digits_lenet --model.backbone_lr_scale '[1]'", "backbone_lr_scale has 1 values", "3 stages"),
    ("finetune digits_lenet --data.batch_size 0", "--data.batch_size: 0, expected at least 1"),
    ("finetune digits_lenet --data.image_size 8", "cannot take images of 8 px", "set --data.image_size to 32"),
    (
        "finetune digits_lenet --model.backbone vit_tiny_patch16_224 --data.image_size 30",
        "30 px (not a multiple of its patches of 16x16 px)",
        "--data.image_size to 32",
    ),
    ("finetune digits_lenet --finetune.freeze_epochs -1", "finetune.freeze_epochs must be 0 or more, got -1"),
    (
        "finetune digits_lenet --finetune.freeze_epochs 2",
        "--weights is none",
        "finetune.freeze_epochs to 0",
    ),
    ("finetune digits_lenet --finetune.last_stages 9", "finetune.last_stages is 9", "3 stages"),
    ("finetune digits_lenet --seed_everything -1", "seed_everything: -1, expected 0 to 4294967295"),
    ("finetune digits_lenet --seed_everything 4294967296", "4294967296, expected 0 to 4294967295"),
    ("finetune digits_lenet --trainer.max_epochs 0", "trainer.max_epochs", "nothing would be trained"),
    ("finetune digits_lenet --trainer.limit_train_batches 0", "--trainer.limit_train_batches: 0, expected more than 0"),
    ("finetune digits_lenet --trainer.check_val_every_n_epoch 99", "expected 1 to --epochs (30)"),
    ("finetune digits_lenet --trainer.accumulate_grad_batches 0", "accumulate_grad_batches: 0, expected at least 1"),
    ("finetune digits_lenet --trainer.accelerator abacus", "trainer: ", "`accelerator='abacus'`"),
    ("finetune digits_lenet --trainer.devices -3", "trainer: `devices`", "should be an int > 0"),
    ("finetune digits_lenet --trainer.max_time fast", "trainer: ", "DD:HH:MM:SS"),
    ("finetune digits_lenet --data.split_seed -1", "--data.split_seed: -1, expected 0 or more"),
    ("finetune digits_lenet --trainer.val_check_interval 1000", "trainer: `val_check_interval` (1000)", "batches (33)"),
    ("finetune digits_lenet --trainer.val_check_interval 1.5", "trainer: ", "val_check_interval"),
    (
        f"finetune digits_lenet {SHORT} --trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/acc",
        "trainer: Early stopping conditioned on metric `val/acc` which is not available",
    ),
    # weights
    ("finetune digits_lenet --model.weights nowhere.pth", "no weight file nowhere.pth", "--model.weights"),
    ("finetune digits_lenet --model.weights cut.safetensors", "cannot read cut.safetensors: truncated"),
    ("finetune digits_lenet --model.weights misshapen.safetensors", "misshapen.safetensors", "(7, 1, 5, 5), expected"),
    ("finetune digits_lenet --model.weights incomplete.safetensors", "missing features.0.weight"),
    ("finetune digits_lenet --model.weights pickled.pth", "cannot read pickled.pth", "Python objects"),
    ("finetune digits_lenet --model.weights hub", "lenet5 has no pretrained weights", "--model.weights"),
    (
        "finetune folder_resnet --data.root good",
        "no weights for resnet18.a1_in1k",
        "--weights",
        "resnet20_cifar.vt_cifar10",
        "copy the folder that",
    ),
    # data
    ("finetune folder_resnet --model.weights none", "folder_resnet needs your images: visiontasks finetune folder_"),
    ("finetune digits_lenet --data ImageFolder", "--data.root is missing from the recipe"),
    ("finetune FOLDER --data.root nowhere", "no folder nowhere/", "--data.root"),
    ("finetune FOLDER --data.root a_file", "no folder a_file/", "--data.root"),
    ("finetune FOLDER --data.root no_images", "no class folders in no_images/", "<class>/"),
    ("finetune FOLDER --data.root one_class", "--data.root: one_class/ has 1 class (cat)"),
    ("finetune FOLDER --data.root empty_class", "empty_class/: too few images", "dog (0)"),
    ("finetune FOLDER --data.root val_knows_more", "val_knows_more/val/ has classes", "does not have: cow"),
    ("finetune FOLDER --data.root misnamed", "misnamed/ has val/ and validation/", "merge, rename or move them"),
    ("finetune FOLDER --data.root foreign", "foreign/cat/notes.docx", "convert or remove"),
    ("finetune FOLDER --data.root truncated", "truncated/", ".png", "truncated"),
    ("finetune digits_lenet --data CIFAR10 --data.root nowhere", "no CIFAR-10 in nowhere/", "--data.download true"),
    ("finetune digits_lenet --data MNIST --data.root nowhere", "no MNIST in nowhere/", "--data.download true"),
    ("finetune mnist_lenet --data.root nowhere", "no MNIST in nowhere/", "cannot be downloaded", "digits_resnet"),
    # runs
    ("evaluate nowhere", "no run in nowhere", "runs/<recipe>"),
    ("evaluate a_file", "no run in a_file"),
    ("evaluate old/untrained", "old/untrained/1 has no checkpoints/best.ckpt"),
    ("evaluate old/cut", "old/cut/1/checkpoints/best.ckpt cannot be read: truncated"),
    ("evaluate old/foreign", "best.ckpt is not a visiontasks checkpoint"),
    # localization
    ("finetune BOXES --model.box_loss '{l3: 1}'", "--model.box_loss", "smooth_l1, l2, giou, diou, ciou", "l3"),
    ("finetune BOXES --model.box_loss '{giou: -1}'", "--model.box_loss must give factors of 0 or more"),
    ("finetune BOXES --model.box_loss '{giou: 0}'", "--model.box_loss", "one above 0"),
    ("finetune BOXES --model.box_loss giou", "--model.box_loss: expected dict or null, got 'giou'"),
    ("finetune BOXES --model.box_loss '{giou: one}'", "--model.box_loss: expected float or null, got 'one'"),
    ("finetune BOXES --model.class_weight -1", "--model.class_weight must be 0 or more, got -1"),
    ("finetune BOXES --model.class_weight heavy", "--model.class_weight: expected float, got 'heavy'"),
    ("finetune BOXES --model.box_grid -1", "--model.box_grid must be 0 or more, got -1"),
    ("finetune BOXES --model.box_grid 99999", "the network is too large for the memory: make its head smaller"),
    ("finetune BOXES --model.num_objects 0", "--model.num_objects must be 1 or more, got 0"),
    ("finetune BOXES --model.num_objects 3", "the data gives 1 box per image", "--model.num_objects is 3"),
    ("finetune BOXES --data.num_objects 2", "the data gives 2 boxes per image", "--model.num_objects is 1"),
    ("finetune BOXES --data.num_objects 0", "--data.num_objects: 0, expected at least 1"),
    (
        "finetune BOXES --model.per_class_boxes true --model.class_weight 0",
        "--model.per_class_boxes needs classes",
        "class_weight above 0",
    ),
    (
        "finetune BOXES --model.per_class_boxes true --model.num_objects 2",
        "--model.per_class_boxes is for one object per image, but num_objects is 2",
    ),
    ("finetune BOXES --init_from nowhere", "init_from: no run in nowhere"),
    ("finetune BOXES --init_from a_file", "init_from: a_file cannot be read"),
    (
        "finetune BOXES --init_from old/trained --model.backbone resnet20_cifar",
        "init_from old/trained/1/backbone is of lenet5, but --model.backbone is resnet20_cifar",
    ),
    (
        "finetune BOXES --model.freeze_classes true --model.class_weight 0",
        "--model.freeze_classes keeps a class head that was trained before: name its run, --init_from RUN",
    ),
    (
        "finetune BOXES --model.freeze_classes true --model.class_weight 0 --model.num_objects 2",
        "--model.freeze_classes is for one class per image, but num_objects is 2",
    ),
    ("finetune BOXES --model.classifier old/trained", "--model.classifier is now init_from: give --init_from"),
    (
        "finetune BOXES --model.box_head LinearHead",
        "--model.box_head: LinearHead gives (1,) for an image, expected (1, 4)",
    ),
    ("finetune BOXES --model.box_head.hidden_features '[0]'", "--model.box_head.hidden_features"),
    (
        "finetune BOXES --model.class_head BoxHead",
        "--model.class_head: BoxHead gives (2, 4) for an image, expected (2,)",
    ),
    ("finetune BOXES --model.head LinearHead", "unknown key head in model (LocalizationTask)", "box_head"),
    ("finetune BOXES --data.multiple all", "multiple: expected 'largest', 'first' or 'refuse', got 'all'"),
    ("finetune BOXES --data.on_bad_sample ignore", "on_bad_sample: expected 'error' or 'skip', got 'ignore'"),
    ("finetune BOXES --data.classes '[cat, cat]'", "--data.classes: cat, cat, expected each name once"),
    ("finetune BOXES --data.classes '[cat, cow]'", "classes that --data.classes does not have: dog"),
    ("finetune BOXES --data.splits '{trian: a.txt}'", "--data.splits: trian, expected some of train, val"),
    ("finetune BOXES --data.splits '{train: nope.txt}'", "--data.splits: no file boxes/nope.txt"),
    ("finetune BOXES --data.images nope", "no folder boxes/nope/", "--data.images"),
    ("finetune BOXES --data.resize keep", "--data.resize: keep", "40x32 pixels", "expected 32x32"),
    ("finetune BOXES --data COCOBoxes", "no boxes/annotations/instances_train*.json", "--data.splits"),
    ("finetune BOXES --data CSVBoxes", "no file boxes/boxes.csv", "--data.csv"),
    (
        "finetune BOXES --data MaskFolder --data.root masks",
        "data.class_path: MaskFolder gives images with a mask",
        "LocalizationTask is trained on a box each",
    ),
    ("finetune BOXES --data Digits", "data.class_path: Digits gives images with a label", "trained on a box each"),
    (
        "finetune digits_localize --data.target mask --data.augment '[]'",
        "DigitScenes gives images with a mask, but model.class_path: LocalizationTask is trained on a box each",
        "set --data.target",
    ),
    # segmentation
    ("finetune MASKS --model.loss '{ce: 1}'", "--model.loss", "cross_entropy, dice, focal; got {'ce': 1.0}"),
    ("finetune MASKS --model.loss '{dice: 0}'", "--model.loss must give factors", "one above 0"),
    ("finetune MASKS --model.loss dice", "--model.loss: expected dict or null, got 'dice'"),
    ("finetune MASKS --model.head UNetHed", "'UNetHed' for --model.head: did you mean UNetHead or RetinaNetHead?"),
    ("finetune MASKS --model.head LinearHead", "unknown name 'LinearHead' for --model.head"),
    (
        "finetune MASKS --model.head FCNHead --model.head.stride 7",
        "the head's stride is 7",
        "--model.head.stride",
    ),
    (
        "finetune MASKS --model.head FCNHead --model.head.stride 4 --model.head.hidden_channels -1",
        "--model.head.hidden_channels must be at least 0, got -1",
    ),
    ("finetune MASKS --model.head HourglassHead --model.head.stack_width 3", "--model.head.stack_width must be even"),
    (
        "finetune MASKS --model.head HourglassHead --model.head.num_stacks 0",
        "--model.head.num_stacks must be at least 1",
    ),
    ("finetune MASKS --model.head.finest_width 0", "--model.head.finest_width must be at least 1"),
    ("finetune MASKS --model.class_weights '[1]'", "--model.class_weights", "3 values above 0", "got [1.0]"),
    ("finetune MASKS --model.class_weights '[1, 1, -1]'", "3 values above 0", "got [1.0, 1.0, -1.0]"),
    ("finetune MASKS --model.window 0", "--model.window must be 1 or more pixels"),
    ("finetune MASKS --model.window_overlap 1", "--model.window_overlap must be in [0, 1), got 1"),
    ("finetune MASKS --data.resize crop", "--data.resize: crop", "expected squash, letterbox or keep"),
    ("finetune MASKS --data.ignored '[256]'", "--data.ignored: [256], expected values from 0 to 255"),
    ("finetune MASKS --data.ignored '[0, 1]'", "masks/ hold no two classes", "--data.ignored"),
    ("finetune MASKS --data.ignored zero", "--data.ignored: expected list or null, got 'zero'"),
    ("finetune MASKS --data.root strange_masks", "value(s) 7", "--data.ignored"),
    ("finetune MASKS --data.root large_masks", "the mask has 41x32 pixels, but its image 40x32"),
    ("finetune MASKS --data.root boxes", "no folder boxes/masks/", "--data.root"),
    (
        "finetune MASKS --data VOCBoxes --data.root boxes",
        "data.class_path: VOCBoxes gives images with a box",
        "SegmentationTask is trained on a mask each",
    ),
    ("finetune MASKS --data VOCSegmentation --data.root nope", "no Pascal VOC 2012 in nope/", "--data.download true"),
    (
        "finetune MASKS --data OxfordPets --data.target mask --data.root nope",
        "no Oxford-IIIT Pet in nope/",
        "--data.download true",
    ),
    ("finetune MASKS --data.image_size '[32]'", "--data.image_size: expected int, got [32]"),
    (
        "finetune digits_lenet --data MaskFolder --data.root masks --data.batch_size 2",
        "MaskFolder gives images with a mask, but model.class_path: ClassificationTask is trained on a label each",
    ),
    # classes that are not complete, or of another output
    ("finetune digits_lenet --model Task", "Task is abstract", "ClassificationTask"),
    ("finetune digits_lenet --data DataModule", "DataModule is abstract", "ImageFolder"),
    ("finetune digits_lenet --model.schedule Schedule", "--model.schedule", "Schedule is abstract"),
    (
        "finetune digits_lenet --model.optimizer Optimizer --model.optimizer.defaults {}",
        "--model.optimizer.class_path: Optimizer is abstract",
    ),
    ("finetune digits_lenet --trainer.callbacks Callback", "trainer.callbacks.class_path: Callback is abstract"),
    (
        "finetune digits_lenet --model.head BoxHead",
        "--model.head: BoxHead gives (10, 4) for an image, expected (10,)",
    ),
    # more ranges, and values that contradict each other
    ("finetune digits_lenet --model.optimizer.lr .nan", "--model.optimizer: {'lr': nan}"),
    (f"finetune digits_lenet {SHORT} --model.optimizer SparseAdam", "optimizer: SparseAdam does not support dense"),
    ("finetune digits_lenet --model.optimizer LBFGS", "--model.optimizer: LBFGS doesn't support"),
    ("finetune digits_lenet --model.mixup_alpha -1", "--model.mixup_alpha and cutmix_alpha must be >= 0"),
    ("finetune digits_lenet --model.backbone_lr_scale -1", "--model.backbone_lr_scale must be finite and 0"),
    (
        "finetune digits_lenet --model.schedule Step --model.schedule.milestones '[-1]'",
        "--model.schedule.milestones must be 0 or more each",
    ),
    (
        "finetune digits_lenet --model.schedule.warmup_fraction 2",
        "--model.schedule.warmup_fraction must be in [0, 1], got 2",
    ),
    (
        "finetune digits_lenet --model.schedule Plateau --model.schedule.factor 2",
        "--model.schedule.factor must be in (0, 1), got 2",
    ),
    ("finetune digits_lenet --data.num_workers -1", "--data.num_workers: -1, expected 0 or more"),
    (
        "finetune FOLDER --data.root good --data.val_fraction 0.6 --data.test_fraction 0.6",
        "--data.val_fraction: 0.6 and test_fraction: 0.6 leave nothing to train on",
    ),
    ("finetune FOLDER --data.root good --data.val_fraction 0", "--data.val_fraction: 0.0, expected between"),
    ("finetune one_of.yaml", "data.init_args.augment: OneOf has p: 3.0, expected 0 to 1"),
    ("finetune large_crop.yaml", "data.init_args.augment: failed on sample", "Crop size"),
    ("finetune digits_lenet --finetune.unfreeze some", "unfreeze: expected 'all', 'stages' or 'never', got 'some'"),
    ("finetune digits_lenet --finetune.epochs_per_stage 0", "finetune.epochs_per_stage must be 1 or more, got 0"),
    ("finetune digits_lenet --finetune.backbone body", "'body'", "finetune.backbone"),
    ("finetune digits_lenet --trainer.gradient_clip_val -1", "--trainer.gradient_clip_val: -1, expected 0 or more"),
    (
        "finetune digits_lenet --trainer.min_epochs 99",
        "min_epochs: 99, expected at most --epochs (30)",
    ),
    ("finetune digits_lenet --trainer.val_check_interval 0", "trainer.val_check_interval: 0, expected more than 0"),
    ("finetune digits_lenet --trainer.precision 8", "trainer.precision: expected 64, 32, 16", "got 8"),
    ("finetune digits_lenet --trainer.strategy fsdpp", "trainer: ", "`strategy='fsdpp'`"),
    ("finetune digits_lenet --trainer.limit_train_batches 1.5", "trainer: ", "limit_train_batches"),
    ("finetune digits_lenet --trainer nowhere.yaml", "trainer: Unable to load config 'nowhere.yaml'"),
    ("finetune digits_lenet --seed_everything true", "seed_everything: True, expected 0 to 4294967295"),
    ("finetune twice.yaml", "twice.yaml is not YAML: line 3, column 1: the key seed_everything is given twice"),
    ("finetune with_config.yaml", "config is not a section", "would not be read"),
    ("finetune digits_lenet --config nowhere.yaml", "config: File does not exist"),
    ("finetune digits_lenet --data.init_args '{a: 1'", "data: expected keys with values, like {name: value}"),
    # more weights
    ("finetune digits_lenet --model.weights ''", "--model.weights is empty: expected hub, none, or the path"),
    ("finetune digits_lenet --model.weights good", "no good/config.json", "--model.weights"),
    ("finetune digits_lenet --model.weights other.safetensors", "other.safetensors", "missing features.0.weight"),
    ("finetune digits_lenet --model.weights empty.pth", "cannot read empty.pth: truncated"),
    ("finetune digits_lenet --model.weights no_tensors.pth", "no_tensors.pth holds no tensors"),
    ("finetune digits_lenet --model.weights a_file", "a_file is not a weight file: expected one of .safetensors"),
    ("finetune digits_lenet --model.backbone local-dir:nowhere", "no nowhere/config.json", "--model.backbone"),
    # more runs
    ("evaluate old/trained --data.batchsize 3", "unknown key batchsize in data (Digits): did you mean batch_size?"),
    ("evaluate old/trained --model.head MLPHead", "best.ckpt", "--model.head"),
    ("evaluate old/trained --model.in_chans 3", "best.ckpt", "in_chans"),
    (
        "evaluate old/trained --model.backbone resnet18",
        "--model.backbone was 'lenet5'",
        "leave out the override",
    ),
    (
        "evaluate old/trained --data ImageFolder --data.root good",
        "--data.classes does not have: cat, dog",
    ),
    ("evaluate old/trained --data ImageFolder --data.root nowhere", "no folder nowhere/", "--data.root"),
    ("evaluate old/trained --data.image_size 8", "--data.image_size was 32", "and is 8"),
    ("evaluate old/trained --trainer.limit_test_batches 0", "--trainer.limit_test_batches: 0, expected more than 0"),
    ("evaluate old/trained --model SegmentationTask", "model.class_path was", "SegmentationTask'"),
    ("evaluate old/trained photos", "visiontasks evaluate does not take photos"),
    ("evaluate old/broken_recipe", "recipe.yaml is not YAML: line 2"),
    ("evaluate old/half_a_recipe", "recipe.yaml has no section data"),
    ("evaluate old/broken_backbone", "backbone/config.json is not JSON"),
    ("evaluate old/empty", "best.ckpt cannot be read"),
]
FOLDER = "digits_lenet --data ImageFolder --data.batch_size 2 --model.in_chans 3 --data.num_workers 0"
SMALL = "--data.image_size 32 --data.batch_size 4 --data.num_workers 0 --data.augment null --finetune.freeze_epochs 0"
PLACEHOLDERS = {
    "FOLDER": FOLDER,  # without a network
    "BOXES": f"digits_localize --data VOCBoxes --data.root boxes --trainer.max_epochs 1 {SMALL}",
    "MASKS": f"digits_segment --data MaskFolder --data.root masks --trainer.max_epochs 1 {SMALL}",
}


@pytest.mark.parametrize(("arguments", "expected"), [(case[0], case[1:]) for case in WRONG], ids=[c[0] for c in WRONG])
def test_wrong_input_is_answered_with_its_cause_and_what_to_change(
    arguments: str,
    expected: tuple[str, ...],
    wrong_inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
) -> None:
    monkeypatch.chdir(wrong_inputs)
    for placeholder, recipe in PLACEHOLDERS.items():
        arguments = arguments.replace(placeholder, recipe)
    said = refused(arguments)
    assert [fragment for fragment in expected if fragment not in said] == [], said


def test_what_cannot_start_leaves_no_run_folder(in_tmp: Path, refused: Refused) -> None:
    refused("finetune digits_lenet --data.image_size 8")
    refused("finetune digits_lenet --finetune.last_stages 9")
    refused("finetune digits_lenet --model.optimizer.lr -1")
    refused("finetune digits_lenet --model.optimizer.lr -1 --name mine")
    refused("finetune digits_lenet --model.optimizer.lr -1 --out deep/folder")
    assert list(Path().iterdir()) == []


def test_missing_weights_are_reported_within_5_s(
    wrong_inputs: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.chdir(wrong_inputs)
    start = time.monotonic()
    refused("finetune folder_resnet --data.root good")
    assert time.monotonic() - start < 5


def test_a_runs_folder_that_cannot_be_made_is_named(in_tmp: Path, refused: Refused) -> None:
    Path("runs").write_text("a file")
    assert "runs" in refused(f"finetune digits_lenet {SHORT}")


def test_a_folder_without_permission_is_named(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert "runs/digits_lenet" in refused(f"finetune digits_lenet {SHORT}")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_takes_no_files_is_named(
    number: int, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    said = refused(f"finetune digits_lenet {SHORT}")
    assert "runs/digits_lenet" in said
    assert os.strerror(number) in said


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no file system that nobody may write to")
def test_a_folder_that_nobody_may_write_to_is_named(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.chdir("/sys/kernel")
    assert "error: runs" in refused(f"finetune digits_lenet {SHORT}")


def test_a_disk_that_is_full_when_a_checkpoint_is_written_is_told_with_what_it_needs(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    def write(path: Path, content: Any) -> None:
        room = 10_000
        path.write_bytes(bytes(content)[:room])
        if len(content) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("visiontasks.runs.checkpoint.write_through", write)
    said = refused(f"finetune digits_lenet {SHORT}")
    assert ".ckpt needs " in said
    assert "MB, but the disk is full" in said
    assert [path.name for path in Path("runs").rglob("*.ckpt*")] == []


CALLS = """
import resource, sys
from visiontasks.commands.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
def test_files_that_may_not_grow_end_a_process_with_one_message(in_tmp: Path) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, "-c", CALLS, "200000", "finetune", "digits_lenet", *SHORT.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert ".ckpt needs 0." in done.stderr
    assert len(done.stderr.splitlines()) <= 5
    assert [path.name for path in Path("runs").rglob("*.ckpt*")] == []


@pytest.mark.slow
def test_a_full_file_system_ends_a_process_with_one_message(in_tmp: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a small file system")
    small = in_tmp / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        command = [sys.executable, "-m", "visiontasks", "finetune", "digits_lenet", *SHORT.split()]
        done = subprocess.run(command, cwd=small, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert "the disk is full" in done.stderr or "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) <= 5
    finally:
        subprocess.run(["umount", "-l", small], check=True)
