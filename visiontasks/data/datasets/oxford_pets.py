"""Oxford-IIIT Pet: 37 breeds of cats and dogs, with trimaps and boxes of heads.

Cats and Dogs. Omkar M. Parkhi, Andrea Vedaldi, Andrew Zisserman, C. V. Jawahar, 2012.
https://www.robots.ox.ac.uk/~vgg/data/pets/
"""

from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import OxfordIIITPet as OfficialFiles

from visiontasks.data.base import DataModule
from visiontasks.data.datasets.boxes import BoxSource, taken_order
from visiontasks.data.formats.annotations import AnnotatedImage, image_problems
from visiontasks.data.formats.masks import MaskSource, ValueTable
from visiontasks.data.formats.voc import add_objects, parsed
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.problems import OnBadSample, usable_samples
from visiontasks.data.pipeline.sources import (
    FileSource,
    Int64Array,
    Source,
    Subset,
    check_fractions,
    divided,
    stratified_split,
)
from visiontasks.data.targets import BoxesTarget, LabelTarget, MaskTarget, TargetName, named_target
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError, MissingFileError
from visiontasks.outputs.geometry import Resize
from visiontasks.regular_files import check_regular

_FOLDER = "oxford-iiit-pet"
_TRIMAP = {1: "pet", 2: "background", 3: "border"}
_HELD_OUT = 0.2
_OFFICIAL_BREEDS = (
    *("Abyssinian", "american bulldog", "american pit bull terrier", "basset hound", "beagle", "Bengal", "Birman"),
    *("Bombay", "boxer", "British Shorthair", "chihuahua", "Egyptian Mau", "english cocker spaniel"),
    *("english setter", "german shorthaired", "great pyrenees", "havanese", "japanese chin", "keeshond", "leonberger"),
    *("Maine Coon", "miniature pinscher", "newfoundland", "Persian", "pomeranian", "pug", "Ragdoll", "Russian Blue"),
    *("saint bernard", "samoyed", "scottish terrier", "shiba inu", "Siamese", "Sphynx", "staffordshire bull terrier"),
    *("wheaten terrier", "yorkshire terrier"),
)


class OxfordPets(DataModule):
    """Photographs of pets with their breed, the box of the head, or a trimap; 3,680 trainval, 3,669 test.

    The test split of boxes is a fifth of trainval, held out by `split_seed`, because the official test images have
    none. Images without a box file are left out and counted in `skipped["trainval"]`. Of several heads the largest is
    taken.

    Args:
        root: Folder with `oxford-iiit-pet/`, where `images/` and `annotations/` lie.
        download: Fetch them (800 MB) if they are not there.
        target: `label`: the breed; `box`: breed and head; `mask`: pet, background and border.
        val_fraction: Share of trainval that is held out for validation, stratified by breed.
        split_seed: Decides which; apart from `seed`, so that runs share their splits.
        on_bad_sample: Whether damaged boxes are an `error`, or left out and counted (`skip`).
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        *,
        target: TargetName = "label",
        val_fraction: float = 0.2,
        split_seed: int = 0,
        on_bad_sample: OnBadSample = "error",
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        resize: Resize = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_size=image_size,
            batch_size=batch_size,
            resize=resize,
            max_16bit=None,
            target=named_target(target),
            **kwargs,
        )
        check_fractions(val_fraction, _HELD_OUT)
        self.root = Path(root)
        self.download = download
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.on_bad_sample: OnBadSample = on_bad_sample
        self._listings: dict[str, tuple[list[str], Int64Array]] = {}
        self._breeds: list[str] = []

    @property
    def class_names(self) -> list[str]:
        """The breeds in the order of their official numbers, or the classes of a trimap."""
        if isinstance(self.target, MaskTarget):
            return list(_TRIMAP.values())
        if not DOWNLOADS["OxfordPets"].is_in(self.root):
            return list(_OFFICIAL_BREEDS)  # what a download will bring
        self._read_listings()
        return list(self._breeds)

    def prepare_data(self) -> None:
        """Download the files, if asked to and they are not there.

        Raises:
            MissingFileError: If they are missing and may not or cannot be downloaded.
        """
        fetch = DOWNLOADS["OxfordPets"]
        fetch.provide(self.root, lambda: OfficialFiles(self.root, download=True), allowed=self.download)

    def load_sources(self) -> dict[str, Source]:
        """Open the splits.

        Raises:
            MissingFileError: If a listing is not there.
            BadSamplesError: If boxes are damaged, and not to be skipped; with all of them.
            InputError: If a listing is damaged, or there are no box files.
        """
        self._read_listings()
        if isinstance(self.target, BoxesTarget):
            return self._box_sources()
        labels = self._listings["trainval"][1]
        train, val = stratified_split(labels, self.val_fraction, self.split_seed)
        whole, test = (self._source(*self._listings[split]) for split in ("trainval", "test"))
        return {"train": Subset(whole, train), "val": Subset(whole, val), "test": test}

    def _source(self, stems: list[str], labels: Int64Array) -> Source:
        images = [self._image(stem) for stem in stems]
        if isinstance(self.target, LabelTarget):
            return FileSource(images, labels)
        trimaps = self.root / _FOLDER / "annotations" / "trimaps"
        table = ValueTable({value: label for label, value in enumerate(_TRIMAP)})
        return MaskSource(images, [str(trimaps / f"{stem}.png") for stem in stems], table)

    def _box_sources(self) -> dict[str, Source]:
        stems, labels = self._listings["trainval"]
        xmls = self.root / _FOLDER / "annotations" / "xmls"
        boxed = [i for i, stem in enumerate(stems) if (xmls / f"{stem}.xml").is_file()]
        if not boxed:
            raise InputError(f"no box files of the trainval images in {xmls}/: unpack annotations.tar.gz again")
        images = [AnnotatedImage(self._image(stems[i]), str(xmls / f"{stems[i]}.xml")) for i in boxed]
        for image in images:
            add_objects(image, parsed(image.annotation))
        usable = usable_samples(
            [image_problems(image) for image in images], root=self.root / _FOLDER, on_bad_sample=self.on_bad_sample
        )
        self.skipped["trainval"] = len(stems) - int(usable.sum())
        written = [np.array(image.boxes) for image, good in zip(images, usable, strict=True) if good]
        boxes = np.stack([corners[taken_order(corners, "largest")[:1]] for corners in written]).astype(np.float32)
        rows = np.array(boxed)[usable]
        whole = BoxSource([self._image(stems[row]) for row in rows], labels[rows, None], boxes)
        return divided(whole, val_fraction=self.val_fraction, test_fraction=_HELD_OUT, split_seed=self.split_seed)

    def _image(self, stem: str) -> str:
        return str(self.root / _FOLDER / "images" / f"{stem}.jpg")

    def _read_listings(self) -> None:
        """Note stems and labels of both official splits, and the breeds; without some of them labels have no gaps."""
        if self._listings:
            return
        found = {}
        for split in ("trainval", "test"):
            path = self.root / _FOLDER / "annotations" / f"{split}.txt"
            check_regular(path)
            try:
                rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            except FileNotFoundError as error:
                raise MissingFileError(f"no file {path}: unpack annotations.tar.gz again") from error
            if not rows or any(len(row) != 4 or not row[1].isdecimal() or Path(row[0]).name != row[0] for row in rows):
                raise InputError(
                    f"{path}: expected lines of stem, class, species and breed; unpack annotations.tar.gz again"
                )
            found[split] = rows
        numbers = {int(row[1]): row[0].rpartition("_")[0].replace("_", " ") for row in found["trainval"]}
        unknown = [row[0] for row in found["test"] if int(row[1]) not in numbers]
        if unknown:
            raise InputError(f"data.init_args.root: breeds of test.txt missing in trainval.txt: {listed(unknown)}")
        label_of = {number: label for label, number in enumerate(sorted(numbers))}
        self._breeds = [numbers[number] for number in label_of]
        for split, rows in found.items():
            labels = np.array([label_of[int(row[1])] for row in rows], dtype=np.int64)
            self._listings[split] = [row[0] for row in rows], labels
