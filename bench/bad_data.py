"""How many bad files and near duplicates are found: photographs are damaged or changed, then looked for.

    python bench/bad_data.py FOLDER [FOLDER ...]     folders of photographs, searched in depth; 2 minutes

Measured with visiontasks 0.1.0, pillow 13.0.0, numpy 2.4.6, 2026-11-21, AMD EPYC, 2 cores shared with other work, on 3
breeds of the Oxford-IIIT Pet dataset (598 photographs), 200 raccoons, and CIFAR-10's test images as JPEG (32 px):

1,000 damages of each kind                 pets         raccoons     CIFAR-10     passed with other pixels
JPEG cut off anywhere                      1000         1000         1000         0
JPEG cut off in its last 4,096 bytes       1000         1000         1000         0
JPEG with zeros in place of its rest       1000         1000         1000         0
JPEG with 512 zeros somewhere within       17           16           1000         983, 977, 0: a JPEG has no checksum
PNG cut off anywhere                       999          999          998          0: the rest are complete
PNG cut off in its last 4,096 bytes        994          994          994          0
PNG with zeros in place of its rest        999          999          999          0
PNG with 512 zeros somewhere within        1000         1000         1000         0

Beginning and end alone find the same but for zeros within (12, 10 and 388 of JPEG, 9, 11 and 9 of PNG). They take 0.04
to 0.16 ms a file, a full decode 0.16 to 2.1 ms, depending on what else the machine does.

copies found                               598 pets     200 raccoons 1,000 of CIFAR-10
JPEG quality 60                            598          200          1000
resized to 80 %                            598          200          995
brighter by 10 %                           598          200          1000
all three                                  598          200          987
resized to 50 %                            598          200          1000
brighter by 30 %                           598          200          989
pairs of other images, of n * n            0            1            0

The one pair is one photograph, once with a caption. The datasets' own duplicates, 6 and 7 pairs, are not counted; each
is the same photograph twice.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from visiontasks.data.pipeline.duplicates import near_pairs, thumbnail_and_hash
from visiontasks.data.pipeline.problems import file_problems
from visiontasks.data.pipeline.reader import UInt8Array, read_image

TIMES = 1000
LARGEST_SAMPLE = 1000


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def cut_near_the_end(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: -int(rng.integers(1, 4097))]


def zero_the_rest(content: bytes, rng: np.random.Generator) -> bytes:
    """As a download leaves it that allocates first."""
    start = int(rng.integers(0, len(content)))
    return content[:start] + bytes(len(content) - start)


def zero_within(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, max(1, len(content) - 512)))
    return content[:start] + bytes(512) + content[start + 512 :]


def as_jpeg(image: UInt8Array, quality: int = 60) -> UInt8Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def resized(image: UInt8Array, share: float = 0.8) -> UInt8Array:
    return np.asarray(cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def brighter(image: UInt8Array, factor: float = 1.1) -> UInt8Array:
    return np.clip(image * factor, 0, 255).astype(np.uint8)


DAMAGES = (cut, cut_near_the_end, zero_the_rest, zero_within)
CHANGES: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "JPEG quality 60": as_jpeg,
    "resized to 80 %": resized,
    "brighter by 10 %": brighter,
    "all three": lambda image: as_jpeg(brighter(resized(image))),
    "resized to 50 %": lambda image: resized(image, 0.5),
    "brighter by 30 %": lambda image: brighter(image, 1.3),
}


def found_damages(paths: list[Path], as_png: bool) -> None:
    for damage in DAMAGES:
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory() as folder:
            files: list[str] = []
            wholes: list[bytes] = []
            for i in range(TIMES):
                source = paths[int(rng.integers(len(paths)))]
                content = source.read_bytes()
                if as_png:
                    buffer = io.BytesIO()
                    Image.open(source).convert("RGB").resize((64, 64)).save(buffer, "PNG")
                    content = buffer.getvalue()
                file = Path(folder) / f"{i}{'.png' if as_png else source.suffix}"
                file.write_bytes(damage(content, rng))
                files.append(str(file))
                wholes.append(content)
            quick, full = (file_problems(files, decode=decode) for decode in (False, True))
            passed = [(file, whole) for file, whole, found in zip(files, wholes, full, strict=True) if not found]
            wrong = sum(not np.array_equal(read_image(file), _pixels(whole)) for file, whole in passed)
        found = [sum(map(bool, problems)) for problems in (quick, full)]
        print(
            f"  {damage.__name__:18} {TIMES} times: found by beginning and end {found[0]}, by check-data {found[1]}; "
            f"passed with other pixels {wrong}"
        )


def _pixels(content: bytes) -> UInt8Array:
    with tempfile.NamedTemporaryFile(suffix=".image") as file:
        file.write(content)
        file.flush()
        return read_image(file.name)


def found_changes(paths: list[Path]) -> None:
    rng = np.random.default_rng(0)
    images = [read_image(path) for path in rng.permutation(np.array(paths, dtype=object))[:LARGEST_SAMPLE]]
    looks = [thumbnail_and_hash(image) for image in images]
    own = _pairs(looks, looks)
    twins = {(i, j) for i, j in own if i != j}  # the dataset's own duplicates
    print(f"  {len(images)} images, {len(twins) // 2} pairs of duplicates of their own")
    for name, change in CHANGES.items():
        pairs = set(_pairs(looks, [thumbnail_and_hash(change(image)) for image in images]))
        found = sum((i, i) in pairs for i in range(len(images)))
        others = {(i, j) for i, j in pairs if i != j} - twins
        print(f"  {name:18} found {found} of {len(images)}, pairs of others {len(others)} of {len(images) ** 2:,}")


def _pairs(first: list[tuple[UInt8Array, int]], second: list[tuple[UInt8Array, int]]) -> list[tuple[int, int]]:
    both = [*first, *second]
    hashes, thumbnails = np.array([phash for _, phash in both], np.uint64), np.stack([look for look, _ in both])
    rows = np.arange(len(both))
    pairs = near_pairs(hashes, thumbnails, rows[: len(first)], rows[len(first) :])
    return [(i, j - len(first)) for i, j, _ in pairs]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        print(f"{folder}: {len(paths)} images")
        files = [str(path) for path in paths]
        file_problems(files, decode=False)  # from here on the disk is warm
        for decode in (False, True):
            start = time.perf_counter()
            file_problems(files, decode=decode)
            spent_ms = 1e3 * (time.perf_counter() - start) / len(files)
            print(f"  {'decoded in full' if decode else 'beginning and end'}: {spent_ms:.3f} ms a file")
        found_damages(paths, as_png=False)
        print("  the same as PNG:")
        found_damages(paths, as_png=True)
        found_changes(paths)


if __name__ == "__main__":
    main()
