"""The user's own images, sorted into one folder for each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from visiontasks.class_names import normalized
from visiontasks.data.base import DataModule
from visiontasks.data.datasets.options import check_choice, check_classes
from visiontasks.data.formats.corrections import corrected, read_corrections
from visiontasks.data.formats.layouts import file_name_classes, layout_hint, part_folders
from visiontasks.data.formats.split_folders import (
    UNLABELLED,
    SplitNames,
    says_nothing,
    split_names,
    split_of,
    suspicious,
)
from visiontasks.data.pipeline.files import (
    class_folders,
    image_files,
    is_image,
    listed,
    natural_key,
    visible_entries,
    visible_files,
)
from visiontasks.data.pipeline.groups import check_groups
from visiontasks.data.pipeline.problems import OnBadSample, file_problems, no_sample_left, usable_samples
from visiontasks.data.pipeline.sources import FileSource, Source, Subset, check_fractions, divided, sample_path
from visiontasks.data.targets import LabelTarget
from visiontasks.errors import InputError, MissingFileError

_LAYOUTS = "<class>/ with images, or train/<class>/, val/<class>/ and test/<class>/"


class ImageFolder(DataModule):
    """Images in class folders, decoded when they are needed.

    Classes are the folders' names, class2 before class10. The splits depend on what lies under root:

    - `train/`, `val/`, `test/`: these.
    - `train/`, `test/`: validation is split off train.
    - `train/`, `val/`: these; there is no test split (evaluate with --split val).
    - `train/`, or class folders directly: validation and test are split off.
    - only `val/` or `test/`: these, to evaluate on.

    Splits may have names such as Training, valid, seg_test or train_images; with two or more of them other folders
    beside them are not read, see `notes`. Class folders may hold folders. Hidden files, those of systems
    (@eaDir, __MACOSX, ...) and notes (.txt, .xml, .json, ...) are passed over.

    Names of classes are compared in Unicode's composed form (NFC).

    Beginning and end of every file are read, and all files that are empty, cut off, no images or of too many pixels are
    reported together. Bad files are left out after the splits are made, so that fixing one leaves the others where
    they were.

    Args:
        root: The folder.
        val_fraction: Share of all training images that is split off for validation, where `val/` is missing.
        test_fraction: Share split off for test, where `val/` and `test/` are missing; 0.0 leaves none. 1.0 is
            for evaluation: where there are no splits all images are the test split, and `train/` beside others
            is not opened.
        split_seed: Decides which images are split off; apart from `seed`, so that runs share their test set.
        groups: What images have in common that are never divided between splits made here: `folder`, `near`, `time`,
            `time:MINUTES`, `TABLE.csv:COLUMN` or a pattern, see `visiontasks.data.pipeline.groups.group_names`.
        classes: Names of the class folders in the order of the labels, for a folder to evaluate on that has
            only some of the classes. By default all that are there.
        on_bad_sample: `error` refuses a folder with bad files, with a list of them; `skip` decodes every file in full,
            leaves out the bad ones and counts them in `skipped`.
        corrections: A CSV file with labels that are wrong, see `visiontasks.data.formats.corrections`; applied after
            the splits are made, so that other images stay where they are.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a fraction is out of range, or a class is named twice.
    """

    def __init__(
        self,
        root: str,
        *,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        groups: str | None = None,
        classes: list[str] | None = None,
        on_bad_sample: OnBadSample = "error",
        corrections: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(target=LabelTarget(), **kwargs)
        check_fractions(val_fraction, test_fraction)
        check_classes(classes)
        check_choice("on_bad_sample", on_bad_sample, get_args(OnBadSample))
        self.root = Path(root)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.groups = check_groups(groups)
        self.classes = classes
        self.on_bad_sample: OnBadSample = on_bad_sample
        self.corrections = corrections
        self.skip_decodes = True
        """Whether `skip` decodes in full; a check that decodes anyway needs only beginnings and ends."""
        self._class_names: list[str] = []

    @property
    def class_names(self) -> list[str]:
        """Names of the class folders (of train, if it is there), in natural order, or `classes`.

        Raises:
            MissingFileError: If root is not there.
            InputError: If it has no class folders.
        """
        if not self._class_names:
            self._class_names = list(self.classes) if self.classes else self._found_classes()
        return list(self._class_names)

    def load_sources(self) -> dict[str, Source]:
        """List the images of each split, and leave out those that cannot be used.

        Raises:
            MissingFileError: If root is not there.
            BadSamplesError: If files are bad, and not to be skipped; with all of them.
            InputError: If folders or files are not as the class says, with all of their names, or all files of a split
                are bad.
        """
        sources = self._split_sources()
        if self.corrections is not None:
            path = Path(self.corrections)
            known = read_corrections(path)
            sources, note = corrected(sources, known, root=self.root, class_names=self.class_names)
            self.notes.append(f"{path}: {note}")
        return self._usable(sources)

    def _split_sources(self) -> dict[str, Source]:
        """All images of each split."""
        folders = self._opened_folders()
        self.hidden.clear()
        if self.root not in folders.values():
            visible_entries(self.root, self.hidden)
        sources = {split: self._open(folder) for split, folder in folders.items()}
        if "train" not in sources or ("val" in sources and self.fold is None):
            return {**sources}
        test_fraction = 0.0 if "test" in sources else self.test_fraction
        return {**sources, **self._divided(sources["train"], test_fraction=test_fraction, has_val="val" in sources)}

    def _usable(self, sources: Mapping[str, Source]) -> dict[str, Source]:
        """The sources without bad files."""
        paths = [sample_path(source, row) for source in sources.values() for row in range(len(source))]
        decode = self.on_bad_sample == "skip" and self.skip_decodes
        problems = file_problems(paths, decode=decode, max_16bit=self.max_16bit)
        usable = usable_samples(problems, root=self.root, on_bad_sample=self.on_bad_sample)
        ends = np.cumsum([len(source) for source in sources.values()])[:-1]
        found: dict[str, Source] = {}
        for (split, source), good in zip(sources.items(), np.split(usable, ends), strict=True):
            if not good.any():
                raise no_sample_left(split, len(source))
            if self.on_bad_sample == "skip":
                self.skipped[split] = int((~good).sum())
            found[split] = source if good.all() else Subset(source, np.flatnonzero(good))
        return found

    def _opened_folders(self) -> dict[str, Path]:
        folders = self._split_folders()
        if self.test_fraction < 1:
            return folders
        if list(folders) == ["train"]:
            return {"test": folders["train"]}
        return {split: folder for split, folder in folders.items() if split != "train"}

    def _split_folders(self) -> dict[str, Path]:
        """The folders that hold class folders; one without splits counts as train."""
        if not self.root.is_dir():
            raise MissingFileError(f"no folder {self.root}/: point --data.init_args.root at your images, as {_LAYOUTS}")
        names = class_folders(self.root)
        given = {normalized(name) for name in self.classes or ()}
        named = [name for name in names if normalized(name) not in given]
        # A class may be called train: then it holds images, not folders, and stands beside other classes.
        if not any(split_of(name) and class_folders(self.root / name) for name in named):
            return self._without_splits(names, named)
        found = split_names(named, folder=self.root)
        if not found.splits:
            return self._without_splits(names, named)
        self._check_others(found)
        return {split: _inner(self.root / name) for split, name in found.splits.items()}

    def _without_splits(self, names: Sequence[str], named: Sequence[str]) -> dict[str, Path]:
        """Root as train, unless what would be its classes are splits."""
        wrong = suspicious(named)
        splits = {split[0]: self.root / name for name in names if (split := split_of(name)) and not split[1]}
        splits.pop(UNLABELLED, None)
        if len(names) == 1 and splits:
            return splits  # whose own classes are missing, which the caller reports
        if wrong:
            raise InputError(
                f"data.init_args.root: {self.root}/ has {_folders(wrong)}, named like splits and not like classes; "
                f"expected {_LAYOUTS}: sort, rename or move these images, or name all classes if these are some "
                f"(data.init_args.classes){next(filter(None, (self._hint(self.root / name) for name in wrong)), '')}"
            )
        if named and not part_folders(named):  # which are refused as such
            _check_inner_classes(self.root, named)
        return {"train": self.root}

    def _check_others(self, found: SplitNames) -> None:
        """Refuse folders of images beside splits, where they may be classes or a split; note other ones."""
        beside = [name for name in found.others if any(map(is_image, visible_files(self.root / name)))]
        if beside and len(found.splits) == 1:
            (split,) = found.splits.values()
            raise InputError(
                f"data.init_args.root: {self.root}/ has {_folders(beside)} beside the split {split}/; expected "
                f"{_LAYOUTS}: move or rename them"
            )
        classes = {*class_folders(_inner(self.root / next(iter(found.splits.values()))))}
        alike = [name for name in beside if classes & {*class_folders(_inner(self.root / name))}]
        if alike and "val" not in found.splits:  # which would be split off train
            raise InputError(
                f"data.init_args.root: {self.root}/ has {_folders(alike)} beside {_folders([*found.splits.values()])}, "
                "with the same class folders: rename it to val/ if it is for validation, else move it"
            )
        if found.unlabelled or beside:
            splits = _folders(list(found.splits.values()))
            self.notes = [f"not read beside {splits}: {_folders([*found.unlabelled, *beside])}"]

    def _hint(self, folder: Path) -> str:
        """What the images of a folder without class folders may be."""
        in_names = file_name_classes(folder)
        return layout_hint(self.root) or (in_names and f". {in_names}")

    def _found_classes(self) -> list[str]:
        folders = self._split_folders()
        searched = [folders["train"]] if "train" in folders else list(folders.values())
        names = [name for folder in searched for name in class_folders(folder)]
        if not names:
            raise InputError(
                f"no class folders in {' or '.join(f'{folder}/' for folder in searched)}: expected {_LAYOUTS}"
                f"{self._hint(searched[0])}"
            )
        if parts := part_folders(names):
            raise InputError(
                f"data.init_args.root: {searched[0]}/ has {_folders(parts)}, which are parts of samples and "
                f"no classes; expected {_LAYOUTS}{layout_hint(self.root)}"
            )
        classes = sorted(set(map(normalized, names)), key=natural_key)
        if len(classes) == 1:
            inside = searched[0] / names[0]
            hint = (
                f". Are the classes in {inside}/? Then point --data.init_args.root at it"
                if class_folders(inside)
                else ""
            )
            raise InputError(
                f"data.init_args.root: {searched[0]}/ has 1 class ({classes[0]}), expected at least 2"
                f"{hint or self._hint(inside)}"
            )
        _check_case(searched, classes)
        return classes

    def _class_folders(self, folder: Path) -> dict[str, str]:
        """The folders in a folder by the name of their class."""
        found: dict[str, str] = {}
        for name in class_folders(folder, self.hidden):
            other = found.setdefault(normalized(name), name)
            if other != name:
                raise InputError(
                    f"data.init_args.root: {folder}/ has two folders called {name}, in two Unicode forms; move the "
                    "images of one into the other"
                )
        return found

    def _open(self, folder: Path) -> FileSource:
        names, found = self.class_names, self._class_folders(folder)
        known = {normalized(name): label for label, name in enumerate(names)}
        unknown = [name for name in found if name not in known]
        stray = sorted(entry.name for entry in visible_entries(folder) if entry.is_file() and is_image(entry.name))
        if stray and not found:
            raise InputError(
                f"{folder}/ has {len(stray)} image(s) and no class folders, so their classes are not known; sort them "
                f"into {folder}/<class>/, or move them out of {self.root}/ (visiontasks predict reads them as they are)"
                f"{self._hint(folder)}"
            )
        if unknown:
            without = "data.init_args.classes" if self.classes else f"{self.root / 'train'}/"
            add = f"add them to {without}" if self.classes else "add training images of them"
            raise InputError(
                f"{folder}/ has classes that {without} does not have: {listed(unknown)}; expected some of "
                f"{listed(names)}: {add}, or remove these folders{_case_hint(unknown, names)}"
            )
        if stray:
            raise InputError(f"{folder}/ has images outside of class folders: {listed(stray)}; move or remove them")
        ordered = sorted(found, key=lambda name: known[name])
        _check_inner_splits([folder / found[name] for name in ordered])
        paths = image_files((folder / found[name] for name in ordered), self.hidden)
        if not any(paths):
            missing = f"images in {_folders(ordered)}" if ordered else "class folders"
            raise InputError(
                f"data.init_args.root: {folder}/ has no {missing}; expected {_LAYOUTS}{layout_hint(self.root)}"
            )
        counts = [len(of_class) for of_class in paths]
        files = [path for of_class in paths for path in of_class]
        labels = np.repeat([known[name] for name in ordered], counts)
        return FileSource(files, labels, max_16bit=self.max_16bit)

    def _divided(self, whole: FileSource, *, test_fraction: float, has_val: bool) -> dict[str, Source]:
        """Split validation and test off, as shares of the whole."""
        classes = [frozenset([self.class_names[label]]) for label in whole.labels.tolist()]
        rows = self.divided_rows(
            whole.paths.tolist(), classes, test_fraction=test_fraction, everywhere=True, has_val=has_val
        )
        if rows is not None:
            return {split: Subset(whole, of_split) for split, of_split in rows.items()}
        parts = ["train", "val"] + (["test"] if test_fraction > 0 else [])
        counts = np.bincount(whole.labels, minlength=self.num_classes)
        small = [f"{name} ({n})" for name, n in zip(self.class_names, counts, strict=True) if n < len(parts)]
        if small:
            raise InputError(
                f"{self.root}/: too few images to be split into {', '.join(parts)}: {listed(small)}; add "
                "images, remove the class, or make the folders train/, val/ and test/ yourself"
            )
        return divided(whole, val_fraction=self.val_fraction, test_fraction=test_fraction, split_seed=self.split_seed)


def _folders(names: Sequence[str | Path]) -> str:
    return listed([f"{name}/" for name in names])


def _inner(folder: Path) -> Path:
    """The folder that holds a split's classes: archives often hold seg_train/seg_train/ or train/images/."""
    names = class_folders(folder)
    has_files = any(entry.is_file() and is_image(entry.name) for entry in visible_entries(folder))
    if len(names) != 1 or has_files:
        return folder
    own = split_of(folder.name)
    same = names[0].casefold() == folder.name.casefold() or (own is not None and split_of(names[0]) == own)
    return _inner(folder / names[0]) if same or says_nothing(names[0]) else folder


def _check_inner_classes(root: Path, names: Sequence[str]) -> None:
    """Refuse folders that all hold the same folders: these may be the classes, and those above them splits or folds."""
    inside = [frozenset(map(str.casefold, class_folders(root / name))) for name in names]
    if len(names) > 1 and len(inside[0]) > 1 and len(set(inside)) == 1:
        raise InputError(
            f"data.init_args.root: {_folders(names)} in {root}/ hold the same folders ({listed(sorted(inside[0]))}), "
            f"which may be the classes; expected {_LAYOUTS}: rename the folders above them, or name these if they are "
            "the classes (data.init_args.classes)"
        )


def _check_case(folders: Sequence[Path], classes: Sequence[str]) -> None:
    """Refuse classes whose names differ in nothing but case; letters of handwriting do."""
    by_case: dict[str, list[str]] = {}
    for name in classes:
        by_case.setdefault(name.casefold(), []).append(name)
    alike = [" and ".join(names) for names in by_case.values() if len(names) > 1 and len(names[0]) > 1]
    if alike:
        raise InputError(
            f"data.init_args.root: classes of {_folders(folders)} whose names differ in case alone: "
            f"{listed(alike)}; move their images into one folder, or name all classes if they are different ones "
            "(data.init_args.classes)"
        )


def _case_hint(unknown: Sequence[str], names: Sequence[str]) -> str:
    by_case = {name.casefold(): name for name in names}
    other = [f"{name} is called {by_case[name.casefold()]} there" for name in unknown if name.casefold() in by_case]
    return f" ({listed(other)}: rename them)" if other else ""


def _check_inner_splits(folders: Sequence[Path]) -> None:
    """Refuse class folders that are divided into train and test, which would be divided anew."""
    for folder in folders:
        found = {split[0]: name for name in class_folders(folder) if (split := split_of(name)) and not split[1]}
        if len(found) > 1:
            inner = " and ".join(f"{name}/" for name in found.values())
            raise InputError(
                f"data.init_args.root: {folder}/ holds {inner}; the split comes first, expected "
                f"{next(iter(found))}/{folder.name}/: rearrange the folders"
            )
