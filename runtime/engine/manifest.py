"""The manifest: the description of an engine, as JSON beside it. Every key is required; there are no defaults.

A manifest is untrusted: types, sizes and consistency are checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime.engine.manifest_fields import REMEDY, read_fields
from runtime.errors import ManifestError

FORMAT = "bsmamba2-engine"
VERSION = 6
METADATA_KEY = "bsmamba2.manifest"  # key of the copy in an ONNX file's metadata_props

INPUT_NAME, OUTPUT_NAME = "mixture", "stems"
PRECISIONS = ("fp32", "fp16", "bf16")
SCANS = ("chunked", "unrolled", "custom", "plugin")  # forms of the scan
IOS = ("spectrum", "wave")  # what goes in and out; with waveforms, the STFT and its inverse are inside
TARGETS = ("cpu", "gpu")  # hardware the graph is optimised for: slices of the sequences, or all of them at once
FLAVOURS = ("tensorrt", "tensorrt-rtx")  # the TensorRT package that built a plan and must run it
HARDWARE = ("same-gpu", "same-compute-capability", "ampere-plus")  # GPUs that run a plan of full TensorRT


@dataclass(frozen=True)
class Model:
    kind: str
    dim: int
    depth: int
    channels: int
    stems: list[str]
    rest: str | None  # the song without its only stem, or without the vocals of several; None: has no name
    bands: list[int]  # bins of each sub-band, low to high
    starts: list[int]  # first bin of each sub-band, where they overlap; otherwise empty
    parameters: int

    @property
    def first_bins(self) -> list[int]:
        """The first bin of each sub-band."""
        return self.starts or [sum(self.bands[:i]) for i in range(len(self.bands))]

    @property
    def bins(self) -> int:
        """The bins that the sub-bands cover together."""
        return max(start + width for start, width in zip(self.first_bins, self.bands, strict=True))


@dataclass(frozen=True)
class Stft:
    sample_rate: int  # Hz
    n_fft: int  # samples, as the two below
    win_length: int
    hop_length: int
    window: str
    center: bool
    pad_mode: str
    normalized: bool  # divided by the square root of n_fft


@dataclass(frozen=True)
class Msst:
    """How MSST itself cuts songs for this network, for `bsm-run --procedure msst`."""

    chunk_size: int  # samples
    num_overlap: int  # a chunk starts every chunk_size // num_overlap samples
    batch_size: int  # chunks at a time: its fades depend on it


@dataclass(frozen=True)
class Range:
    """The sizes that an engine accepts on one axis; `opt` is the one it is optimised for."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: list[int | str]  # a string names a dynamic axis


@dataclass(frozen=True)
class Origin:
    """The checkpoint an engine was made from."""

    file: str
    sha256: str
    layout: str
    weights: str  # raw, ema or the name of another copy in the checkpoint


@dataclass(frozen=True)
class EngineFile:
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Builder:
    name: str
    versions: dict[str, str]  # of the packages it used


@dataclass(frozen=True)
class Parity:
    """The largest difference of the engine's `stems` from PyTorch's on a test signal, relative to PyTorch's peak."""

    inputs: str
    executor: str
    max_error: float
    rms_error: float
    snr_db: float | None  # None: no difference
    tolerance: float  # largest max_error allowed
    required_snr_db: float


@dataclass(frozen=True)
class Plan:
    """The TensorRT plan built from the ONNX file beside it."""

    file: EngineFile | None  # None in the copy inside the plan
    flavour: str  # "tensorrt" or "tensorrt-rtx"
    version: str  # of the package that built it and must run it
    compute_capabilities: list[str]  # of the GPUs it was built for, such as "8.9"
    gpu: str | None  # the GPU that full TensorRT built it on; None with TensorRT-RTX, which needs none
    hardware: str | None  # one of HARDWARE; None with TensorRT-RTX
    version_compatible: bool  # runs in later TensorRT of the same major version too, and in its lean runtime
    memory: dict[str, int]  # GPU memory for intermediate results in bytes, by batch size, where it is known
    parity: Parity | None  # of the plan, run on a GPU; None if there was no GPU


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
        _check(manifest, where)
        return manifest


def item_shape(io: str, model: Model, stft: Stft, length: int | str) -> list[int | str]:
    """The shape of one mixture of `length` frames ("frames" if that is dynamic), and of each of its stems.

    Spectrograms are [t, f, c, 2], waveforms [c, hop * (t - 1)].
    """
    if io == "spectrum":
        return [length, stft.n_fft // 2 + 1, model.channels, 2]
    return [model.channels, "samples" if isinstance(length, str) else stft.hop_length * (length - 1)]


def io_tensors(io: str, model: Model, stft: Stft, frames: Range) -> tuple[Tensor, Tensor]:
    """The input and the output `stems` of an engine."""
    item = item_shape(io, model, stft, length_of(frames))
    return (
        Tensor(INPUT_NAME, "float32", ["batch", *item]),
        Tensor(OUTPUT_NAME, "float32", ["batch", len(model.stems), *item]),
    )


def length_of(frames: Range) -> int | str:
    """The size of the axis of frames: their number, or its name where it is dynamic."""
    return frames.opt if frames.min == frames.max else "frames"


def probe_tensors(model: Model, length: int | str, io: str = "spectrum") -> list[Tensor]:
    """The outputs that `bsm-export --probe` adds after `stems`, for chunks of `length` frames.

    Of an engine with waveforms, the spectrograms inside are among them.
    """
    mask: list[int | str] = ["batch", len(model.stems), length, model.bins, model.channels, 2]
    features: list[int | str] = ["batch", length, len(model.bands), model.dim]
    names = ["band_features", *(f"layer_{i + 1}" for i in range(model.depth))]
    probes = [Tensor("mask", "float32", mask), *(Tensor(name, "float32", features) for name in names)]
    if io == "wave":
        probes.append(Tensor("spectrogram", "float32", ["batch", length, model.bins, model.channels, 2]))
        probes.append(Tensor("masked_spectrogram", "float32", mask))
    return probes


def _compact(manifest: Manifest) -> str:
    """Compact JSON: TensorRT stores at most 4095 characters of a network's name."""
    return json.dumps(asdict(manifest), separators=(",", ":"))


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(m: Manifest, where: str) -> None:
    """Raise ManifestError for a manifest that contradicts itself or the engine contract."""
    bins, stems, channels = m.bins, len(m.model.stems), m.model.channels
    rules = {
        "model.channels is 1 or 2": channels in (1, 2),
        "model.depth is from 1 to 128": 1 <= m.model.depth <= 128,
        "model.stems are distinct names": 0 < stems == len(set(m.stems)) and all(map(_is_name, m.model.stems)),
        "model.rest is a name that no stem has": m.rest is None or (_is_name(m.rest) and m.rest not in m.stems),
        "model.rest is that of one stem or of vocals": m.rest is None or stems == 1 or "vocals" in m.stems,
        "model.bands and model.starts cover the bins of the STFT, each once or more": _cover(m.model, bins),
        "stft is centred, with reflect padding and a Hann window": (
            (m.stft.window, m.stft.center, m.stft.pad_mode) == ("hann", True, "reflect")
        ),
        "msst cuts chunks of the engine's length": m.msst is None or _is_msst(m.msst, m.chunk_samples),
        "stft.n_fft is even, from 16 to 65536": 16 <= m.stft.n_fft <= 65536 and m.stft.n_fft % 2 == 0,
        "stft.hop_length is from 1 to n_fft / 2": 1 <= m.stft.hop_length <= m.stft.n_fft // 2,
        "stft.win_length is from 2 hops to n_fft": 2 * m.stft.hop_length <= m.stft.win_length <= m.stft.n_fft,
        "stft.sample_rate is from 1000 to 384000": 1000 <= m.stft.sample_rate <= 384000,
        "frames are a range": 1 <= m.frames.min <= m.frames.opt <= m.frames.max <= 1_000_000,
        "a chunk is longer than n_fft / 2": m.chunk_samples > m.stft.n_fft // 2,
        "batch is a range": 1 <= m.batch.min <= m.batch.opt <= m.batch.max <= 4096,
        f"io is one of {', '.join(IOS)}": m.io in IOS,
        "input and output are those of its io": (m.input, m.output) == io_tensors(m.io, m.model, m.stft, m.frames),
        "probes are none or those of bsm-export --probe": (
            not m.probes or (m.model.depth <= 128 and m.probes == probe_tensors(m.model, length_of(m.frames), m.io))
        ),
        "parity is within its tolerance": 0 <= m.parity.max_error <= m.parity.tolerance < 1 and m.parity.rms_error >= 0,
        f"precision is one of {', '.join(PRECISIONS)}": m.precision in PRECISIONS,
        f"scan is one of {', '.join(SCANS)}": m.scan in SCANS,
        f"target is one of {', '.join(TARGETS)}": m.target in TARGETS,
        f"plan.flavour is one of {', '.join(FLAVOURS)}": m.plan is None or m.plan.flavour in FLAVOURS,
        "plan.hardware and plan.gpu belong to full TensorRT": m.plan is None or _is_bound(m.plan),
        "plan.memory are bytes by batch size": (
            m.plan is None or all(re.fullmatch("[1-9][0-9]{0,3}", key) and n >= 0 for key, n in m.plan.memory.items())
        ),
        "plan.compute_capabilities are numbers such as 8.9": (
            m.plan is None
            or (
                0 < len(m.plan.compute_capabilities) <= 64
                and all(re.fullmatch(r"[0-9]{1,2}\.[0-9]", each) for each in m.plan.compute_capabilities)
            )
        ),
    }
    for rule, holds in rules.items():
        if not holds:
            raise ManifestError(f"{where}: is inconsistent: expected that {rule}: {REMEDY}")


def _cover(model: Model, bins: int) -> bool:
    """Whether the sub-bands are in order and leave no bin out."""
    if not model.bands or len(model.first_bins) != len(model.bands) or min(model.bands) <= 0:
        return False
    end = 0
    for start, width in zip(model.first_bins, model.bands, strict=True):
        if not 0 <= start <= end or start + width < end:
            return False
        end = start + width
    return end == bins


def _is_msst(msst: Msst, chunk: int) -> bool:
    return msst.chunk_size == chunk and 1 <= msst.num_overlap <= min(100, chunk) and 1 <= msst.batch_size <= 4096


def _is_bound(plan: Plan) -> bool:
    if plan.flavour == "tensorrt-rtx":
        return plan.gpu is None and plan.hardware is None
    return plan.gpu is not None and plan.hardware in HARDWARE


def _is_name(stem: str) -> bool:
    """Stems become parts of file names."""
    return 0 < len(stem) <= 64 and all(char.isalnum() or char in "-_ " for char in stem)
