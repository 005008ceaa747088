"""Fetching a dataset once, with a clear answer within seconds where there is no network."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from visiontasks.errors import InputError, MissingFileError

_PATIENCE_S = 4.0


def fetch_dataset(fetch: Callable[[], object], *, name: str, root: Path, urls: Sequence[str], layout: str) -> None:
    """Run a download, unless none of its servers answers within 4 s.

    Args:
        fetch: Does the download; may raise OSError or RuntimeError.
        name: The dataset, for messages.
        root: Folder that it goes to.
        urls: Addresses that it would ask, mirrors of each other.
        layout: What has to lie under root, for messages.

    Raises:
        MissingFileError: If no server answers.
        InputError: If the download breaks off, or what came has a wrong checksum.
    """
    ways_out = (
        f"put the files into {root}/ ({layout}), point --data.init_args.root at a folder that has them, or "
        "take a recipe that needs no network (digits_resnet)"
    )
    reason = unreachable(urls)
    if reason:
        raise MissingFileError(
            f"no {name} in {root}/, and it cannot be downloaded from {' or '.join(urls)} ({reason}); {ways_out}"
        )
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        raise InputError(f"the download of {name} into {root}/ failed ({error}); try again, or {ways_out}") from error


def unreachable(urls: Sequence[str]) -> str | None:
    """Why none of some addresses answers within 4 s, or None as soon as one does."""
    reasons: dict[str, str] = {}
    answered = threading.Event()

    def ask(url: str) -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
            answered.set()
        except urllib.error.HTTPError:
            answered.set()  # a server is there; whether it has the file is the download's business
        except (OSError, ValueError) as error:
            reasons[url] = str(error)

    # In threads, because waiting for a name server is not bound by urlopen's timeout.
    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and len(reasons) < len(urls):
        if answered.wait(0.02):
            return None
    return "; ".join(sorted(set(reasons.values()))) or f"no answer in {_PATIENCE_S:g} s"
