"""The recipe for what a user names, chosen by a look at a folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from visiontasks.errors import InputError, MissingFileError
from visiontasks.recipe.choice import TASKS, choose
from visiontasks.recipe.files import read_recipe, recipes_dir

VOC = "<annotation><object><name>cat</name></object></annotation>"


def write(root: Path, *names: str) -> Path:
    """Images, and other files with what begins them."""
    for name in names:
        path, _, text = name.partition("|")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if text:
            (root / path).write_text(text)
        else:
            Image.new("L", (2, 2)).save(root / path)
    return root


CLASSES = ("cats/1.png", "cats/2.png", "dogs/1.png")
BOXES = ("images/1.png", f"annotations/1.xml|{VOC}")
MASKS = ("images/1.png", "masks/1.png")


@pytest.mark.parametrize(
    ("files", "recipe", "overrides", "reason"),
    [
        (CLASSES, "folder_resnet", [], "class folders (cats, dogs), so classification with the recipe folder_resnet"),
        (
            ("train/cats/1.png", "train/dogs/1.png", "val/cats/1.png"),
            "folder_resnet",
            [],
            "class folders in train/, val/ (cats, dogs), so classification",
        ),
        (
            BOXES,
            "folder_localize",
            [],
            "boxes in Pascal VOC's format (annotations/1.xml), one box in each image (1 looked at), so localization "
            "with the recipe folder_localize; --task detection predicts any number of boxes",
        ),
        (
            ("train/1.png", f"train/1.xml|{VOC}"),
            "folder_localize",
            ["--data.annotations", "train", "--data.images", "train"],
            "boxes in Pascal VOC's format (train/1.xml)",
        ),
        (
            ("images/1.png", 'annotations/instances_train.json|{"images": [], "annotations": [], "categories": []}'),
            "folder_localize",
            ["--data", "COCOBoxes"],
            "boxes in COCO's format (annotations/instances_train.json)",
        ),
        (
            ("images/1.png", "boxes.csv|path,label,x1,y1,x2,y2\n"),
            "folder_localize",
            ["--data", "CSVBoxes"],
            "a table of boxes (boxes.csv)",
        ),
        (
            ("images/1.png", "labels.csv|id,breed\n1,cat\n9,dog\n"),
            "folder_resnet",
            ["--data", "TableImages"],
            "a table of labels (labels.csv: id,breed), so classification",
        ),
        (
            ("images/1.png", "labels.csv|id,tags\n1,cat|dog\n9,dog\n"),
            "folder_labels",
            [],
            "a table of labels (labels.csv: id,tags), so multilabel",
        ),
        (MASKS, "folder_segment", [], "images with masks (images/ and masks/), so segmentation with the recipe"),
    ],
)
def test_a_folder_is_trained_on_by_what_it_holds(
    files: tuple[str, ...], recipe: str, overrides: list[str], reason: str, tmp_path: Path
) -> None:
    root = write(tmp_path / "mine", *files)
    choice = choose(str(root))
    assert choice.recipe == recipes_dir() / f"{recipe}.yaml"
    assert choice.overrides == [*overrides, "--data.root", str(root)]
    (line,) = choice.reasons
    assert line.startswith(f"{root}/: {reason}")


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        (("a.png", "b.png"), "holds images without labels (a.png): move each into"),
        (("notes.txt|x",), "holds no images: expected class folders"),
        (("cats/1.png",), "holds images of one folder, cats/: expected class folders"),
        (("images/1.png", "train.csv|image_id,label\n9,cat\n"), "a table of labels (train.csv: image_id,label)"),
        (
            (*MASKS, BOXES[1]),
            "(images/ and masks/): choose with --task localization or --task detection or --task segmentation",
        ),
        (("inner/cats/1.png", "inner/dogs/1.png"), "holds the images one folder further down: visiontasks finetune"),
    ],
)
def test_a_folder_that_no_recipe_reads_is_answered_with_the_way_out(
    files: tuple[str, ...], answer: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        choose(str(write(tmp_path / "mine", *files)))
    assert answer in str(error.value)


def test_a_task_chooses_among_several(tmp_path: Path) -> None:
    root = str(write(tmp_path, "images/1.png", "masks/1.png", "images/2.png", f"annotations/1.xml|{VOC}"))
    assert {task: choose(root, task=task).recipe.stem for task in ("localization", "detection", "segmentation")} == {
        "localization": "folder_localize",
        "detection": "folder_detect",
        "segmentation": "folder_segment",
    }
    with pytest.raises(InputError, match="--task classification needs class folders"):
        choose(root, task="classification")
    with pytest.raises(InputError, match="--task finding: expected classification, multilabel, localization, "):
        choose(root, task="finding")
    assert choose(root, task="detection").overrides == ["--data.root", root]  # it finds out the format by itself


@pytest.mark.parametrize(
    "file",
    [
        "labels/1.txt|0 0.5 0.5 0.1 0.1\n",
        "data.yaml|train: images\nnames: [a, b]\nnc: 2\n",
        '1.json|{"shapes": []}',
        "annotations.xml|<annotations><version>1.1</version></annotations>",
        "boxes.csv|images/1.png,1,2,3,4,cat\n",
        "train.csv|filename,width,height,class,xmin,ymin,xmax,ymax\n",
        "oid.csv|ImageID,LabelName,XMin,XMax,YMin,YMax\n",
        'via.json|{"a": {"filename": "1.png", "regions": [{"region_attributes": {}}]}}',
    ],
)
def test_boxes_that_only_detection_reads_are_detected(file: str, tmp_path: Path) -> None:
    root = str(write(tmp_path / "mine", "images/1.png", file))
    choice = choose(root)
    assert choice.recipe.stem == "folder_detect"
    assert choice.overrides == ["--data.root", root]
    assert choice.reasons[0].endswith("so detection with the recipe folder_detect")
    assert choose("folder_detect", root).overrides == ["--data.root", root]
    for ask in (lambda: choose("folder_localize", root), lambda: choose(root, task="localization")):
        with pytest.raises(InputError, match="which only detection reads as it is .*; for one box in each image: "):
            ask()


COCO = {"images": [{"id": 0, "file_name": "a.png"}, {"id": 7}], "annotations": [{"image_id": 7}], "categories": []}
OBJECT = "<object><name>cat</name></object>"
HEADER = "boxes.csv|path,label,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            (*BOXES, f"annotations/2.xml|<annotation>{OBJECT}{OBJECT}</annotation>"),
            "boxes in Pascal VOC's format (annotations/1.xml), images with several boxes (2.xml: 2)",
        ),
        ((*BOXES, "annotations/2.xml|<annotation></annotation>"), "images without a box (2.xml)"),
        ((f"instances.json|{json.dumps(COCO)}",), "images without a box (a.png)"),
        (
            (f"instances.json|{json.dumps({**COCO, 'annotations': [{'image_id': i} for i in (7, 0, 7, 7)]})}",),
            "boxes in COCO's format (instances.json), images with several boxes (7: 3)",
        ),
        ((f"instances.json|{json.dumps(COCO)}{' ' * 8_000_000}",), "too large for a quick count (8.00 MB)"),
        ((HEADER + "a.png,cat,1,1,2,2\nb.png,cat,1,1,2,2\na.png,dog,1,1,2,2\n",), "several boxes (a.png: 2)"),
        ((HEADER + "a.png,cat,1,1,2,2\nb.png,,,,,\n",), "images without a box (b.png)"),
    ],
)
def test_several_boxes_in_an_image_or_none_are_detected(files: tuple[str, ...], why: str, tmp_path: Path) -> None:
    root = str(write(tmp_path / "mine", "images/1.png", *files))
    choice = choose(root)
    assert choice.recipe.stem == "folder_detect"
    assert choice.overrides == ["--data.root", root]
    (line,) = choice.reasons
    way = "so detection with the recipe folder_detect; --task localization predicts one box in each"
    assert line.endswith(f"{why}, {way}")
    for task, recipe in (("localization", "folder_localize"), ("detection", "folder_detect")):
        forced = choose(root, task=task)
        assert forced.recipe.stem == recipe
        assert forced.reasons[0].endswith(f"so {task} with the recipe {recipe} (--task)")


def test_one_box_in_each_image_is_localized(tmp_path: Path) -> None:
    coco = {**COCO, "annotations": [{"image_id": 7}, {"image_id": 0}]}
    both = write(tmp_path / "coco", "images/1.png", f"instances.json|{json.dumps(coco)}")
    table = write(tmp_path / "table", "images/1.png", HEADER + "a.png,cat,1,1,2,2\n")
    for root, count in ((both, 2), (table, 1)):
        assert choose(str(root)).recipe.stem == "folder_localize"
        assert f"one box in each image ({count} looked at), so localization" in choose(str(root)).reasons[0]


def test_a_broken_annotation_is_left_to_the_dataset_that_reads_it(tmp_path: Path) -> None:
    for i, text in enumerate(('{"images": [', '{"images": [3]}', '{"images": [{"id": [1]}]}')):
        root = write(tmp_path / str(i), "images/1.png", f"instances.json|{text}")
        assert choose(str(root)).recipe.stem == "folder_localize"


def test_a_large_folder_is_looked_at_evenly_and_at_once(tmp_path: Path) -> None:
    root = write(tmp_path, "images/1.png")
    (root / "annotations").mkdir()
    for i in range(1000):
        (root / "annotations" / f"{i:03}.xml").write_text(f"<annotation>{OBJECT * (1 + (i == 995))}</annotation>")
    assert "images with several boxes (995.xml: 2)" in choose(str(root)).reasons[0]  # every fifth of them
    (root / "annotations" / "995.xml").write_text(VOC)
    assert "one box in each image (200 looked at)" in choose(str(root)).reasons[0]


def test_detection_reads_what_localization_reads_too(tmp_path: Path) -> None:
    root = str(write(tmp_path / "mine", *BOXES))
    assert choose("folder_detect", root).overrides == ["--data.root", root]


def test_recipe_and_folder_come_in_either_order(tmp_path: Path) -> None:
    root = str(write(tmp_path / "mine", *CLASSES))
    assert choose("folder_resnet", root) == choose(root, "folder_resnet")
    assert choose("folder_resnet", root).overrides == ["--data.root", root]
    assert choose("folder_resnet", root).reasons == []


def test_the_format_of_a_folder_replaces_the_dataset_of_its_recipe(tmp_path: Path) -> None:
    root = str(write(tmp_path, "images/1.png", "boxes.csv|path,label,x1,y1,x2,y2\n"))
    assert choose("folder_localize", root).overrides == ["--data", "CSVBoxes", "--data.root", root]


def test_a_recipe_for_other_annotations_names_the_command_for_the_folder(tmp_path: Path) -> None:
    root = str(write(tmp_path, *BOXES))
    with pytest.raises(InputError, match="folder_resnet needs class folders .* holds boxes in Pascal VOC") as error:
        choose("folder_resnet", root)
    assert str(error.value).endswith(f"visiontasks finetune {root}")


def test_a_recipe_with_its_own_images_takes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="digits_resnet trains on Digits, which comes with the package"):
        choose("digits_resnet", str(tmp_path))


def test_a_recipe_comes_before_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "digits_resnet", *CLASSES)
    assert choose("digits_resnet").reasons == [
        "digits_resnet: the recipe of that name, not the folder (which ./digits_resnet means)"
    ]
    assert choose("./digits_resnet").recipe.stem == "folder_resnet"


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("digits_resnt", "no recipe 'digits_resnt' and no folder of that name: did you mean digits_resnet"),
        ("my_imgaes", "did you mean my_images/?"),
        ("./my_imgaes", "no folder ./my_imgaes/: did you mean my_images/?"),
        ("nowhere/at/all", "no folder nowhere/at/all/: nowhere/at/ is not there either"),
        ("my_images/cats/1.png", "is one image, and a training needs a folder of them: visiontasks finetune my_images"),
        ("my_images/cats", "my_images/cats/ is a part of a dataset: visiontasks finetune my_images"),
        ("photos.zip", "photos.zip is an archive: unpack it (unzip -d photos photos.zip) and name the folder"),
        ("runs", "runs is a folder of runs, not of images: visiontasks predict runs IMAGES uses it"),
        ("data.yaml", "data.yaml describes a dataset for YOLO and is not a recipe"),
    ],
)
def test_a_name_that_is_no_folder_is_answered_with_the_way_out(
    target: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "my_images", *CLASSES)
    write(tmp_path, "photos.zip|PK", "runs/1/recipe.yaml|a", "data.yaml|train: images\nnames: [a, b]\nnc: 2\n")
    with pytest.raises((InputError, MissingFileError)) as error:
        choose(target)
    assert answer in str(error.value)


@pytest.mark.parametrize("path", sorted(recipes_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_whose_data_has_no_root_takes_no_folder(path: Path, tmp_path: Path) -> None:
    if "root" in read_recipe(path)["data"].get("init_args", {}):
        return
    with pytest.raises(InputError, match=f"{path.stem} trains on .*, which comes with the package and takes no folder"):
        choose(path.stem, str(tmp_path))


def test_each_task_has_a_shipped_recipe() -> None:
    assert all((recipes_dir() / f"{recipe}.yaml").is_file() for _, recipe in TASKS.values())


def test_a_look_at_a_folder_needs_no_torch(tmp_path: Path) -> None:
    root = write(tmp_path, *CLASSES)
    code = f"import sys; from visiontasks.recipe.choice import choose; choose({str(root)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "lightning", "numpy", "jsonargparse"}.isdisjoint(done.stdout.split())
