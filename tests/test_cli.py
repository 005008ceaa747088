"""The commands as a user types them: what they print, and what they answer to wrong input."""

import errno
import shlex
import signal
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
from torch import nn

import visiontasks.backbones  # noqa: F401  registers lenet5 with timm
from visiontasks import __version__
from visiontasks.cli import ERROR_LINES, main
from visiontasks.errors import InputError
from visiontasks.heads import LinearHead
from visiontasks.recipe import find_recipe, list_recipes, read_recipe
from visiontasks.tasks import ClassificationTask

# the end of a training on Digits as short as can be
SHORT = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1"


def refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says on stderr, which has to be short, with exit status 2."""
    try:
        status: Any = main(shlex.split(arguments))
    except SystemExit as end:  # argparse
        status = end.code
    said = capsys.readouterr().err
    assert status == 2, said
    assert 1 <= len(said.strip().splitlines()) <= ERROR_LINES, said
    assert "Traceback" not in said
    assert "error: " in said
    return said


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def wrong_inputs(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    """A folder with recipes, images, weights and runs that have something wrong with them."""
    root = tmp_path_factory.mktemp("wrong")
    _write_recipes(root)
    _write_weights(root)
    _write_runs(root / "old")
    class_folders(root / "good", {"cat": 5, "dog": 5})
    class_folders(root / "one_class", {"cat": 5})
    class_folders(root / "empty_class", {"cat": 5, "dog": 0})
    class_folders(root / "val_knows_more", {"train/cat": 3, "train/dog": 3, "val/cat": 2, "val/cow": 2})
    class_folders(root / "misnamed", {"train/cat": 3, "train/dog": 3, "validation/cat": 2, "validation/dog": 2})
    (class_folders(root / "foreign", {"cat": 5, "dog": 5}) / "cat" / "notes.docx").touch()
    truncated = class_folders(root / "truncated", {"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/dog": 2})
    for path in (truncated / "val" / "cat").iterdir():
        path.write_bytes(path.read_bytes()[:100])
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


def _write_runs(root: Path) -> None:
    for run, checkpoint in (("untrained", None), ("cut", b"PK\x03\x04"), ("foreign", b"")):
        folder = root / run / "1"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "recipe.yaml").write_text(find_recipe("digits_lenet").read_text())
        if checkpoint is not None:
            (folder / "checkpoints" / "best.ckpt").write_bytes(checkpoint)
    torch.save({"state_dict": {}}, root / "foreign" / "1" / "checkpoints" / "best.ckpt")


# What a user may type, and what has to be in the answer: the cause, and the key or option to change.
WRONG = [
    # commands
    ("", "required: COMMAND"),
    ("finetun digits_lenet", "invalid choice: 'finetun'", "'recipes', 'finetune', 'evaluate'"),
    ("finetune", "required: RECIPE"),
    ("evaluate", "required: RUN"),
    ("evaluate old/cut --split train", "invalid choice: 'train'", "'test', 'val'"),
    ("recipes digits", "recipes does not take digits"),
    # recipes
    ("finetune digits_resnt", "no recipe 'digits_resnt'", "did you mean digits_resnet"),
    ("finetune nowhere.yaml", "no recipe file nowhere.yaml"),
    ("finetune broken.yaml", "broken.yaml is not YAML", "line 2, column 5"),
    ("finetune empty.yaml", "empty.yaml is not a recipe", "got None"),
    ("finetune no_model.yaml", "no section model"),
    ("finetune no_class.yaml", "model has no class_path"),
    ("finetune no_backbone.yaml", "the recipe lacks model.init_args.backbone", "--model.backbone"),
    ("finetune section.yaml", "unknown key trainr.max_epochs: did you mean trainer.max_epochs"),
    ("finetune trainer_key.yaml", "unknown key max_epoch in trainer: did you mean max_epochs"),
    ("finetune finetune_key.yaml", "unknown key freeze_epoch in finetune: did you mean freeze_epochs"),
    ("finetune model_key.yaml", "unknown key bakbone in model (ClassificationTask): did you mean backbone?"),
    ("finetune data_key.yaml", "unknown key batchsize in data (Digits): did you mean batch_size?"),
    ("finetune optimizer_key.yaml", "momentun in model.init_args.optimizer (SGD): did you mean momentum?"),
    ("finetune flip_key.yaml", "unknown key pp in data.init_args.augment (HorizontalFlip): did you mean p?"),
    ("finetune epochs.yaml", "trainer.max_epochs: expected int or null, got 'two'"),
    ("finetune num_classes.yaml", "model.init_args.num_classes", "comes from the data"),
    ("finetune task.yaml", "'ClasificationTask' for model: did you mean ClassificationTask or LocalizationTask?"),
    ("finetune flip.yaml", "'HorizontlFlip' for data.init_args.augment: did you mean HorizontalFlip?"),
    ("finetune crop.yaml", "RandomCrop (data.init_args.augment)", "height", "greater than or equal to 1, got -1"),
    ("finetune normalize.yaml", "data.init_args.augment: Normalize is refused", "remove it"),
    # keys and types of overrides
    ("finetune digits_lenet --model.bakbone x", "unknown key bakbone in model", "did you mean backbone?"),
    ("finetune digits_lenet --trainer.max_epoch 3", "unknown key max_epoch in trainer", "max_epochs"),
    ("finetune digits_lenet --max_epochs 3", "unknown key max_epochs: did you mean trainer.max_epochs?"),
    ("finetune digits_lenet --model.optimizer.lrr 1", "lrr in model.init_args.optimizer (SGD): did you mean lr?"),
    ("finetune digits_lenet --model.schedule.wormup 1", "wormup in model.init_args.schedule (OneCycle)"),
    ("finetune digits_lenet --model.head.dropuot 1", "in model.init_args.head (LinearHead): did you mean dropout?"),
    ("finetune digits_lenet --data.root photos", "unknown key root in data (Digits): there are augment, batch_size"),
    ("finetune digits_lenet --data.seed 3", "data.init_args.seed", "comes from seed_everything"),
    ("finetune digits_lenet photos", "unexpected argument 'photos'", "--trainer.max_epochs 3"),
    ("finetune digits_lenet --trainer.max_epochs", "--trainer.max_epochs has no value behind it"),
    ("finetune digits_lenet --trainer.max_epochs two", "trainer.max_epochs: expected int or null, got 'two'"),
    ("finetune digits_lenet --model.optimizer.lr fast", "optimizer.init_args.lr: expected float, got 'fast'"),
    ("finetune digits_lenet --model.in_chans 2", "model.init_args.in_chans: expected 1 or 3, got 2"),
    (
        "finetune digits_lenet --model.class_weights equal",
        "class_weights: expected 'balanced', 'sqrt_balanced', list or null",
    ),
    ("finetune digits_lenet --data.resize stretch", "expected 'crop', 'squash', 'letterbox' or 'keep', got 'stretch'"),
    ("finetune digits_lenet --data.augment HorizontalFlip", "data.init_args.augment: expected list or null"),
    ("finetune digits_lenet --data.augment '[3]'", "data.init_args.augment: ", "subclass of BasicTransform"),
    ("finetune digits_lenet --seed_everything x", "seed_everything: expected bool or int, got 'x'"),
    # names
    ("finetune digits_lenet --model.backbone resnt18", "unknown backbone 'resnt18'", "did you mean resnet18"),
    ("finetune digits_lenet --model.backbone resnet18.a9", "unknown tag in backbone 'resnet18.a9'"),
    ("finetune digits_lenet --model.head LinerHead", "'LinerHead' for model.init_args.head: did you mean LinearHead"),
    ("finetune digits_lenet --model.optimizer SGDD", "'SGDD' for model.init_args.optimizer: did you mean SGD"),
    ("finetune digits_lenet --model.optimizer Cosine", "'Cosine' for model.init_args.optimizer: there are", "AdamW"),
    ("finetune digits_lenet --model.schedule Cosin", "'Cosin' for model.init_args.schedule: did you mean Cosine?"),
    ("finetune digits_lenet --data Digts", "unknown name 'Digts' for data: did you mean Digits or DigitScenes?"),
    ("finetune digits_lenet --model.head my.Head", "model.init_args.head: No module named 'my'"),
    (
        "finetune digits_lenet --model.head torch.nn.Conv2d",
        "the recipe lacks model.init_args.head.init_args.kernel_size:",
    ),
    (
        "finetune digits_lenet --model.head torch.nn.Nope",
        "model.init_args.head: ",
        "'torch.nn' has no attribute 'Nope'",
    ),
    (
        "finetune digits_lenet --model torch.nn.Linear",
        "model: ",
        "torch.nn.Linear does not correspond to a subclass of Task",
    ),
    ("finetune digits_lenet --trainer.callbacks TimerX", "'TimerX' for trainer.callbacks: did you mean Timer?"),
    # ranges
    ("finetune digits_lenet --model.optimizer.lr -1", "model.init_args.optimizer: Invalid learning rate: -1"),
    ("finetune digits_lenet --model.label_smoothing 2", "model.init_args.label_smoothing", "[0, 1), got 2"),
    ("finetune digits_lenet --model.head.dropout 2", "model.init_args.head.init_args.dropout", "[0, 1), got 2"),
    ("finetune digits_lenet --model.ema_decay 1.5", "model.init_args.ema_decay", "[0, 1), got 1.5"),
    ("finetune digits_lenet --model.class_weights '[1, 2]'", "class_weights", "10 values", "got [1.0, 2.0]"),
    ("finetune digits_lenet --model.backbone_lr_scale '[1]'", "backbone_lr_scale has 1 values", "3 stages"),
    ("finetune digits_lenet --data.batch_size 0", "data.init_args.batch_size: 0, expected at least 1"),
    ("finetune digits_lenet --data.batch_size 2000", "batch_size: 2000", "1078 image(s); expected at most 1078"),
    ("finetune digits_lenet --data.image_size 8", "cannot take images of 8 px", "set data.init_args.image_size to 32"),
    ("finetune digits_lenet --model.backbone vit_tiny_patch16_224", "32 px", "data.init_args.image_size to 224"),
    ("finetune digits_lenet --finetune.freeze_epochs -1", "finetune.freeze_epochs must be 0 or more, got -1"),
    (
        "finetune digits_lenet --finetune.freeze_epochs 2",
        "model.init_args.weights is none",
        "finetune.freeze_epochs to 0",
    ),
    ("finetune digits_lenet --finetune.last_stages 9", "finetune.last_stages is 9", "3 stages"),
    ("finetune digits_lenet --seed_everything -1", "seed_everything: -1, expected 0 to 4294967295"),
    ("finetune digits_lenet --seed_everything 4294967296", "4294967296, expected 0 to 4294967295"),
    ("finetune digits_lenet --trainer.max_epochs 0", "trainer.max_epochs", "nothing would be trained"),
    ("finetune digits_lenet --trainer.limit_train_batches 0", "trainer.limit_train_batches: 0, expected more than 0"),
    ("finetune digits_lenet --trainer.check_val_every_n_epoch 99", "expected 1 to trainer.max_epochs (30)"),
    ("finetune digits_lenet --trainer.accumulate_grad_batches 0", "accumulate_grad_batches: 0, expected at least 1"),
    ("finetune digits_lenet --trainer.accelerator abacus", "trainer: ", "`accelerator='abacus'`"),
    ("finetune digits_lenet --trainer.devices -3", "trainer: `devices`", "should be an int > 0"),
    ("finetune digits_lenet --trainer.max_time fast", "trainer: ", "DD:HH:MM:SS"),
    ("finetune digits_lenet --data.split_seed -1", "data.init_args.split_seed: -1, expected 0 or more"),
    ("finetune digits_lenet --trainer.val_check_interval 1000", "trainer: `val_check_interval` (1000)", "batches (33)"),
    ("finetune digits_lenet --trainer.val_check_interval 1.5", "trainer: ", "val_check_interval"),
    (
        f"finetune digits_lenet {SHORT} --trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/acc",
        "trainer: Early stopping conditioned on metric `val/acc` which is not available",
    ),
    # weights
    ("finetune digits_lenet --model.weights nowhere.pth", "no weight file nowhere.pth", "model.init_args.weights"),
    ("finetune digits_lenet --model.weights cut.safetensors", "cannot read cut.safetensors: truncated"),
    ("finetune digits_lenet --model.weights misshapen.safetensors", "misshapen.safetensors", "(7, 1, 5, 5), expected"),
    ("finetune digits_lenet --model.weights incomplete.safetensors", "missing features.0.weight"),
    ("finetune digits_lenet --model.weights pickled.pth", "cannot read pickled.pth", "Python objects"),
    ("finetune digits_lenet --model.weights hub", "lenet5 has no pretrained weights", "model.init_args.weights"),
    (
        "finetune folder_resnet --data.root good",
        "no weights for resnet18.a1_in1k",
        "model.init_args.weights",
        "digits_resnet",
        "copy that folder here",
    ),
    # data
    ("finetune folder_resnet --model.weights none", "no folder data/images/", "--data.init_args.root"),
    ("finetune digits_lenet --data ImageFolder", "the recipe lacks data.init_args.root"),
    ("finetune FOLDER --data.root nowhere", "no folder nowhere/", "--data.init_args.root"),
    ("finetune FOLDER --data.root a_file", "no folder a_file/", "--data.init_args.root"),
    ("finetune FOLDER --data.root no_images", "no class folders in no_images/", "<class>/"),
    ("finetune FOLDER --data.root one_class", "data.init_args.root: one_class/ has 1 class (cat)"),
    ("finetune FOLDER --data.root empty_class", "empty_class/: too few images", "dog (0)"),
    ("finetune FOLDER --data.root val_knows_more", "val_knows_more/val/ has classes", "lacks: cow"),
    ("finetune FOLDER --data.root misnamed", "misnamed/: ", "rename validation to val"),
    ("finetune FOLDER --data.root foreign", "foreign/cat/notes.docx", "convert or remove"),
    ("finetune FOLDER --data.root good --data.batch_size 32", "batch_size: 32", "6 image(s); expected at most 6"),
    ("finetune FOLDER --data.root truncated", "truncated/", ".png", "truncated"),
    ("finetune digits_lenet --data CIFAR10 --data.root nowhere", "no CIFAR-10 in nowhere/", "--data.download true"),
    ("finetune digits_lenet --data MNIST --data.root nowhere", "no MNIST in nowhere/", "--data.download true"),
    ("finetune mnist_lenet --data.root nowhere", "no MNIST in nowhere/", "cannot be downloaded", "digits_resnet"),
    # runs
    ("evaluate nowhere", "no run in nowhere", "runs/<recipe>"),
    ("evaluate a_file", "no run in a_file"),
    ("evaluate old/untrained", "old/untrained/1 has no checkpoints/best.ckpt"),
    ("evaluate old/cut", "old/cut/1/checkpoints/best.ckpt cannot be read: truncated"),
    ("evaluate old/foreign", "best.ckpt is no checkpoint of visiontasks"),
]
# an ImageFolder that needs no hub
FOLDER = "digits_lenet --data ImageFolder --data.batch_size 2 --model.in_chans 3 --data.num_workers 0"


@pytest.mark.parametrize(("arguments", "expected"), [(case[0], case[1:]) for case in WRONG], ids=[c[0] for c in WRONG])
def test_wrong_input_is_answered_with_its_cause_and_what_to_change(
    arguments: str,
    expected: tuple[str, ...],
    wrong_inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(wrong_inputs)
    said = refused(arguments.replace("FOLDER", FOLDER), capsys)
    assert [fragment for fragment in expected if fragment not in said] == [], said


def test_what_cannot_start_leaves_no_run_folder(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused("finetune digits_lenet --data.batch_size 2000", capsys)
    refused("finetune digits_lenet --finetune.last_stages 9", capsys)
    refused("finetune digits_lenet --model.optimizer.lr -1", capsys)
    assert not list(Path("runs").glob("digits_lenet/*"))


def test_missing_weights_are_reported_within_5_s(
    wrong_inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(wrong_inputs)
    start = time.monotonic()
    refused("finetune folder_resnet --data.root good", capsys)
    assert time.monotonic() - start < 5


def test_a_runs_folder_that_cannot_be_made_is_named(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").write_text("a file")
    assert "runs" in refused(f"finetune digits_lenet {SHORT}", capsys)


def test_a_folder_without_permission_is_named(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert "runs/digits_lenet" in refused(f"finetune digits_lenet {SHORT}", capsys)


def test_a_long_answer_is_cut_to_five_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise InputError("1\n\n2\n3\n4\n5\n6")

    monkeypatch.setattr("visiontasks.cli.list_recipes", refuse)
    assert refused("recipes", capsys) == "error: 1\n2\n3\n4\n5\n"


def test_a_fault_of_the_program_keeps_its_traceback(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(ClassificationTask, "training_loss", fault)
    with pytest.raises(ValueError, match="^a bug$"):
        main(shlex.split(f"finetune digits_lenet {SHORT}"))
    monkeypatch.setattr(LinearHead, "__init__", fault)
    with pytest.raises(ValueError, match="^a bug$"):
        main(shlex.split(f"finetune digits_lenet {SHORT}"))


def test_an_io_error_that_no_user_causes_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("visiontasks.cli.list_recipes", fault)
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["recipes"])


def test_running_out_of_memory_names_the_batch_size(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(ClassificationTask, "training_loss", fill)
    said = refused(f"finetune digits_lenet {SHORT}", capsys)
    assert "out of memory with data.init_args.batch_size 32 and image_size 32x32: make one of them smaller" in said


def test_interruption_ends_with_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("visiontasks.cli.list_recipes", interrupt)
    assert main(["recipes"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupted_training_says_so_with_status_130(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassificationTask, "training_loss", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert main(shlex.split(f"finetune digits_lenet {SHORT}")) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert capsys.readouterr().err.endswith("interrupted\n")


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "visiontasks", *arguments], capture_output=True, text=True, check=False
    )


def test_an_unknown_recipe_is_answered_within_a_second_and_without_torch() -> None:
    code = (
        "import sys; from visiontasks.cli import main; print(main(['finetune', 'digits_resnt'])); print(*sys.modules)"
    )
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.monotonic() - start)
    assert min(times) < 1
    status, *modules = done.stdout.split()
    assert status == "2"
    assert {"torch", "lightning", "numpy", "jsonargparse"}.isdisjoint(modules)


def test_recipes_are_listed_within_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = run_command("recipes")
        times.append(time.monotonic() - start)
    assert min(times) < 1
    assert done.returncode == 0
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")] == [
        "recipe",
        *(recipe.name for recipe in list_recipes()),
    ]


@pytest.mark.slow
def test_a_wrong_key_ends_a_process_with_status_2_and_one_line() -> None:
    done = run_command("finetune", "digits_lenet", "--trainer.max_epoch", "3")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: unknown key max_epoch in trainer: did you mean max_epochs, min_epochs or max_steps?\n"


def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m visiontasks recipes | true",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"visiontasks {__version__}\n"


def test_help_of_finetune_shows_how_to_override(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["finetune", "--help"])
    assert end.value.code == 0
    assert "--trainer.max_epochs 3" in capsys.readouterr().out


def test_all_keys_can_be_printed(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["finetune", "digits_lenet", "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["max_epochs"] == 30
    assert printed["data"]["init_args"]["resize"] == "crop"


def test_weights_that_cannot_be_had_are_missed_before_the_slow_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "visiontasks.run", None)  # an import of it fails from here on
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert main(["finetune", "folder_resnet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 5
    assert "no weights for resnet18.a1_in1k" in lines[0]
    assert "model.init_args.weights" in lines[1]


@pytest.mark.parametrize("overrides", ["", "--data CIFAR10 --data.root nowhere", "--data.download=true"])
def test_data_that_cannot_be_had_is_missed_before_the_slow_imports(
    overrides: str, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "visiontasks.run", None)
    assert main(shlex.split(f"finetune mnist_lenet {overrides}")) == 2
    assert "and it cannot be downloaded from http" in capsys.readouterr().err
