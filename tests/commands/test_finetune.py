"""A run from end to end: what its folder holds, and that measuring it again gives the same numbers to the last bit."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visiontasks.commands.evaluate import evaluate
from visiontasks.commands.finetune import finetune
from visiontasks.commands.main import main
from visiontasks.errors import InputError
from visiontasks.ops.metrics import wilson_interval
from visiontasks.recipe import find_recipe
from visiontasks.runs.folder import BEST, LAST
from visiontasks.runs.provenance import PACKAGES

SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8", "--data.num_workers", "0"]
PHOTOS = [*("--data", "ImageFolder", "--model.in_chans", "3", "--data.batch_size", "4"), *SHORT]
Metrics = dict[str, dict[str, Any]]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Experiment logs directory"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
]


def train(recipe: str, overrides: list[str], runs: Path) -> tuple[Path, dict[str, Any]]:
    return finetune(find_recipe(recipe), overrides, runs=runs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A short training of LeNet-5 on Digits, only to be read."""
    return train("digits_lenet", SHORT, tmp_path_factory.mktemp("digits") / "runs")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, class_folders: Callable[..., Path]) -> Path:
    """Red cats, green cows and blue dogs (the order of their names), 10 each."""
    return class_folders(tmp_path_factory.mktemp("photos") / "photos", {"cat": 10, "cow": 10, "dog": 10})


@pytest.fixture(scope="module")
def trained_on_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Long enough to classify the colours."""
    overrides = [*PHOTOS, "--data.root", str(photos), "--model.optimizer", "AdamW", "--trainer.max_epochs", "8"]
    run_dir, result = train(
        "digits_lenet", [*overrides, "--model.optimizer.lr", "3e-3"], tmp_path_factory.mktemp("run")
    )
    assert result["metrics"]["test/top1"]["value"] == 1
    return run_dir, result


def test_run_folder_holds_what_the_design_says(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, _ = trained
    assert run_dir.parent.name == "digits_lenet"
    names = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names - {events} == {
        "recipe.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "result.json",
        "backbone/config.json",
        "predictions_test.png",
        "predictions_test.csv",
        "report.html",
        "report_test.json",
    }


def test_one_file_of_tensorboard_has_training_test_and_picture(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, result = trained
    events = EventAccumulator(str(run_dir), size_guidance={"images": 0})  # type: ignore[no-untyped-call]
    events.Reload()  # type: ignore[no-untyped-call]
    found = events.Tags()  # type: ignore[no-untyped-call]
    assert {"train/loss", "val/top1", "test/top1"} <= set(found["scalars"])
    assert found["images"] == ["predictions_test"]
    (top1,) = events.Scalars("test/top1")  # type: ignore[no-untyped-call]
    assert top1.value == pytest.approx(result["metrics"]["test/top1"]["value"])


def test_a_finished_run_has_the_optimizer_in_its_last_checkpoint_alone(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, _ = trained
    best, last = (torch.load(run_dir / name, weights_only=True) for name in (BEST, LAST))
    assert last.keys() - best.keys() == {"optimizer_states"}
    # SGD's momentum is as large as the weights
    weights = sum(tensor.nbytes for tensor in best["state_dict"].values())
    assert weights < (run_dir / BEST).stat().st_size < 1.5 * weights
    assert (run_dir / LAST).stat().st_size > 2 * weights


def test_the_plan_names_classes_and_what_is_in_two_splits(
    class_folders: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"Train/cat": 4, "Train/dog": 4, "valid/cat": 1, "valid/dog": 1, "Test/cat": 2, "Test/dog": 2, "pred": 1}
    root = class_folders(tmp_path / "photos", folders)
    train("digits_lenet", [*PHOTOS, "--data.root", str(root), "--trainer.max_epochs", "1"], tmp_path)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("14 images, 2 classes: cat 7, dog 7. train 8, val 2, test 4")
    assert lines[start + 1] == "note: not read beside Train/, valid/, Test/: pred/"
    first = f"{root}/valid/cat/0.png and {root}/Train/cat/0.png"
    assert lines[start + 2].startswith(f"warning: in two splits the same file: {first}, ")
    assert " and 3 more; metrics on them are too good (visiontasks check-data" in lines[start + 2]


def test_metrics_csv_has_a_row_of_validation_for_each_epoch(trained: tuple[Path, dict[str, Any]]) -> None:
    header, *rows = (trained[0] / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("val/top1")
    assert len([row for row in rows if row.split(",")[column]]) == 2


def test_result_says_how_every_number_came_about(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, result = trained
    assert json.loads((run_dir / "result.json").read_text()) == result
    assert (result["recipe"], result["task"], result["seed"]) == ("digits_lenet", "ClassificationTask", 0)
    assert result["split"] == "test"
    assert {key: value for key, value in result["data"].items() if key != "class_counts"} == {
        "splits": {"train": 1078, "val": 360, "test": 359},
        "skipped": {},
        "classes": list("0123456789"),
        "warnings": [],
    }
    counts = result["data"]["class_counts"]["splits"]
    assert {split: sum(by_class) for split, by_class in counts.items()} == {"train": 1078, "val": 360, "test": 359}
    assert set(result["versions"]) == {*PACKAGES, "python"}
    assert result["chosen_by"]["monitor"] == "val/top1"
    assert 0 <= result["chosen_by"]["value"] <= 1
    assert 0 < result["fit_s"] <= result["wall_s"]
    assert result["precision"] == "32-true"
    assert set(result["time"]) == {"steps", "data", "validation", "checkpoints", "other"}
    assert 0 < sum(result["time"].values()) <= result["fit_s"]


def test_phases_cover_the_training_and_say_what_was_trained(trained: tuple[Path, dict[str, Any]]) -> None:
    (phase,) = trained[1]["phases"]
    assert (phase["epochs"], phase["trained_stages"]) == ([1, 2], 3)
    assert 0 < phase["wall_s"] <= trained[1]["fit_s"]


def test_every_metric_has_its_sample_count_and_shares_their_interval(trained: tuple[Path, dict[str, Any]]) -> None:
    metrics = trained[1]["metrics"]
    names = ["top1", "macro_accuracy", "loss", "top5", "top5_error", "top1_error"]
    assert sorted(metrics) == sorted(f"test/{name}" for name in names)
    assert {entry["n"] for entry in metrics.values()} == {359}
    for name in ("top1", "top5", "top1_error", "top5_error"):
        entry = metrics[f"test/{name}"]
        assert entry["value"] == entry["count"] / 359
        assert entry["interval95"] == list(wilson_interval(entry["count"], 359))
    assert metrics["test/top1"]["count"] + metrics["test/top1_error"]["count"] == 359
    assert "interval95" not in metrics["test/loss"]


def test_evaluation_gives_the_same_numbers_to_the_last_bit(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, result = trained
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]


def test_evaluation_needs_neither_recipe_folder_nor_weights(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, result = trained
    monkeypatch.chdir(tmp_path)
    moved = Path(shutil.copytree(run_dir, tmp_path / "moved"))
    recipe = yaml.safe_load((moved / "recipe.yaml").read_text())
    recipe["model"]["init_args"]["weights"] = "hub"  # as of a network that is not there any more
    (moved / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert evaluate(moved, [])["metrics"] == result["metrics"]


def test_evaluation_on_val_measures_the_epoch_that_was_chosen(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, result = trained
    metrics = evaluate(run_dir, [], split="val")["metrics"]
    assert metrics["val/top1"]["n"] == 360
    assert metrics["val/top1"]["value"] == pytest.approx(result["chosen_by"]["value"], abs=1e-6)


def test_evaluation_adds_what_it_measured_and_changes_no_file(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, _ = trained
    added = [run_dir / name for name in ("predictions_val.png", "predictions_val.csv", "report_val.html")]
    for path in added:
        path.unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    evaluate(run_dir, [], split="val")
    evaluate(run_dir, [])
    after = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert all(after.pop(path) for path in added)
    assert after == before


def test_a_run_that_may_not_be_written_is_measured_all_the_same(
    trained: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, result = trained
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and access(path, mode))
    monkeypatch.setattr("visiontasks.results.measure.draw_predictions", pytest.fail)
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]


def test_resolved_recipe_trains_the_same_weights_again(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run_dir, result = trained
    again_dir, again = finetune(run_dir / "recipe.yaml", [], runs=tmp_path)
    assert again_dir.parent == tmp_path / "digits_lenet"
    assert again["metrics"] == result["metrics"]
    assert (again_dir / "recipe.yaml").read_text() == (run_dir / "recipe.yaml").read_text()


def test_a_pretrained_backbone_is_trained_head_first(tmp_path: Path) -> None:
    limits = [item for split in ("train", "val", "test") for item in (f"--trainer.limit_{split}_batches", "1")]
    overrides = ["--trainer.max_epochs", "3", "--finetune.freeze_epochs", "2", *limits]
    run_dir, result = train("digits_resnet", overrides, tmp_path)
    assert [(phase["epochs"], phase["trained_stages"]) for phase in result["phases"]] == [([1, 2], 0), ([3, 3], 3)]
    assert result["metrics"]["test/top1"]["n"] == 32
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]


def test_mean_and_std_of_a_weight_folder_are_those_of_the_evaluation(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    from visiontasks.backbones import create_vector, save_local_dir, to_classifier

    backbone = create_vector("lenet5", weights="none", in_chans=1)
    backbone.pretrained_cfg |= {"mean": (0.9,), "std": (0.1,)}
    network = to_classifier(backbone, torch.zeros(10, 84), torch.zeros(10))
    save_local_dir(network, tmp_path / "weights")
    run_dir, result = train("digits_lenet", [*SHORT, "--model.weights", str(tmp_path / "weights")], tmp_path / "runs")
    shutil.rmtree(tmp_path / "weights")
    assert evaluate(run_dir, [])["metrics"] == result["metrics"]
    assert result["metrics"]["test/loss"] != trained[1]["metrics"]["test/loss"]


def test_another_folder_without_splits_is_measured_whole(
    trained_on_photos: tuple[Path, dict[str, Any]], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    other = class_folders(tmp_path / "other", {"cat": 3, "cow": 4, "dog": 5})
    metrics = evaluate(trained_on_photos[0], ["--data.root", str(other)])["metrics"]
    assert metrics["test/top1"]["n"] == 12
    assert metrics["test/top1"]["value"] == 1


def test_val_of_another_folder_without_splits_is_the_share_that_a_training_would_hold_out(
    trained_on_photos: tuple[Path, dict[str, Any]], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    other = class_folders(tmp_path / "other", {"cat": 5, "cow": 5, "dog": 10})
    metrics = evaluate(trained_on_photos[0], ["--data.root", str(other)], split="val")["metrics"]
    assert metrics["val/top1"]["n"] == 4


def test_only_test_of_another_folder_is_measured(
    trained_on_photos: tuple[Path, dict[str, Any]], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    other = class_folders(tmp_path / "other", {"train/cat": 1, "test/cat": 3, "test/cow": 4, "test/dog": 5})
    metrics = evaluate(trained_on_photos[0], ["--data.root", str(other)])["metrics"]
    assert metrics["test/top1"]["n"] == 12


def test_classes_of_another_folder_are_matched_by_name_where_some_are_absent(
    trained_on_photos: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dog").symlink_to(photos / "dog")  # the only class, which by position would be the first
    metrics = evaluate(trained_on_photos[0], ["--data.root", str(tmp_path / "other")])["metrics"]
    assert (metrics["test/top1"]["count"], metrics["test/top1"]["n"]) == (10, 10)


def test_a_class_that_the_network_does_not_know_is_named(
    trained_on_photos: tuple[Path, dict[str, Any]], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    other = class_folders(tmp_path / "other", {"cat": 3, "horse": 4})
    with pytest.raises(InputError, match=r"other/ has classes .* does not have: horse; expected some of cat, cow, dog"):
        evaluate(trained_on_photos[0], ["--data.root", str(other)])


def test_the_folder_of_the_training_keeps_its_splits(
    trained_on_photos: tuple[Path, dict[str, Any]], photos: Path
) -> None:
    run_dir, result = trained_on_photos
    assert result["metrics"]["test/top1"]["n"] == 6
    assert evaluate(run_dir, ["--data.root", f"{photos}/."])["metrics"] == result["metrics"]


def test_data_without_a_test_split_reports_val_and_says_so(
    class_folders: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(Path("photos"), {f"{split}/{name}": 4 for split in ("train", "val") for name in ("cat", "dog")})
    assert main(["finetune", "digits_lenet", *PHOTOS, "--data.root", "photos"]) == 0
    assert "digits_lenet: val split (the data has no test split" in capsys.readouterr().out
    (result,) = Path("runs").glob("*/*/result.json")
    content = json.loads(result.read_text())
    assert content["split"] == "val"
    assert {name.split("/")[0] for name in content["metrics"]} == {"val"}
    assert main(["evaluate", "runs/digits_lenet"]) == 2
    assert "no test split here, only: train, val; use one of these (evaluate: --split)" in capsys.readouterr().err
    assert main(["evaluate", "runs/digits_lenet", "--split", "val"]) == 0


def test_averaged_weights_of_the_best_epoch_are_measured_and_not_those_of_the_last(
    class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    folders = {f"{split}/{name}": 8 for split in ("train", "val") for name in ("cat", "dog")}
    root = class_folders(tmp_path / "photos", folders)
    for old, new in (("cat", "other"), ("dog", "cat"), ("other", "dog")):  # the more is learned, the worse
        (root / "val" / old).rename(root / "val" / new)
    overrides = [*PHOTOS, "--data.root", str(root), "--model.ema_decay", "0.5", "--trainer.max_epochs", "4"]
    run_dir, result = train("digits_lenet", overrides, tmp_path / "runs")
    best, last = (torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert best["epoch"] < last["epoch"]  # else the two would be equal
    assert last.keys() - best.keys() == {"optimizer_states", "current_model_state"}
    assert evaluate(run_dir, [], split="val")["metrics"] == result["metrics"]


def test_checkpoints_say_what_they_were_trained_by_without_any_pickled_object(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    run_dir, result = trained
    for name in ("best", "last"):
        provenance = torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)["visiontasks"]
        assert provenance["recipe"] == (run_dir / "recipe.yaml").read_text()
        assert provenance["class_names"] == list("0123456789")
        assert provenance["versions"] == result["versions"]


def test_a_trial_run_of_one_batch_is_measured_as_it_is(tmp_path: Path) -> None:
    _, result = train("digits_lenet", ["--trainer.fast_dev_run", "true"], tmp_path)
    assert result["metrics"]["test/top1"]["n"] == 32


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
def test_a_training_that_ends_before_a_validation_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ended before a validation.* raise trainer\.max_epochs"):
        train("digits_lenet", ["--trainer.max_steps", "3", "--trainer.max_epochs", "1"], tmp_path)


def test_balanced_class_weights_get_the_counts_of_the_training_split(
    class_folders: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[list[float]] = []
    from visiontasks.tasks import ClassificationTask

    monkeypatch.setattr(ClassificationTask, "on_fit_start", lambda task: weights.append(task.class_weights().tolist()))
    root = class_folders(tmp_path / "photos", {"train/cat": 6, "train/dog": 2, "val/cat": 1, "val/dog": 1})
    train("digits_lenet", [*PHOTOS, "--data.root", str(root), "--model.class_weights", "balanced"], tmp_path / "runs")
    assert weights == [pytest.approx([8 / (2 * 6), 8 / (2 * 2)])]


def test_overrides_of_the_network_do_not_fit_the_weights(trained: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="backbone was 'lenet5' .* leave out the override"):
        evaluate(trained[0], ["--model.backbone", "resnet20_cifar"])


def test_other_data_with_other_classes_is_refused(
    trained: tuple[Path, dict[str, Any]], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "photos", {"cat": 1, "dog": 1})
    with pytest.raises(InputError, match=r"photos/ has classes .* does not have: cat, dog"):
        evaluate(trained[0], ["--data", "ImageFolder", "--data.root", str(root)])


@pytest.mark.slow
def test_two_processes_write_one_run_and_print_it_once(tmp_path: Path) -> None:
    command = "-m visiontasks finetune digits_lenet --trainer.devices 2 --trainer.accelerator cpu"
    done = subprocess.run(
        [sys.executable, *shlex.split(command), *SHORT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder: ") == 1
    assert done.stdout.count("epoch 2/2") == 1
    (run_dir,) = (tmp_path / "runs" / "digits_lenet").iterdir()
    result = json.loads((run_dir / "result.json").read_text())
    assert result["metrics"]["test/top1"]["n"] == 359
    again = evaluate(run_dir, ["--trainer.devices", "1"])["metrics"]
    assert again["test/top1"] == result["metrics"]["test/top1"]
    assert again["test/loss"]["value"] == pytest.approx(result["metrics"]["test/loss"]["value"], rel=1e-6)
