"""Where the package keeps what it makes for itself."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$TFRESTORE_CACHE`, else `$XDG_CACHE_HOME/tfrestore`, else `~/.cache/tfrestore`."""
    if own := os.environ.get("TFRESTORE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tfrestore"
