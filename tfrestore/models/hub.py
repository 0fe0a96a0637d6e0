"""Preset folders on the Hugging Face hub: `hf://USER/NAME`, as in KerasHub.

Fetching, the cache, tokens, mirrors (`HF_ENDPOINT`) and offline use (`HF_HUB_OFFLINE`) are those of
the library `huggingface_hub`, which the extra `hub` installs. A revision may follow: a branch, a
tag or a commit, as in `hf://USER/NAME@v2`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tfrestore.errors import InputError, UsageError

PREFIX = "hf://"

#: Of a repository on the hub, the files that are fetched: those of a preset folder.
FILES = ("*.json", "*.yaml", "*.h5", "*.safetensors", "*.md", "*.csv")

_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


def fetch(address: str) -> Path:
    """The folder in the cache that holds a preset of the hub, fetched or brought up to date.

    Args:
        address: `hf://USER/NAME` or `hf://USER/NAME@REVISION`.

    Raises:
        UsageError: if it is no such address, there is no such preset, or the extra is missing.
        InputError: if the hub cannot be reached and the cache does not have the preset.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise UsageError(f"{address}: no preset of the hub; give hf://USER/NAME.")
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise UsageError(
            f"{address}: presets of the hub need the library huggingface_hub; install it with "
            "pip install 'tfrestore[hub]'."
        ) from None
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = huggingface_hub.snapshot_download(
            parts["repository"], revision=parts["revision"], allow_patterns=list(FILES)
        )
    except errors.GatedRepoError:
        raise UsageError(
            f"{address}: its owner asks to be asked; accept the terms on the hub, and log in with "
            "hf auth login."
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise UsageError(
            f"{address}: the hub has no such preset, or shows it to its owner only; check the "
            "name, or log in with hf auth login."
        ) from None
    except errors.RevisionNotFoundError:
        raise UsageError(f"{address}: the preset has no revision {parts['revision']!r}.") from None
    # What a network that is not there raises depends on the library below.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
        raise InputError(
            f"{address}: not in the cache, and the hub cannot be reached ({reason}); try again, or "
            "give a folder."
        ) from None
    return Path(folder)
