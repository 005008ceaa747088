"""What lies in folders of images without belonging to them: hidden files, thumbnails and bins of systems and tools."""

from collections import Counter
from pathlib import Path

_PREFIXES = (".", "~$")
_SYSTEM_NAMES = frozenset(
    (
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@__thumb", "#recycle", "#snapshot"),  # NAS
        *("__macosx", "icon\r", "network trash folder", "temporary items", "thevolumesettingsfolder"),  # macOS
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler", "recycled"),
        *("system volume information", "lost+found", "found.000", "__pycache__", "_gsdata_", "_vti_cnf"),
        *("picasa.ini", "zbthumbnail.info", "pspbrwse.jbf", "folder.htt", "sync.ffs_db"),  # image viewers, explorers
    )
)
"""Casefolded names without a leading dot; none is a plausible class. (Starting with @ or # is not enough: both are
classes of handwriting.)"""
_SUFFIXES = ("@synoeastream", "@synoresource", ":zone.identifier", ":encryptable")
"""Of streams that a NAS or Windows stores beside a file, as files of their own once they are copied."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or is a system's own: never an image or a class."""
    folded = name.casefold()
    return folded.startswith(_PREFIXES) or folded in _SYSTEM_NAMES or folded.endswith(_SUFFIXES)


def hidden_kind(name: str) -> str:
    """What a hidden file or folder is counted as: its name, or `._*` for the many of AppleDouble."""
    return "._*" if name.startswith("._") else Path(name).name


def describe_hidden(hidden: Counter[str]) -> str:
    """The kinds with their numbers, the most frequent first."""
    return ", ".join(f"{kind} ({count:,})" for kind, count in hidden.most_common(8))
