"""What is typed: commands, options in any form, folders and recipes, and how messages name them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visiontasks.commands.main import main
from visiontasks.commands.words import Typed, read_words
from visiontasks.errors import InputError


@pytest.fixture
def my_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("cats", "dogs"):
        for i in range(5):
            path = tmp_path / "my_images" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 32), (i * 20, 0, 0)).save(path)
    run = tmp_path / "runs/x/1"
    (run / "checkpoints").mkdir(parents=True)
    (run / "recipe.yaml").touch()
    (run / "checkpoints/best.ckpt").touch()
    (tmp_path / "flat").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "flat/1.png")
    return Path("my_images")


def read(text: str) -> tuple[Any, list[str]]:
    typed = Typed()
    arguments = read_words(text.split(), typed)
    return arguments, [word for option in typed.options for word in option.words]


def test_nothing_typed_prints_three_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("  visiontasks ")]) == 3
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80


def test_a_folder_alone_is_a_training(my_images: Path) -> None:
    arguments, overrides = read("finetune my_images")
    assert (Path(arguments.recipe).stem, overrides) == ("folder_resnet", ["--data.root", "my_images"])
    assert arguments.reasons == [
        "my_images/: class folders (cats, dogs), so classification with the recipe folder_resnet"
    ]


@pytest.mark.parametrize(
    "words",
    [
        "finetune my_images --epochs 12 --quick --out run",
        "train --epochs=12 my_images --quick --output-dir run",
        "fit my_images epochs=12 --output=run --dry-run",
        "finetune folder_resnet my_images --trainer.max_epochs 12 --out run --quick",
        "finetune my_images folder_resnet --quick --max-epochs 12 -o run",
        "finetune --data my_images --num-epochs 12 --quick true --save_dir run",
        "finetune folder_resnet --data.root my_images -e 12 --quick --out run",
    ],
)
def test_the_same_training_in_many_words(words: str, my_images: Path) -> None:
    arguments, overrides = read(words)
    assert Path(arguments.recipe).stem == "folder_resnet"
    assert (arguments.command, arguments.quick, arguments.out) == ("finetune", True, Path("run"))
    pairs = set(zip(overrides[::2], overrides[1::2], strict=True))
    assert pairs == {("--data.root", "my_images"), ("--trainer.max_epochs", "12")}


def test_check_data_takes_a_folder(my_images: Path) -> None:
    arguments, overrides = read("check-data my_images")
    assert (Path(arguments.recipe).stem, overrides) == ("folder_resnet", ["--data.root", "my_images"])


def test_resume_alone_takes_the_recipe_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Path("runs/x/1/recipe.yaml")
    recipe.parent.mkdir(parents=True)
    recipe.write_text("model: {class_path: ClassificationTask}\ndata: {class_path: Digits}\n")
    assert read("finetune --resume runs/x/1")[0].recipe == str(recipe)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("finetun my_images", "'finetun' is not a command: did you mean finetune?"),
        ("my_images", "my_images is not a command: visiontasks finetune my_images"),
        ("digits_resnet", "digits_resnet is not a command: visiontasks finetune digits_resnet"),
        ("--epochs 3", "--epochs: expected a command first, such as visiontasks finetune my_images --epochs"),
        ("val my_images", "visiontasks val: `visiontasks evaluate RUN` measures the test split"),
        ("help", "visiontasks help: `visiontasks --help` lists the commands"),
        ("finetune", "required: RECIPE|FOLDER, such as visiontasks finetune my_images"),
        ("finetune my_images other more", "visiontasks finetune does not take more"),
        ("finetune my_images my_images", "one folder is expected, or a recipe and a folder"),
        ("finetune my_images --data.root my_images", "--data.root my_images and my_images: give one folder"),
        ("predict runs/x a.jpg --epochs 3", "unknown option --epochs"),
        ("evaluate runs/x --split train", "--split: invalid choice: 'train'"),
    ],
)
def test_what_is_no_command_line_is_answered_with_one(words: str, answer: str, my_images: Path) -> None:
    with pytest.raises(InputError) as error:
        read(words)
    assert answer in str(error.value)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("finetune my_images --output my_images", "error: --output my_images is not empty: name a new folder"),
        ("finetune my_images --out my_images/cats/0.png", "--out my_images/cats/0.png is a file: name a new folder"),
        ("finetune my_images --name a/b", "--name a/b: expected a name without slashes; --out FOLDER takes a path"),
        ("finetune my_images --name x --out y", "--name and --out: give one"),
        ("finetune my_images --resume nope", "--resume nope: no run there"),
        ("finetune my_images --init_from nope", "--init_from: no run in nope"),
        ("finetune folder_resnet --data.root nope", "no folder nope/"),
        ("finetune folder_resnet", "folder_resnet needs your images: visiontasks finetune folder_resnet my_images"),
        ("finetune my_images --data.resize x", "--data.resize: expected 'crop', 'squash', 'letterbox' or 'keep'"),
        ("finetune my_images --data.init_args.resize x", "--data.init_args.resize: expected 'crop'"),
        ("finetune my_images --backbone resnt50", "unknown backbone 'resnt50'; did you mean resnet50"),
        ("finetune my_images --arch resnt50", "unknown backbone 'resnt50'"),
        ("finetune my_images --weights nope.pth", "no weight file nope.pth: give --weights a file, 'hub' or 'none'"),
        ("finetune my_images --device mps", "--device: mps is the GPU of a Mac"),
        ("summary resnt18", "unknown backbone 'resnt18'; did you mean resnet18"),
        ("report nope", "no run in nope"),
        ("compare nope nope", "no run in nope"),
        ("predict nope x.jpg", "no run in nope"),
        ("predict runs/x my_images/cats/0.png nope.jpg", "nope.jpg: no such file or folder"),
        ("predict runs/x my_images --epochs 3", "unknown option --epochs: "),
        ("finetune runs", "runs is a folder of runs, not of images: visiontasks predict runs IMAGES uses it"),
        ("finetune flat", "flat/ holds images without labels (1.png): move each into flat/<class>/"),
    ],
)
def test_what_cannot_be_done_is_answered_before_anything_heavy_and_as_typed(
    words: str, answer: str, my_images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_command(name: str) -> None:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("visiontasks.commands.main.import_module", import_command)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    before = sorted(Path().rglob("*"))
    assert main(words.split()) == 2
    assert answer in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_the_order_is_arguments_folder_recipe_weights(
    my_images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    words = ["finetune", "my_imgs", "--epochs", "two", "--model.bakbone", "x"]
    answers = []
    for _ in range(4):
        assert main(words) == 2
        answers.append(capsys.readouterr().err)
        if "--epochs two" in answers[-1]:
            words[3] = "2"
        elif "my_images/" in answers[-1]:
            words[1] = "my_images"
        elif "bakbone" in answers[-1]:
            del words[4:]
    assert ["--epochs two" in answers[0], "my_images/?" in answers[1], "bakbone" in answers[2]] == [True] * 3
    assert "no weights for resnet18.a1_in1k" in answers[3]
