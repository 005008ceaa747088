"""What `explain` leaves in a run's folder, explain/<image>/<method>.png, and how a report gets it from there."""

from pathlib import Path

from PIL import Image

from visiontasks.data.pipeline.reader import UInt8Array, read_image
from visiontasks.errors import InputError
from visiontasks.report import Explained

MOST = 10
"""Images that a report shows."""
TITLES = {
    "grad-cam": "Grad-CAM",
    "occlusion": "occlusion",
    "filters": "filters of the first layer",
    "feature-maps": "feature maps",
}
"""What the methods are called in it."""
EXPLAINED_CLASS = "Title"  # of the texts that PNG has names for


def stored_folder(run: Path, image: Path) -> Path:
    """Where pictures about an image are stored with a run."""
    return run / "explain" / image.stem


def stored_explanations(run: Path) -> list[Explained]:
    """The newest explained images of a run, the newest first; a file that cannot be read is left out."""
    found = {folder: _files(folder) for folder in (run / "explain").glob("*") if folder.is_dir()}
    newest = sorted((folder for folder, files in found.items() if files), key=lambda f: (-_time(found[f]), f.name))
    explained = [Explained(folder.name, dict(filter(None, map(_read, found[folder])))) for folder in newest[:MOST]]
    return [each for each in explained if each.pictures]


def _files(folder: Path) -> list[Path]:
    return [path for method in TITLES if (path := folder / f"{method}.png").is_file()]


def _time(files: list[Path]) -> int:
    return max(path.stat().st_mtime_ns for path in files)


def _read(path: Path) -> tuple[str, UInt8Array] | None:
    """A picture with its title; None if it cannot be read."""
    try:
        pixels = read_image(path)
        with Image.open(path) as image:
            about = image.info.get(EXPLAINED_CLASS)
    except (InputError, OSError):
        return None
    return f"{TITLES[path.stem]}{f' of {about}' if about else ''}", pixels
