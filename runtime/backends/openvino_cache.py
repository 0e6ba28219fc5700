"""What OpenVINO has compiled, kept for the next start once it has passed the check of `openvino_gate`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runtime.engine.cache_folder import cache_folder
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError


class Kept:
    """The file of a compiled engine that has passed the check, from one start to the next.

    It belongs to the files of the engine, its manifest, and `machine`: OpenVINO's version, the processor, what it
    computes in and how many threads do (what is compiled keeps their number, whatever is asked for later). Processes
    may share it: it is replaced as a whole. `note` says why there is none, and is empty if all is well.
    """

    def __init__(self, manifest: Manifest, machine: Sequence[str]) -> None:
        files = [each.sha256 for each in (manifest.onnx, manifest.onnx_data) if each is not None]
        key = hashlib.sha256("\n".join([*files, manifest.inside_onnx(), *machine]).encode()).hexdigest()[:32]
        self._path: Path | None = None
        self.note = ""
        try:
            self._path = cache_folder("openvino") / f"{key}.compiled"
        except EngineError as error:
            self.not_kept(str(error))

    def not_kept(self, why: str) -> None:
        self.note = f"the next start compiles and checks the engine again, as what is compiled cannot be kept: {why}"

    def load(self) -> bytes | None:
        """What was kept; None if nothing was, or it has changed since."""
        if self._path is None or not self._path.is_file():
            return None
        with self._path.open("rb") as file:
            digest, compiled = file.read(hashlib.sha256().digest_size), file.read()
        return compiled if hashlib.sha256(compiled).digest() == digest else None

    def save(self, compiled: memoryview) -> None:
        """Keep it, with its sha256 before it. If that fails, `note` says so."""
        if self._path is None:
            return
        part: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(dir=self._path.parent, suffix=".part", delete=False) as file:
                part = Path(file.name)
                file.write(hashlib.sha256(compiled).digest())
                file.write(compiled)
            part.replace(self._path)
        except OSError as error:
            self.not_kept(f"{self._path}: {error.strerror or error}")
            if part is not None:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
