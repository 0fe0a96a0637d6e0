"""YAML files that a person wrote or may have edited."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from tfrestore.errors import UsageError


def read_yaml(path: str | os.PathLike, option: str = ""):
    """What a YAML file holds.

    Args:
        path: The file.
        option: The option that it was given with, for messages.

    Raises:
        UsageError: if it is missing or not YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        hint = f"; check {option}" if option else ""
        raise UsageError(f"{path}: cannot be read ({error.strerror}){hint}.") from None
    # Besides YAMLError, text that is no UTF-8, dates that do not exist, nesting without end.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not valid YAML ({reason}).") from None
