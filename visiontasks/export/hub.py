"""Puts an exported folder on the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import disable_progress_bars, validate_repo_id

from visiontasks.errors import InputError

OPTION = "--push-to-hub"
REFUSED = (401, 403)


def check_hub(name: str) -> str:
    """Check, before anything is made, that a model repository can be written.

    Args:
        name: "model", which is the user's own, or "owner/model".

    Returns:
        "owner/model".

    Raises:
        InputError: If the name is not that of a repository, the token is missing, or the hub refuses it or cannot be
            reached.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{OPTION} {name}: {error}") from error
    if get_token() is None:
        raise InputError(
            f"{OPTION} {name}: no token: run `hf auth login`, or set HF_TOKEN to one that may write "
            f"({constants.ENDPOINT}/settings/tokens)"
        )
    try:
        user = HfApi().whoami()["name"]
    except Exception as error:  # of the library's HTTP client, whichever its version has
        raise _explained(name, error) from error
    return name if "/" in name else f"{user}/{name}"


def push(folder: Path, name: str) -> str:
    """Upload a folder into a model repository, which is made, private, if it is not there.

    Args:
        folder: What was exported.
        name: "owner/model".

    Returns:
        The repository's address.

    Raises:
        InputError: If the hub refuses it, or cannot be reached; the folder stays.
    """
    disable_progress_bars()
    api = HfApi()
    try:
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Upload by visiontasks export")
    except Exception as error:  # as above
        raise InputError(
            f"{_explained(name, error)}\n{folder} is written all the same: hf upload {name} {folder} puts it there"
        ) from error
    return str(address)


def _explained(name: str, error: Exception) -> InputError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        if error.response.status_code in REFUSED:
            return InputError(
                f"{OPTION} {name}: {constants.ENDPOINT} refuses the token: give one that may write there "
                f"(`hf auth login`, or HF_TOKEN) ({cause})"
            )
        return InputError(f"{OPTION} {name}: {constants.ENDPOINT} answers: {cause}")
    if isinstance(error, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return InputError(f"{OPTION} {name}: HF_HUB_OFFLINE is set; unset it, or export without {OPTION}")
    return InputError(
        f"{OPTION} {name}: {constants.ENDPOINT} cannot be reached ({type(error).__name__}: {cause}); export without "
        f"{OPTION}, and upload the folder where there is a network (hf upload {name} DIR)"
    )
