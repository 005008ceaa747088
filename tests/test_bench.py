"""bench/: what is read from the programs, the medians and ratios of it, and the made images. No test is timed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import annotations, commands, decode, detection, gpu, growth, results, run
from bench.processes import ProgramError, Usage, measure, process_tree, pss_bytes, rss_bytes
from bench.work import Epoch, make_images, read_epochs, write_epochs
from visiontasks.caches import FOLDER
from visiontasks.data import DetectionFolder

METRICS = """epoch,step,seconds,lr/head,train/loss,val/loss,val/top1
1,4,,,,1.2,0.5
1,9,10.5,0.001,1.1,1.0,0.6
2,18,4.25,0.001,0.9,0.8,0.7
"""
EPOCHS = [Epoch(s, 288, top1) for s, top1 in ((9, 0.5), (4, 0.6), (6, 0.7), (36, 0.8), (12, 0.95), (27, 0.9))]


def row(turn: int, program: str, **values: float) -> results.Row:
    columns = dict.fromkeys(results.COLUMNS, 1.0) | values
    facts = dict.fromkeys(("data", "weights", "cpu", "cores", "memory_gib", "threads", "date"), "some") | {
        "load": "0.5"
    }
    about = {"round": str(turn), "program": program, "precision": "32-true", "overrides": ""}
    return about | {name: str(value) for name, value in columns.items()} | facts


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv"])
def test_made_exports_hold_the_same_objects_in_each_format(form: str, tmp_path: Path) -> None:
    annotations.make_export(tmp_path / form, form, 12)
    data = DetectionFolder(str(tmp_path / form), test_fraction=1.0)
    data.setup()
    assert data.split_sizes == {"test": 12}
    assert int(data.count_classes(data.source("test")).sum()) == 12 * annotations.BOXES
    assert any(note.casefold().startswith(f"format: {'pascal ' if form == 'voc' else ''}{form}") for note in data.notes)


def test_the_table_of_detectors_has_medians_ratios_in_the_same_round_and_the_instructions() -> None:
    """8, 10 and 30 images/s are 8, 5 and 10 times as fast as 1, 2 and 3: the median is 8, that of the rates 10 / 2."""
    facts = {name: f"its {name}" for name in ("cpu", "cores", "threads", "load", "torch", "torchvision", "precision")}
    rows = []
    for turn, (ours, theirs) in enumerate(((8, 1), (10, 2), (30, 3)), start=1):
        for program in ("backbone", "fcos", "fasterrcnn", *detection.PEERS):
            rate, cost = (ours, 10) if program == "fcos" else (theirs, 40)
            speeds = {"train": rate, "train_cpu_ms": cost, "predict": rate, "predict_cpu_ms": cost}
            row = {"round": turn, "program": program, **speeds, "instructions": "AVX2", "onednn_max_isa": "AVX2"}
            rows.append({**facts, **{name: str(value) for name, value in row.items()}})
    lines = detection.table(rows)
    assert lines[0].startswith("AVX2 (oneDNN's limit: AVX2), torch its torch, torchvision its torchvision, its cpu")
    assert lines[0].endswith("ours in its precision; medians of 3 round(s)")
    assert lines[3] == f"{'fcos':24} train   10.00 ( 8.00)    10.0 ms  predict   10.00 ( 8.00)    10.0 ms"
    assert "met: fcos, train: 8.00 x torchvision_fasterrcnn, of processor time 4.00 x; target >= 8" in lines
    assert "missed: fasterrcnn, train: 1.00 x torchvision_fasterrcnn, of processor time 1.00 x; target >= 1.5" in lines


def test_epochs_of_a_run_leave_out_validations_within_an_epoch(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(METRICS)
    epochs = results.epochs_of_run(tmp_path / "metrics.csv", batch_size=32)
    assert epochs == [Epoch(10.5, 288, 0.6), Epoch(4.25, 288, 0.7)]


def test_a_programs_epochs_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_epochs(tmp_path / "times.json", EPOCHS, precision="32-true")
    assert read_epochs(tmp_path / "times.json") == (EPOCHS, {"precision": "32-true"})


def test_a_row_has_the_first_frozen_epoch_the_median_of_later_ones_and_the_mean_of_full_ones() -> None:
    found = results.measured(Usage(100, 150, 2000, 1500), EPOCHS)
    expected = {
        "wall_s": 100,
        "cpu_s": 150,
        "frozen_first_s": 9,
        "frozen_later_s": 5,
        "full_epoch_s": 25,
        "images_s": 11.52,  # 864 in 75 s
    }
    assert {name: float(found[name]) for name in expected} == expected
    assert (float(found["pss_mib"]), float(found["rss_mib"])) == (1500, 2000)
    assert found["epochs_s"] == "9.000 4.000 6.000 36.000 12.000 27.000"


def test_accuracy_is_the_last_epochs_and_not_the_best() -> None:
    assert float(results.measured(Usage(1, 1, 1, 1), EPOCHS)["top1"]) == 0.9


def test_medians_are_over_the_rounds_of_a_program() -> None:
    rows = [row(turn, "raw", wall_s=value) for turn, value in enumerate((7, 1, 3), 1)]
    assert results.medians(rows, "wall_s") == {"raw": 3}


def test_ratios_compare_each_round_with_itself() -> None:
    # In the third round the machine was busy: 20/10, 30/20 and 400/100. The ratio of the medians would be 30/20.
    ours = [row(turn, "visiontasks", wall_s=value) for turn, value in enumerate((10, 20, 100), 1)]
    theirs = [row(turn, "lightning", wall_s=value) for turn, value in enumerate((20, 30, 400), 1)]
    assert results.ratios([*ours, *theirs], "wall_s") == {"visiontasks": 1, "lightning": 2}


def test_ratios_leave_out_rounds_that_visiontasks_has_not_ended() -> None:
    rows = [row(1, "visiontasks", wall_s=10), row(1, "raw", wall_s=5), row(2, "raw", wall_s=50)]
    assert results.ratios(rows, "wall_s")["raw"] == 0.5


def test_an_epoch_too_short_to_be_measured_gives_an_infinite_ratio() -> None:
    rows = [row(1, "visiontasks", frozen_later_s=0), row(1, "lightning", frozen_later_s=8)]
    assert results.ratios(rows, "frozen_later_s")["lightning"] == float("inf")


def test_ratios_without_visiontasks_are_none() -> None:
    assert results.ratios([row(1, "raw")], "wall_s") == {}


def test_the_table_has_medians_and_ratios_in_brackets() -> None:
    lines = results.table([row(1, "visiontasks", wall_s=40), row(1, "lightning", wall_s=130, top1=0.92)]).splitlines()
    assert lines[2].startswith("| visiontasks | 40 s | 1 s | 1.00 s |")
    assert lines[3].startswith("| plain Lightning | 130 s (3.25 x) | 1 s (1.00 x) |")
    assert lines[3].endswith("| 0.920 |")
    assert "Medians of 1 round(s)" in lines[-1]


def test_targets_are_met_or_missed() -> None:
    ours = row(1, "visiontasks", wall_s=10, images_s=9, top1=0.93)
    peers = [row(1, "lightning", wall_s=30, top1=0.94), row(1, "fastai", wall_s=49, top1=0.95)]
    found = results.targets([ours, *peers, row(1, "raw", images_s=10)])
    assert [line.split(":")[0] for line in found] == ["met", "missed", "missed", "met", "met", "met", "missed"]


def test_rows_are_added_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "some.csv"
    results.append(path, {"a": "1", "b": "x, y"})
    results.append(path, {"a": "2", "b": ""})
    assert results.read(path) == [{"a": "1", "b": "x, y"}, {"a": "2", "b": ""}]


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    results.append(tmp_path / "some.csv", {"a": "1"})
    with pytest.raises(ValueError, match="has the columns a, expected a, b: give another --name"):
        results.append(tmp_path / "some.csv", {"a": "1", "b": "2"})


def test_circumstances_name_machine_and_versions() -> None:
    found = results.circumstances()
    assert found["torch"].startswith("2.")
    assert int(found["cores"]) > 0
    assert found["cpu"]


@pytest.mark.parametrize(("written", "expected"), [("null", "32-true"), ("bf16-mixed", "bf16-mixed"), ("32", "32")])
def test_precision_is_that_of_the_resolved_recipe(tmp_path: Path, written: str, expected: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"trainer: {{precision: {written}}}\n")
    assert run.precision_of_run(tmp_path) == expected


def test_visiontasks_finds_no_features_of_earlier_runs(tmp_path: Path) -> None:
    assert run.no_features(tmp_path) == {FOLDER: str(tmp_path / "features")}


def test_made_images_are_photographs_of_each_class(tmp_path: Path) -> None:
    make_images(tmp_path, classes=2, train=2, test=1)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert files == [f"{name}.jpg" for name in ("test/class0/0", "test/class1/0", *TRAIN)]
    images = [cv2.imread(str(tmp_path / file)) for file in files]
    assert all(min(image.shape[:2]) >= 256 for image in images if image is not None)
    assert all((tmp_path / file).stat().st_size > 20_000 for file in files)


TRAIN = ("train/class0/0", "train/class0/1", "train/class1/0", "train/class1/1")


def test_made_images_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_images(tmp_path / name, classes=1, train=1, test=1)
    assert np.array_equal(*(cv2.imread(str(tmp_path / name / "train/class0/0.jpg")) for name in ("a", "b")))


def test_test_images_are_linked_as_validation(tmp_path: Path) -> None:
    make_images(tmp_path / "made", classes=2, train=2, test=1)
    photos, about = run.link_images(tmp_path / "made", tmp_path)
    assert len(list((photos / "val" / "class1").iterdir())) == 1
    assert about == "4 training and 2 test images of made"


def test_a_folder_without_test_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match="no folder .*/test/: expected --data FOLDER with train/<class>/ and test"):
        run.link_images(tmp_path, tmp_path)


def test_a_failing_program_is_named_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="(?s)ended with status 3, expected 0:.*no such thing"):
        measure(["sh", "-c", "echo no such thing; exit 3"], cwd=tmp_path, log=tmp_path / "log.txt")


def test_a_program_may_have_to_fail(tmp_path: Path) -> None:
    assert measure(["sh", "-c", "exit 2"], cwd=tmp_path, log=tmp_path / "log.txt", status=2).wall_s > 0


@pytest.fixture
def parent_and_child() -> Iterator[int]:
    script = "import subprocess; p = subprocess.Popen(['sleep', '9']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        subprocess_pid = int(process.stdout.readline())
        yield process.pid
        process.kill()
        subprocess.run(["kill", str(subprocess_pid)], check=True)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_that_of_the_whole_tree(parent_and_child: int) -> None:
    tree = list(process_tree(parent_and_child))
    assert len(tree) == 2
    assert all(0 < pss_bytes(pid) <= rss_bytes(pid) for pid in tree)


def test_the_memory_of_an_ended_process_is_0() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert (rss_bytes(process.pid), pss_bytes(process.pid)) == (0, 0)


def test_the_gpu_benchmark_is_skipped_without_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run.main(["gpu"])
    assert capsys.readouterr().out == "skipped: no GPU that torch can use on this machine\n"


def test_images_per_second_on_the_gpu() -> None:
    assert gpu.images_s(steps=60, batch_size=256, seconds=6) == 2560


def test_the_share_of_the_raw_loop_is_by_round_and_loading() -> None:
    speeds = {"excluded": ((95, 100), (198, 200), (97, 100)), "included": ((50, 100), (60, 100), (90, 100))}
    rows = [
        {"round": str(turn), "loading": loading, "program": program, "images_s": str(speed)}
        for loading, rounds in speeds.items()
        for turn, pair in enumerate(rounds)
        for program, speed in zip(("visiontasks", "raw"), pair, strict=True)
    ]
    assert gpu.summary(rows).splitlines() == [
        "loading excluded: visiontasks 97, raw loop 100 images/s: 0.970 of it, target 0.95 met",
        "loading included: visiontasks 60, raw loop 100 images/s: 0.600 of it",
    ]


def test_decoding_is_compared_round_by_round() -> None:
    line = decode.line("training", [(300, 100), (150, 100), (160, 100)])
    assert line == "training: visiontasks 160, torchvision 100 images/s per core: 1.60 x, target 2.5 missed"


def test_a_slow_command_misses_its_target() -> None:
    assert commands.line("recipes", [0.2, 0.6, 0.7]).endswith("0.60 s (0.20 to 0.70, n=3), target < 0.5 s missed")


def test_growth_takes_the_same_number_of_each_class_and_copies_what_is_missing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "all" / name).mkdir(parents=True)
        for i in range(2):
            cv2.imwrite(str(tmp_path / "all" / name / f"{i}.jpg"), np.full((8, 8, 3), 100 * i, np.uint8))
    growth.fill(tmp_path / "all", tmp_path / "some", 6)
    found = sorted(path.relative_to(tmp_path / "some").as_posix() for path in (tmp_path / "some").rglob("*.jpg"))
    assert found == ["a/0.jpg", "a/1.jpg", "a/1_0.jpg", "b/0.jpg", "b/1.jpg", "b/1_0.jpg"]


def test_copies_differ_from_turn_to_turn() -> None:
    image = np.array([[[0] * 3, [250] * 3]], np.uint8)
    turns = [growth.changed(image, turn)[0, :, 0].tolist() for turn in (1, 2, 3)]
    assert turns == [[250, 0], [8, 255], [255, 8]]


def test_photographs_have_12_megapixels_and_are_linked_beyond_the_distinct_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "DISTINCT", 2)
    monkeypatch.setattr(growth, "WIDTH", 40)
    monkeypatch.setattr(growth, "HEIGHT", 30)
    for name in ("a", "b"):
        (tmp_path / "all" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "all" / name / "0.png"), np.zeros((8, 8, 3), np.uint8))
    growth.fill_photographs(tmp_path / "all", tmp_path / "some", 4)
    found = sorted((tmp_path / "some").rglob("*.*"))
    assert [path.relative_to(tmp_path / "some").as_posix() for path in found] == [
        *("a/0.jpg", "a/2_0.jpg", "b/0.jpg", "b/3_0.jpg")
    ]
    assert cv2.imread(str(found[1])).shape == (30, 40, 3)
    assert found[0].samefile(found[1])


def test_growth_refuses_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "all" / "a").mkdir(parents=True)
    with pytest.raises(SystemExit, match="has no images"):
        growth.fill(tmp_path / "all", tmp_path / "some", 5)
