"""The manifest: the description of an engine, as JSON beside it. Every key is required; there are no defaults.

A manifest is untrusted: types, sizes and consistency are checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime.engine.manifest_fields import REMEDY, read_fields
from runtime.engine.manifest_parts import (
    FLAVOURS,
    HARDWARE,
    INPUT_NAME,
    IOS,
    OUTPUT_NAME,
    PRECISIONS,
    SCANS,
    TARGETS,
    Builder,
    EngineFile,
    Model,
    Msst,
    Origin,
    Parity,
    Plan,
    Range,
    Stft,
    Tensor,
    io_tensors,
    item_shape,
    length_of,
    probe_tensors,
)
from runtime.engine.manifest_rules import check
from runtime.errors import ManifestError

__all__ = [
    "FLAVOURS",
    "FORMAT",
    "HARDWARE",
    "INPUT_NAME",
    "IOS",
    "METADATA_KEY",
    "OUTPUT_NAME",
    "PRECISIONS",
    "SCANS",
    "TARGETS",
    "VERSION",
    "Builder",
    "EngineFile",
    "Manifest",
    "Model",
    "Msst",
    "Origin",
    "Parity",
    "Plan",
    "Range",
    "Stft",
    "Tensor",
    "io_tensors",
    "item_shape",
    "length_of",
    "probe_tensors",
    "sha256_of",
]

FORMAT = "bsmamba2-engine"
VERSION = 6
METADATA_KEY = "bsmamba2.manifest"  # key of the copy in an ONNX file's metadata_props


@dataclass(frozen=True)
class Manifest:
    format: str
    version: int
    model: Model
    stft: Stft
    frames: Range
    batch: Range
    precision: str
    scan: str
    target: str
    io: str  # one of IOS
    input: Tensor
    output: Tensor
    probes: list[Tensor]  # further outputs, of an engine exported with --probe
    checkpoint: Origin
    msst: Msst | None  # None if the checkpoint's configuration does not say
    onnx: EngineFile | None  # None in the copies inside the files
    onnx_data: EngineFile | None  # the weights, if they are too large for the ONNX file
    plan: Plan | None  # None if no plan was built
    builder: Builder
    parity: Parity  # of the ONNX file

    @property
    def stems(self) -> list[str]:
        """Names of the stems in lower case: how they are asked for and how files are named after them."""
        return [stem.lower() for stem in self.model.stems]

    @property
    def rest(self) -> str | None:
        """The name of what is left of a song without one of the stems, in lower case."""
        return None if self.model.rest is None else self.model.rest.lower()

    @property
    def bins(self) -> int:
        return self.stft.n_fft // 2 + 1

    @property
    def chunk_samples(self) -> int:
        """Samples in a chunk of `frames.opt` frames, at the engine's sample rate."""
        return (self.frames.opt - 1) * self.stft.hop_length

    def input_shape(self, batch: int, frames: int) -> tuple[int, ...]:
        """The shape of the input `mixture` for chunks of `frames` frames."""
        return (batch, *map(int, item_shape(self.io, self.model, self.stft, frames)))

    def output_shape(self, batch: int, frames: int) -> tuple[int, ...]:
        """The shape of the output `stems`."""
        _, *item = self.input_shape(batch, frames)
        return (batch, len(self.model.stems), *item)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The smallest, the usual and the largest shape of the input."""
        return tuple(
            self.input_shape(getattr(self.batch, size), getattr(self.frames, size)) for size in ("min", "opt", "max")
        )

    def size_of(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Batch and frames of an input of this shape; None if the engine takes no such input."""
        if len(shape) != len(self.input.shape):
            return None
        frames = shape[1] if self.io == "spectrum" else 1 + shape[2] // self.stft.hop_length
        fits = self.batch.min <= shape[0] <= self.batch.max and self.frames.min <= frames <= self.frames.max
        return (shape[0], frames) if fits and shape == self.input_shape(shape[0], frames) else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def inside_onnx(self) -> str:
        """The copy inside the ONNX file, which does not describe the files themselves."""
        return _compact(replace(self, onnx=None, onnx_data=None, plan=None))

    def inside_plan(self) -> str:
        """The copy inside the plan."""
        if self.plan is None:
            raise ValueError("this engine has no plan")
        plan = replace(self.plan, file=None, memory={}, parity=None)
        return _compact(replace(self, onnx=None, onnx_data=None, plan=plan))

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Read and check `text`; `where` is its file in errors. Raises ManifestError."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: is not valid JSON ({error}): {REMEDY}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ManifestError(f"{where}: is not the manifest of a bsmamba2 engine: {REMEDY}")
        if data.get("version") != VERSION:
            raise ManifestError(
                f"{where}: is of manifest version {data.get('version')!r}, this release reads version {VERSION}: "
                f"{REMEDY}"
            )
        manifest = read_fields(cls, data, where)
        check(manifest, where)
        return manifest


def _compact(manifest: Manifest) -> str:
    """Compact JSON: TensorRT stores at most 4095 characters of a network's name."""
    return json.dumps(asdict(manifest), separators=(",", ":"))


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
