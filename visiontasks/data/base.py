"""The DataModule of all datasets: splits, loaders, exact resume, and the checks that come before training."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import albumentations
import cv2
import numpy as np
import PIL
import torch
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from visiontasks.class_names import missing_names, same_names
from visiontasks.data.pipeline.depth import check_depth
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.grouped_split import Fold, divide_groups, fold_rows
from visiontasks.data.pipeline.groups import group_names, numbered
from visiontasks.data.pipeline.loader import Loader, SplitDataset, chosen_workers
from visiontasks.data.pipeline.memory import GB, ImageMemory, available_memory
from visiontasks.data.pipeline.reduction import reduction
from visiontasks.data.pipeline.sampler import EvalSampler, Key, TrainBatchSampler, eval_batch_size
from visiontasks.data.pipeline.shared_memory import check_room
from visiontasks.data.pipeline.sixteen_bit import MAX_16BIT
from visiontasks.data.pipeline.sources import DecodingSource, Int64Array, Source, Subset, base_row, fingerprint, reduced
from visiontasks.data.pipeline.target import Batch, Target
from visiontasks.data.pipeline.transforms import Augmentation
from visiontasks.data.targets import LabelTarget
from visiontasks.errors import InputError
from visiontasks.library_internals import pads_evaluation, training_position
from visiontasks.outputs.geometry import Resize, Size

VAL_FRACTION = 0.2
"""Of the images beside a fold, for a dataset without `val_fraction`."""


class DataModule(LightningDataModule):
    """Images with targets in up to three splits, as batches.

    A batch has `image` uint8 (B, 3, H, W), RGB; `index` int64 (B,), rows of the split; `geometry` int64 (B, 8), see
    `visiontasks.outputs.geometry.Geometry`; and the entries of its target.

    A subclass gives `class_names`, `load_sources()` and, where files may be missing, `prepare_data()`.

    Args:
        image_size: Height and width in pixels of the images in a batch, or the side of square ones.
        batch_size: Images per batch and process.
        resize: How an image gets that size, the same in every split: `crop` (scaled until it covers it, middle
            taken), `squash` (shape not kept), `letterbox` (scaled until it fits, padded) or `keep` (images keep
            their size: augment has to bring training images to it, others come one at a time).
        augment: albumentations transforms of the training images, before the resize.
        num_workers: Loading processes; by default `chosen_workers`.
        cache_images_gb: Memory for decoded images of files (training: before augmentation; validation: resized), which
            all loading processes share; at most half of the free memory. What does not fit is decoded in each epoch;
            0 for no cache.
        max_16bit: The value of images with 16 bits a channel that becomes 255, the same for all of them: 4095 for the
            12 bits of many microscopes. None takes 65535, and refuses images that leave most of that range unused.
        fold: A fold as test split, "2/5" the second of five, and the rest for training and validation: everything but
            a validation split that the dataset itself has, and a test split of its own, which is not opened. What
            `visiontasks study folds` trains on.
        seed: Seed of order and augmentation; by default that of `seed_everything` at construction. What is in
            which split has its own.
        target: What the samples are annotated with.

    Raises:
        InputError: If a value is out of range, or a transform normalizes.
    """

    root: Path
    """The folder of the images, where they are files."""
    groups: str | None = None
    """What images of a group have in common, see `visiontasks.data.pipeline.groups`; of datasets that make splits."""

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        resize: Resize = "crop",
        augment: list[BasicTransform | BaseCompose] | None = None,
        num_workers: int | None = None,
        cache_images_gb: float = 1.0,
        max_16bit: int | None = None,
        fold: str | None = None,
        seed: int | None = None,
        target: Target = LabelTarget(),  # noqa: B008 (a frozen value)
    ) -> None:
        super().__init__()
        seed = torch.initial_seed() if seed is None else seed
        size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        for key, value, least in (
            ("image_size", min(size), 1),
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise InputError(f"data.init_args.{key}: {value}, expected at least {least}")
        if num_workers is not None and num_workers < 0:
            raise InputError(
                f"data.init_args.num_workers: {num_workers}, expected 0 or more, or null to have it chosen"
            )
        if not 0 <= cache_images_gb < float("inf"):
            raise InputError(f"data.init_args.cache_images_gb: {cache_images_gb}, expected 0 or more")
        if max_16bit is not None and not 255 < max_16bit <= MAX_16BIT:
            raise InputError(f"data.init_args.max_16bit: {max_16bit}, expected 256 to {MAX_16BIT}, such as 4095")
        if resize not in get_args(Resize):
            raise InputError(f"data.init_args.resize: {resize!r}, expected one of {', '.join(get_args(Resize))}")
        target.check_options(resize=resize)
        self.image_size = size
        self.batch_size = batch_size
        self.resize: Resize = resize
        self.augmentation = Augmentation(augment, seed=seed, target=target) if augment else None
        self.num_workers = num_workers
        self.cache_images_gb = cache_images_gb
        self.max_16bit = max_16bit
        self.fold = None if fold is None else Fold.parsed(fold)
        self.seed = seed
        self.target = target
        self.skipped: dict[str, int] = {}
        """Samples of each split that were left out because something is wrong with them; after `setup()`."""
        self.hidden: Counter[str] = Counter()
        """Folders and images that were passed over as hidden or a system's own, by kind; after `setup()`."""
        self.notes: list[str] = []
        """How the dataset is read where its owner may expect otherwise; after `setup()`."""
        self.augmented_as: Callable[[str, int], int | None] | None = None
        """By split and epoch the epoch as which samples are augmented, None where their images are not needed; set by
        the callback that repeats views or caches features."""
        self.batches_spread: int | None = None
        """Batches that an evaluation is limited to by its trainer, whose samples are then taken evenly over the split,
        and so over its classes, in place of the first ones."""
        self.train_sizes: Sequence[Size] = ()
        """Height and width of training images by the epoch as which they are augmented; `image_size` in later epochs;
        set by the callback that trains on smaller images first."""
        self._group_notes: list[str] = []
        self._is_folded = False
        self._split_off: set[str] = set()
        """Splits that a subclass split off train where their sources do not show it."""
        self._sources: dict[str, Source] = {}
        self._memories: dict[str, ImageMemory] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes, a label being the position in them; known before `setup()`."""

    @abstractmethod
    def load_sources(self) -> dict[str, Source]:
        """Open the splits: `train`, `val`, `test`; one that the dataset does not have is left out."""

    @property
    def made_splits(self) -> set[str]:
        """Validation and test, where they were split off the training images here; after `setup()`."""
        whole = {split: base_row(source, 0)[0] for split, source in self._sources.items()}
        of_train = whole.pop("train", None)
        return self._split_off | {split for split, source in whole.items() if source is of_train}

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> list[int]:
        """Images, objects or pixels (`target.unit`) of each class in train; opens the dataset if need be."""
        if not self._sources:
            self.prepare_data()
            self.setup()
        return [int(count) for count in self.count_classes(self.source("train"))]

    @property
    def counts_by_decoding(self) -> bool:
        """Whether `class_counts` decodes each sample."""
        return self.target.counts_by_decoding

    def count_classes(self, source: Source) -> Int64Array:
        """Images, objects or pixels (`target.unit`) of each class in a source, (K,)."""
        return self.target.count(source, self.num_classes)

    @property
    def split_sizes(self) -> dict[str, int]:
        """Images in each split that there is; after `setup()`."""
        return {split: len(source) for split, source in self._sources.items()}

    def source(self, split: str) -> Source:
        """The untransformed samples of a split; after `setup()`.

        Raises:
            InputError: If the dataset has no such split.
        """
        if split not in self._sources:
            raise InputError(
                f"{type(self).__name__} has no {split} split here, only: "
                f"{', '.join(self._sources) or 'none'}; use one of these (evaluate: --split), or point "
                "data.init_args.root at data that has it"
            )
        return self._sources[split]

    def setup(self, stage: str | None = None) -> None:
        """Open the splits, once, and check them.

        Raises:
            InputError: If images, classes or labels are not what training or evaluation needs.
        """
        if not self._sources:
            sources = self._folded(self.load_sources())
            self.notes += self._group_notes
            empty = [split for split, source in sources.items() if len(source) == 0]
            if empty:
                raise InputError(f"data.init_args.root: no images in the {empty[0]} split")
            self.target.check_sources(sources, self.class_names)
            if self.max_16bit is None:
                check_depth(sources)
            self._sources = sources
        if stage == "fit":
            self._fit_batch_size()

    def divided_rows(
        self,
        paths: Sequence[str],
        classes: Sequence[frozenset[str]],
        *,
        test_fraction: float,
        everywhere: bool,
        has_val: bool = False,
    ) -> dict[str, Int64Array] | None:
        """Divide training images into train, val and test, where groups or a fold decide.

        Args:
            paths: Their files, (n,).
            classes: Those of each image, (n,).
            test_fraction: Share of test, 0 for none; a fold has its own.
            everywhere: Whether each split needs each class, see `divide_groups`.
            has_val: Whether the dataset has a validation split of its own, which a fold leaves alone.

        Returns:
            Rows of each split; None where neither decides.

        Raises:
            InputError: If images have no group, or there are too few groups.
        """
        if self.groups is None and self.fold is None:
            return None
        groups = np.arange(len(classes))
        if self.groups is not None:
            groups = numbered(group_names(self.groups, paths, self.root))
            sizes = np.bincount(groups)
            of = f"{len(sizes):,} of {sizes.min():,} to {sizes.max():,} images"
            self._group_notes = [f"groups by {self.groups}: {of}; splits that are made here divide none"]
        val_fraction, seed = getattr(self, "val_fraction", VAL_FRACTION), getattr(self, "split_seed", 0)
        if self.fold is not None:
            self._is_folded = True
            val_fraction = 0.0 if has_val else val_fraction
            return fold_rows(classes, groups, self.fold, val_fraction=val_fraction, seed=seed, everywhere=everywhere)
        shares = {"train": 1 - val_fraction - test_fraction, "val": val_fraction}
        shares |= {"test": test_fraction} if test_fraction > 0 else {}
        parts = divide_groups(
            classes, groups, [*shares.values()], seed=seed, everywhere=everywhere, names=", ".join(shares)
        )
        return dict(zip(shares, parts, strict=True))

    def _folded(self, sources: dict[str, Source]) -> dict[str, Source]:
        """The sources of a fold, where the dataset has not divided its files by folds already."""
        if self.fold is None or self._is_folded:
            return sources
        if "train" not in sources:
            raise InputError("data.init_args.fold: this data has no training images to divide; leave it out")
        whole = base_row(sources["train"], 0)[0]
        own = [source for source in sources.values() if base_row(source, 0)[0] is whole]
        rows = np.sort([base_row(source, index)[1] for source in own for index in range(len(source))])
        has_val = "val" in sources and base_row(sources["val"], 0)[0] is not whole
        classes = [frozenset([str(label)]) for label in whole.labels[rows].tolist()]
        divided = self.divided_rows([], classes, test_fraction=0.0, everywhere=True, has_val=has_val) or {}
        return {**sources, **{split: Subset(whole, rows[of]) for split, of in divided.items()}}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented batches of the training split, from where the attached trainer stands."""
        self._fit_batch_size()
        rank, world_size = self._place()
        sampler = TrainBatchSampler(
            len(self.source("train")),
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            position=self._position if self.trainer else None,
            same_order=bool(getattr(self.trainer, "overfit_batches", 0)),
            augmented_as=lambda epoch: self.augmented_as("train", epoch) if self.augmented_as else epoch,
        )
        return Loader(self.dataset("train"), batch_sampler=sampler, **self._loader_options("train"))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once, in order, over all processes."""
        return self._eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test image once, in order, over all processes."""
        return self._eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as the test loader."""
        return self._eval_dataloader("test")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint stores of the data: the names of the classes, and how images are prepared."""
        return {
            "class_names": list(self.class_names),
            "class_path": f"{type(self).__module__}.{type(self).__qualname__}",
            "image_size": list(self.image_size),
            "resize": self.resize,
            "max_16bit": self.max_16bit,
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that the data has the classes that the checkpoint was trained on, in the same order.

        Raises:
            InputError: If it has not.
        """
        trained, found = list(state_dict["class_names"]), list(self.class_names)
        if same_names(trained, found):
            return
        missing, surplus = missing_names(found, trained), missing_names(trained, found)
        differences = [f"the data has no {listed(missing)}"] if missing else []
        differences += [f"the checkpoint has no {listed(surplus)}"] if surplus else []
        raise InputError(
            f"the checkpoint was trained on {len(trained)} classes ({listed(trained)}), "
            f"{type(self).__name__} has {len(found)} ({listed(found)}): "
            f"{' and '.join(differences) or 'the order differs'}; use data with the classes that it was "
            "trained on (--data.init_args.root)"
        )

    def _eval_dataloader(self, split: str) -> DataLoader[Batch]:
        rank, world_size = self._place()
        size = len(self.source(split))
        if size < world_size:
            raise InputError(
                f"the {split} split has {size} image(s) for {world_size} processes, expected at least one "
                "for each; use fewer processes (trainer.devices, trainer.num_nodes)"
            )
        batch_size = 1 if self.resize == "keep" else eval_batch_size(size, self.batch_size, world_size)
        sampler = EvalSampler(
            size,
            batch_size,
            rank=rank,
            world_size=world_size,
            with_images=lambda: split != "val" or self._needs_images(split),
            most=None if self.batches_spread is None else self.batches_spread * batch_size * world_size,
        )
        options = self._loader_options(split)
        return Loader(self.dataset(split), sampler=sampler, batch_size=batch_size, **options)

    def dataset(self, split: str) -> SplitDataset:
        """The samples of a split as the network gets them, before they are made a batch; after `setup()`."""
        training = split == "train"
        augmentation = self.augmentation if training else None
        source = reduced(self.source(split), reduction(self.image_size, self.resize, augmentation))
        memory = self._memory(split)
        sizes = self.train_sizes if training else ()
        return SplitDataset(
            source,
            self.image_size,
            self.resize,
            augmentation,
            target=self.target,
            training=training,
            memory=memory,
            sizes=sizes,
        )

    def most_objects(self, split: str) -> int:
        """Objects that an image of a split may have as the network gets it; after `setup()`."""
        several = self.augmentation.images_per_sample if split == "train" and self.augmentation else 1
        return several * self.target.most_objects(self.source(split))

    def batch(self, split: str, keys: Sequence[Key]) -> Batch:
        """A batch of single samples, by (epoch to augment by, index)."""
        dataset = self.dataset(split)
        return dataset.collate([dataset[key] for key in keys])

    def fingerprint(self, split: str) -> list[Any]:
        """All that decides a split's images as a network gets them; compared by `==`."""
        return [
            type(self).__name__,
            self.image_size,
            self.resize,
            self.batch_size,
            self.seed if split == "train" else None,
            repr(self.augmentation) if split == "train" else None,
            "placed by the full size",
            repr(reduction(self.image_size, self.resize, self.augmentation if split == "train" else None)),
            fingerprint(self.source(split)),
            *(albumentations.__version__, cv2.__version__, np.__version__, PIL.__version__),
        ]

    def _needs_images(self, split: str) -> bool:
        """Whether an evaluation inside of a training needs images."""
        if self.augmented_as is None or self.trainer is None:
            return True
        return self.augmented_as(split, self.trainer.current_epoch) is not None

    def _loader_options(self, split: str) -> dict[str, Any]:
        accelerated = self.trainer is not None and self.trainer.strategy.root_device.type != "cpu"
        workers = self.num_workers
        if workers is None and self._is_prepared(split):
            workers = 0  # a fork after a training would cost more than all that is left to do
        elif workers is None:
            workers = chosen_workers(self.source(split), accelerated=accelerated, processes=self._processes())
        self._check_room(split, workers)
        return {
            "num_workers": workers,
            "pin_memory": accelerated,
            "persistent_workers": workers > 0 and split != "test",
        }

    def _check_room(self, split: str, workers: int) -> None:
        """Refuse loading processes whose batches do not fit into shared memory."""
        training = split == "train"
        image_bytes = 3 * self.image_size[0] * self.image_size[1]
        check_room(
            workers * self._processes(),
            batch_size=1 if self.resize == "keep" and not training else self.batch_size,
            num_samples=len(self.source(split)),
            sample_bytes=image_bytes + self.target.sample_bytes(self.image_size, training=training),
        )

    def _is_prepared(self, split: str) -> bool:
        """Whether all images of a split that is not augmented lie in memory as the network gets them."""
        memory = self._memories.get(split)
        return split != "train" and memory is not None and len(memory) == len(self.source(split))

    def _memory(self, split: str) -> ImageMemory | None:
        """Cache of a split's images; None for those that are decoded already, or read once."""
        is_decoded = not isinstance(base_row(self.source(split), 0)[0], DecodingSource)
        if is_decoded or not self.cache_images_gb or split not in ("train", "val"):
            return None
        if split not in self._memories:
            trainer = self.trainer
            if trainer is not None and (trainer.state.fn is not TrainerFn.FITTING or trainer.max_epochs == 1):
                return None
            self._memories = self._made_memories()
        return self._memories[split]

    def _made_memories(self) -> dict[str, ImageMemory]:
        """Room for validation images, at most half of it, and for training images."""
        room = int(min(self.cache_images_gb * GB, available_memory() / 2) / self._processes())
        made: dict[str, ImageMemory] = {}
        for split, most in (("val", room // 2), ("train", room)):
            if split not in self._sources:
                continue
            size, left = len(self.source(split)), room - sum(memory.room for memory in made.values())
            resized = self.resize != "keep" and (split == "val" or self.augmentation is None)
            needed = size * self.image_size[0] * self.image_size[1] * 3 if resized else room
            made[split] = ImageMemory(size, min(needed, most, left))
        return made

    def _processes(self) -> int:
        """Training processes on this machine."""
        return self.trainer.world_size // self.trainer.num_nodes if self.trainer else 1

    def _place(self) -> tuple[int, int]:
        """This process's rank and the number of processes."""
        if self.trainer is None:
            return 0, 1
        if self.trainer.world_size > 1 and pads_evaluation(self.trainer):
            raise InputError(
                "trainer.use_distributed_sampler: true, expected false with several processes, else "
                "Lightning pads the evaluation with repeated images (in Python: "
                "Trainer(use_distributed_sampler=False))"
            )
        return self.trainer.global_rank, self.trainer.world_size

    def _position(self) -> tuple[int, int]:
        """Epoch, and batches of it that are done, at which the attached trainer's next iterator has to start."""
        assert self.trainer is not None
        return training_position(self.trainer)

    def _fit_batch_size(self) -> None:
        """Make the batches of the training as small as its split, if that is smaller than one batch."""
        world_size = self._place()[1]
        size = len(self.source("train"))
        if size >= self.batch_size * world_size:
            return
        if size < world_size:
            raise InputError(
                f"trainer.devices: {world_size} processes, but the training split has {size} image(s): take fewer"
            )
        processes = f" in each of {world_size} processes" if world_size > 1 else ""
        most = size // world_size
        self.notes.append(f"batches of {most}{processes}, not {self.batch_size}: train has {size} image(s)")
        self.batch_size = most
