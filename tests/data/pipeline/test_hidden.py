"""What is hidden, and what only looks like it."""

from collections import Counter

import pytest

from visiontasks.data.pipeline.hidden import describe_hidden, hidden_kind, is_hidden


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir", "@EADIR", "#recycle", "#snapshot", "@Recycle", ".@__thumb", "lost+found", "$RECYCLE.BIN"),
        *("System Volume Information", "__MACOSX", ".ipynb_checkpoints", ".thumbnails", ".Trash-1000", ".git"),
        *("._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", ".AppleDouble", "~$a.jpg", "__pycache__"),
        *("Picasa.ini", ".picasa.ini", "ZbThumbnail.info", "Desktop.INI", "pspbrwse.jbf", "Folder.htt", "sync.ffs_db"),
        *("a.jpg@SynoEAStream", "a.jpg@SynoResource", "a.jpg:Zone.Identifier", "Thumbs.db:encryptable"),
    ],
)
def test_files_and_folders_of_systems_are_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize(
    "name",
    [
        "@",
        "#",
        "$",
        "_",
        "a.jpg",
        "thumbs",
        "recycle",
        "#1 dog",
        "@home",
        "lost",
        "__a",
        "picasa",
        "zone.identifier",
        "SynoEAStream",
    ],
)
def test_classes_that_look_like_it_are_not(name: str) -> None:
    assert not is_hidden(name)


def test_kinds_are_counted_and_apple_double_is_one() -> None:
    kinds = Counter(map(hidden_kind, ("._a.jpg", "._b.jpg", "@eaDir")))
    assert describe_hidden(kinds) == "._* (2), @eaDir (1)"
