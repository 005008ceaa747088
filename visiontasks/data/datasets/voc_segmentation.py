"""Pascal VOC 2012 segmentation: 20 classes of objects and background.

The PASCAL Visual Object Classes Challenge: A Retrospective. Mark Everingham, S. M. Ali Eslami, Luc Van Gool,
Christopher K. I. Williams, John Winn, Andrew Zisserman, 2015. http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

from pathlib import Path
from typing import Any

from torchvision.datasets import VOCSegmentation as OfficialFiles

from visiontasks.data.base import DataModule
from visiontasks.data.formats.masks import MaskSource, ValueTable
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.sources import Source, Subset, check_fractions, stratified_split
from visiontasks.data.targets import MaskTarget
from visiontasks.downloads import DOWNLOADS
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import Resize
from visiontasks.regular_files import check_regular

_CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class VOCSegmentation(DataModule):
    """Photographs with a mask of 21 classes; 1,464 train + val, 1,449 test; borders of objects are ignored.

    The masks of the official test split are secret, so the official val split is the test split here, as in the
    literature, and validation is split off train.

    Args:
        root: Folder with `VOCdevkit/VOC2012/`.
        download: Fetch it (2 GB) if it is not there.
        val_fraction: Share of train that is held out for validation.
        split_seed: Decides which images; apart from `seed`, so that runs share their validation set.
        **kwargs: Arguments of `DataModule`.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        *,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        image_size: int | tuple[int, int] = 512,
        batch_size: int = 8,
        resize: Resize = "letterbox",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_size=image_size, batch_size=batch_size, resize=resize, max_16bit=None, target=MaskTarget(), **kwargs
        )
        check_fractions(val_fraction, 0.0)
        self.root = Path(root)
        self.download = download
        self.val_fraction = val_fraction
        self.split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """Background and the twenty classes, in the official order, which is also the alphabetical one."""
        return list(_CLASS_NAMES)

    def prepare_data(self) -> None:
        """Download the files, if asked to and they are not there.

        Raises:
            MissingFileError: If they are missing and may not or cannot be downloaded.
        """
        fetch = DOWNLOADS["VOCSegmentation"]
        fetch.provide(self.root, lambda: OfficialFiles(self.root, download=True), allowed=self.download)

    def load_sources(self) -> dict[str, Source]:
        """Open the splits.

        Raises:
            InputError: If the listings are not there.
        """
        whole, test = self._source("train"), self._source("val")
        train, val = stratified_split(whole.labels, self.val_fraction, self.split_seed)
        return {"train": Subset(whole, train), "val": Subset(whole, val), "test": test}

    def _source(self, image_set: str) -> MaskSource:
        check_regular(self.root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / f"{image_set}.txt")
        try:
            files = OfficialFiles(self.root, year="2012", image_set=image_set)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.root}/VOCdevkit/VOC2012: Pascal VOC's files are incomplete ({error}); unpack the archive again"
            ) from error
        folder = self.root / "VOCdevkit" / "VOC2012" / "JPEGImages"
        strange = [path for path in files.images if Path(path).parent != folder]
        if strange:
            raise InputError(
                f"{self.root}/VOCdevkit/VOC2012/ImageSets: {image_set}.txt leads out of JPEGImages/: "
                f"{listed(strange)}; unpack the archive again"
            )
        return MaskSource(files.images, files.masks, ValueTable({value: value for value in range(len(_CLASS_NAMES))}))
