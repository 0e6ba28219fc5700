"""The parts of a manifest, the words it may use, and the shapes of an engine's tensors."""

from __future__ import annotations

from dataclasses import dataclass

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
