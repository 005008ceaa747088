"""Fetching a dataset once, with a clear answer within seconds where there is no network."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from visiontasks.errors import InputError, MissingFileError

_PATIENCE_S = 4.0


def download(fetch: Callable[[], object], *, name: str, root: str, urls: Sequence[str], layout: str) -> None:
    """Run a download, unless none of its servers answers within 4 s.

    Args:
        fetch: Does the download; may raise OSError or RuntimeError.
        name: The dataset, for messages.
        root: Folder it goes to.
        urls: Addresses that would be asked, mirrors of each other.
        layout: Where the files lie under root when put there by hand.

    Raises:
        MissingFileError: If the servers cannot be reached.
        InputError: If the download broke off or its checksum is wrong.
    """
    ways_out = (
        f"put the files under {root}/ ({layout}), point --data.init_args.root at a folder that has them, "
        "or take a recipe that works offline (digits_resnet)"
    )
    reason = _unreachable(urls)
    if reason:
        raise MissingFileError(f"no {name} in {root}/ and no network to download it ({', '.join(urls)}: {reason}); {ways_out}")
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        raise InputError(f"the download of {name} to {root}/ failed ({error}); try again, or {ways_out}") from error


def _unreachable(urls: Sequence[str]) -> str:
    """Why no address answers, or an empty string if one does."""
    reasons: list[str] = []
    answered = threading.Event()

    def ask(url: str) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE_S).close()
            answered.set()
        except urllib.error.HTTPError as error:
            reasons.append(f"HTTP {error.code}")
        except (OSError, ValueError) as error:
            reasons.append(str(error))

    # In threads, because a name server that does not answer is not bound by urlopen's timeout.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S / len(threads))
    return "" if answered.is_set() else ("; ".join(sorted(set(reasons))) or f"no answer in {_PATIENCE_S:.0f} s")
