"""The folder for what TensorRT compiles on this machine, so that the next start takes it from there."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import EngineError

REMEDY = "set BSM_CACHE to a folder of yours"


def cache_folder(kind: str) -> Path:
    """The folder `kind` in $BSM_CACHE, or in `bsmamba2` in the user's cache. It is made if it is not there.

    Raises EngineError if it is not known, or cannot be written.
    """
    folder = cache_root() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"{folder}: cannot be made ({error.strerror or error}): {REMEDY}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EngineError(f"{folder}: cannot be written: {REMEDY}")
    return folder


def cache_root() -> Path:
    """$BSM_CACHE, or `bsmamba2` in the user's cache; it may not be there. Raises EngineError if it is not known."""
    given = os.environ.get("BSM_CACHE")
    try:
        if given:
            return Path(given).expanduser()
        from platformdirs import user_cache_path

        return user_cache_path("bsmamba2")
    except ImportError as error:
        raise EngineError(f"the user's cache folder is not known: pip install platformdirs, or {REMEDY}") from error
    except RuntimeError as error:  # "~name" of a user who does not exist, or no home
        raise EngineError(f"BSM_CACHE={given or ''}: no such folder ({error}): {REMEDY}") from error
