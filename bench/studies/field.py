"""Forecasts of `study field` for images that were made worse in ways that it does not know, and its false alarms.

python bench/study.py field --backbone NAME pets3=FOLDER cifar=FOLDER

A third of the images is for training a head on frozen features, a third is the validation split, a third the field.
The field is made worse by 15 corruptions in 5 strengths, in the kinds of Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", 2019, made by albumentations, OpenCV and NumPy (frost is
ice of filtered noise instead of photographs). For each forecast, the kind of the calibration that is like it is left
out. Clean halves are divided anew 200 times.
"""

from collections.abc import Callable, Sequence

import albumentations as A
import cv2
import numpy as np
import torch

from bench.studies.common import spread
from visiontasks.backbones import create_vector
from visiontasks.data import ImageFolder
from visiontasks.data.pipeline.sources import fingerprint
from visiontasks.outputs.geometry import place
from visiontasks.study.altered import WAYS, altered_features
from visiontasks.study.crossfit import fit_head
from visiontasks.study.extractors import Extractor, pretrained
from visiontasks.study.field import Answers, Calibration, Seen, answers_of, calibrate, study_field
from visiontasks.study.looks import MEASURES, measured

MOST_OF_PART = 300
HALVES = 200
ALIKE = {
    **dict.fromkeys(("gaussian noise", "shot noise", "impulse noise"), "noise"),
    **dict.fromkeys(("defocus blur", "glass blur", "zoom blur"), "blur"),
    "motion blur": "motion",
    "brightness": "bright",
    "contrast": "contrast",
    "pixelate": "coarse",
    "jpeg": "compressed",
}
"""The kind of the calibration that is left out for a corruption; none is like the others."""
Images = list[np.ndarray]


def prove(words: Sequence[str]) -> None:
    """For each dataset: errors of the forecasts, of those of single methods too, coverage, and false alarms."""
    import argparse

    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    given = parser.parse_args(words)
    for name, _, folder in (each.partition("=") for each in given.data):
        _prove(name, folder, given.backbone, given.image_size)


def _prove(name: str, folder: str, backbone: str, side: int) -> None:
    data = ImageFolder(folder, image_size=side)
    data.setup()
    network = pretrained(create_vector(backbone, weights="hub", image_size=side))
    places = [(split, row) for split, size in data.split_sizes.items() for row in range(size)]
    order = np.random.default_rng(0).permutation(len(places))
    parts = [order[part::3][:MOST_OF_PART] for part in range(3)]

    def read(at: int) -> np.ndarray:
        split, row = places[at]
        image = data.source(split)[row]["image"]
        return place(image.shape[:2], (side, side), "crop").image(image)

    train, val, field = ([read(at) for at in part] for part in parts)
    labels = [np.array([data.source(places[at][0]).labels[places[at][1]] for at in part]) for part in parts]
    known = _vectors(network, train)
    head = fit_head(known, labels[0], np.arange(len(train)), data.num_classes)
    facts = [[fingerprint(data.source(split)) for split in data.split_sizes], parts[1].tolist()]
    altered = altered_features(lambda row: (val[row], (side, side)), len(val), network, facts, {"data": name})

    def answers(vectors: np.ndarray) -> Answers:
        return answers_of(head.probabilities(vectors).astype(np.float32), vectors, known, labels[0])

    clean, worse = answers(altered.clean), [answers(each) for each in altered.worse.swapaxes(0, 1)]
    accuracy = float((clean.probabilities.argmax(1) == labels[1]).mean())
    rows = []
    for kind, corrupt in CORRUPTIONS.items():
        kept = [i for i, (way, _) in enumerate(WAYS) if way != ALIKE.get(kind)]
        calibration = calibrate(clean, [worse[i] for i in kept], labels[1], [WAYS[i][0] for i in kept])
        for strength in range(5):
            draw = np.random.default_rng([strength])
            images = [np.clip(np.rint(corrupt(image, strength, draw)), 0, 255).astype(np.uint8) for image in field]
            found = answers(_vectors(network, images))
            truth = float((found.probabilities.argmax(1) == labels[2]).mean())
            rows.append(_row(calibration, clean, found, labels[1], truth))
            told = f"{rows[-1]['forecast']:.3f} ({rows[-1]['low']:.3f} to {rows[-1]['high']:.3f})"
            print(f"{name:6} {kind:15} {strength + 1}: measured {truth:.3f}, forecast {told}", flush=True)
    _summary(name, rows, len(field), accuracy)
    images, judged = [*val, *field], np.concatenate(labels[1:])
    _false_alarms(name, answers(_vectors(network, images)), images, judged, calibration)


def _row(
    calibration: Calibration, clean: Answers, field: Answers, labels: np.ndarray, truth: float
) -> dict[str, float]:
    """The forecast, and what confidence and threshold alone say: Guillory et al., 2021, and Garg et al., 2022."""
    usual, confidence = (each.probabilities.max(1) for each in (clean, field))
    accuracy = float((clean.probabilities.argmax(1) == labels).mean())
    threshold = np.sort(usual)[::-1][max(0, round(accuracy * len(usual)) - 1)]
    found = calibration.forecast(field, accuracy, len(labels))
    return {
        "truth": truth,
        "forecast": found.accuracy,
        "low": found.low,
        "high": found.high,
        "confidence": accuracy - float(usual.mean() - confidence.mean()),
        "threshold": float((confidence >= threshold).mean()),
    }


def _summary(name: str, rows: Sequence[dict[str, float]], n: int, accuracy: float) -> None:
    def off(method: str) -> list[float]:
        return [100 * abs(row[method] - row["truth"]) for row in rows]

    held = sum(row["low"] <= row["truth"] <= row["high"] for row in rows)
    wide = [100 * (row["high"] - row["low"]) for row in rows]
    print(
        f"{name:6} n {n}, clean {accuracy:.3f}, {len(rows)} sets, measured {min(row['truth'] for row in rows):.3f} to "
        f"{max(row['truth'] for row in rows):.3f}: points off {spread(off('forecast'))}, most "
        f"{max(off('forecast')):.1f}; interval holds {held} of {len(rows)}, {spread(wide)} points wide; without fit: "
        f"confidence {spread(off('confidence'))}, threshold {spread(off('threshold'))}",
        flush=True,
    )


def _false_alarms(name: str, answers: Answers, images: Images, labels: np.ndarray, calibration: Calibration) -> None:
    looks = dict(zip(MEASURES, np.stack(list(map(measured, images))).T, strict=True))
    names = [str(i) for i in range(answers.probabilities.shape[1])]
    alarms = 0
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(images))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        first, second = (
            Seen(
                Answers(answers.probabilities[half], answers.distances[half], answers.agrees[half]),
                {key: each[half] for key, each in looks.items()},
            )
            for half in halves
        )
        alarms += study_field(first, labels[halves[0]], calibration, second, names, seed=seed).differs
    print(f"{name:6} false alarms on clean halves of {len(images):,} images: {alarms} of {HALVES}", flush=True)


@torch.inference_mode()
def _vectors(network: Extractor, images: Images) -> np.ndarray:
    batches = [images[start : start + 32] for start in range(0, len(images), 32)]
    parts = [network.vectors(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)) for batch in batches]
    return torch.cat(parts).numpy()


def _by(make: Callable[..., A.BasicTransform], *strengths: dict) -> Callable:
    """A corruption by a transform of albumentations."""

    def corrupt(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
        transform = A.Compose([make(**strengths[strength], p=1.0)], seed=int(draw.integers(2**31)))
        return transform(image=image)["image"]

    return corrupt


def _share(image: np.ndarray, of_224_px: float) -> float:
    """Pixels that are as large a part of this image as `of_224_px` are of one of 224."""
    return of_224_px * min(image.shape[:2]) / 224


def _shot(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    light = (60, 25, 12, 5, 3)[strength]
    return 255 * draw.poisson(image / 255 * light) / light


def _defocus(image: np.ndarray, strength: int, _: np.random.Generator) -> np.ndarray:
    radius = max(1, round(_share(image, (3, 4, 6, 8, 10)[strength])))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.float32)
    return cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT)


def _glass(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    reach = max(1.0, _share(image, (2, 3, 4, 6, 8)[strength]))
    y, x = np.indices(image.shape[:2], dtype=np.float32)
    shift = draw.uniform(-reach, reach, (2, *x.shape)).astype(np.float32)
    return cv2.remap(image, x + shift[0], y + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _motion(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    length = max(3, round(_share(image, (10, 15, 20, 28, 36)[strength])))
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), draw.uniform(0, 180), 1)
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    kernel = cv2.warpAffine(line, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _zoom(image: np.ndarray, strength: int, _: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    found = []
    for factor in np.linspace(1, (1.11, 1.16, 1.21, 1.26, 1.33)[strength], 12):
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
        found.append(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT))
    return np.mean(found, axis=0)


def _clouds(image: np.ndarray, draw: np.random.Generator, *, fine: float) -> np.ndarray:
    """Smooth noise of several scales, 0 to 1, (H, W, 1)."""
    height, width = image.shape[:2]
    found = np.zeros((height, width), np.float32)
    for octave in range(5):
        noise = draw.uniform(size=(2 ** (octave + 1), 2 ** (octave + 1))).astype(np.float32)
        found += fine**octave * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return ((found - found.min()) / (np.ptp(found) or 1))[..., None]


def _fog(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    amount = (0.35, 0.5, 0.6, 0.7, 0.8)[strength] * (0.6 + 0.4 * _clouds(image, draw, fine=0.5))
    return image * (1 - amount) + 235 * amount


def _frost(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    ice = np.clip(2.5 * _clouds(image, draw, fine=0.9) - (1.5, 1.2, 1.0, 0.85, 0.7)[strength], 0, 0.9)
    return image * (1 - ice) + np.array([215, 230, 245]) * ice


def _snow(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    flakes = (draw.uniform(size=image.shape[:2]) < (0.01, 0.02, 0.03, 0.04, 0.06)[strength]).astype(np.float32)
    length = max(3, round(_share(image, 12)))
    streaks = cv2.filter2D(flakes, -1, np.eye(length, dtype=np.float32) / length * 3)[..., None]
    grey = image.mean(2, keepdims=True)
    white = 0.75 * image + 0.25 * np.maximum(image, 1.3 * grey + 60)
    return white + 255 * np.clip(streaks, 0, 0.9)


def _contrast(image: np.ndarray, strength: int, _: np.random.Generator) -> np.ndarray:
    mean = image.mean((0, 1), keepdims=True)
    return mean + (image - mean) * (0.6, 0.45, 0.3, 0.2, 0.1)[strength]


def _brightness(image: np.ndarray, strength: int, _: np.random.Generator) -> np.ndarray:
    return image + 255.0 * (0.1, 0.2, 0.3, 0.4, 0.5)[strength]


def _elastic(image: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    reach, smooth = _share(image, (6, 10, 14, 18, 24)[strength]), _share(image, 9)
    y, x = np.indices(image.shape[:2], dtype=np.float32)
    shift = [cv2.GaussianBlur(draw.uniform(-1, 1, x.shape).astype(np.float32), (0, 0), smooth) for _ in "xy"]
    shift = [reach * each / (np.abs(each).max() or 1) for each in shift]
    return cv2.remap(image, x + shift[0], y + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


CORRUPTIONS: dict[str, Callable] = {
    "gaussian noise": _by(A.GaussNoise, *({"std_range": (s, s)} for s in (0.08, 0.12, 0.18, 0.26, 0.38))),
    "shot noise": _shot,
    "impulse noise": _by(A.SaltAndPepper, *({"amount": (a, a)} for a in (0.03, 0.06, 0.09, 0.17, 0.27))),
    "defocus blur": _defocus,
    "glass blur": _glass,
    "motion blur": _motion,
    "zoom blur": _zoom,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic": _elastic,
    "pixelate": _by(A.Downscale, *({"scale_range": (s, s)} for s in (0.6, 0.5, 0.4, 0.3, 0.25))),
    "jpeg": _by(A.ImageCompression, *({"quality_range": (q, q)} for q in (25, 18, 15, 10, 7))),
}
