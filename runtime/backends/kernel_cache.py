"""The kernels that TensorRT-RTX compiles for a plan on one GPU, kept from one start to the next.

TensorRT-RTX calls this a runtime cache. Without it, all kernels are compiled again at every start.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.engine.cache_folder import cache_root
from runtime.errors import EngineError


class KernelCache:
    """One runtime cache in a file that belongs to a plan, by its `sha256`, and a model of GPU.

    Processes may share the file: it is replaced as a whole, and the last one wins. `note` says why new kernels are not
    kept, and is empty if they are.
    """

    def __init__(self, cache: Any, sha256: str, gpu: str) -> None:
        """`cache` is an empty IRuntimeCache. A file that it refuses, of another driver for example, is deleted."""
        self._cache = cache
        self._path: Path | None = None  # None: there is no place for it
        self._stored = b""  # content of the file
        self.note = ""
        try:
            folder = cache_root() / "kernels"
        except EngineError as error:
            self.note = f"compiled kernels are not kept for the next start: {error}"
            return
        path = folder / f"{sha256}-{re.sub('[^A-Za-z0-9]+', '-', gpu)}.cache"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._load(path)
            if not self._stored and not os.access(folder, os.W_OK):
                raise PermissionError(0, "it cannot be written", str(folder))
        except OSError as error:
            self._not_kept(f"{error.filename or folder}: {error.strerror or error}")
        else:
            self._path = path

    def _load(self, path: Path) -> None:
        content = path.read_bytes() if path.exists() else b""
        if content and self._cache.deserialize(content):
            self._stored = content
        elif content:
            path.unlink(missing_ok=True)

    def _not_kept(self, reason: str) -> None:
        self.note = (
            f"compiled kernels are not kept for the next start ({reason}): set BSM_CACHE to a folder that can be "
            "written"
        )

    def save(self) -> None:
        """Write the file if there are new kernels. If that fails, `note` says so."""
        content = None if self._path is None else self._cache.serialize()
        if self._path is None or content is None or bytes(content) == self._stored:
            return
        part: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(dir=self._path.parent, suffix=".part", delete=False) as file:
                part = Path(file.name)
                file.write(content)
            part.replace(self._path)
            self._stored = bytes(content)
        except OSError as error:
            self._not_kept(f"{self._path}: {error.strerror or error}")
            if part is not None:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
