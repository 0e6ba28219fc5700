"""The manifest: the description of an engine, as JSON beside it. Every key is required; there are no defaults.

A manifest is untrusted: types, sizes and consistency are checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime.engine.content import EXPECTED, is_onnx, mismatch, onnx_metadata, what_instead
from runtime.engine.manifest_fields import REMEDY, read_fields
from runtime.errors import ManifestError

FORMAT = "bsmamba2-engine"
VERSION = 4
METADATA_KEY = "bsmamba2.manifest"  # key of the copy in an ONNX file's metadata_props
MAX_JSON_BYTES = 1_000_000

INPUT_NAME, OUTPUT_NAME = "mixture", "stems"
PRECISIONS = ("fp32", "fp16", "bf16")
SCANS = ("chunked", "unrolled", "custom")  # forms of the scan in the graph
TARGETS = ("cpu", "gpu")  # hardware the graph is optimised for: slices of the sequences, or all of them at once
FLAVOURS = ("tensorrt", "tensorrt-rtx")  # the TensorRT package that built a plan and must run it


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

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def inside_onnx(self) -> str:
        """The copy inside the ONNX file, which does not describe the files themselves."""
        return _compact(replace(self, onnx=None, onnx_data=None, plan=None))

    def inside_plan(self) -> str:
        """The copy inside the plan."""
        if self.plan is None:
            raise ValueError("this engine has no plan")
        return _compact(replace(self, onnx=None, onnx_data=None, plan=replace(self.plan, file=None, parity=None)))

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


def probe_tensors(model: Model, length: int | str) -> list[Tensor]:
    """The outputs that `bsm-export --probe` adds after `stems`, for chunks of `length` frames."""
    mask: list[int | str] = ["batch", len(model.stems), length, model.bins, model.channels, 2]
    features: list[int | str] = ["batch", length, len(model.bands), model.dim]
    names = ["band_features", *(f"layer_{i + 1}" for i in range(model.depth))]
    return [Tensor("mask", "float32", mask), *(Tensor(name, "float32", features) for name in names)]


def _compact(manifest: Manifest) -> str:
    """Compact JSON: TensorRT stores at most 4095 characters of a network's name."""
    return json.dumps(asdict(manifest), separators=(",", ":"))


def manifest_path(engine: Path) -> Path:
    return engine.with_suffix(".json")


def read_manifest(engine: Path) -> Manifest:
    """The manifest beside `engine`, checked to describe exactly this file. Raises ManifestError."""
    if not engine.is_file():
        found = "does not exist" if not engine.exists() else "is a folder" if engine.is_dir() else "is not a file"
        graph = engine.with_name(f"{engine.name}.onnx")
        raise ManifestError(f"{engine}: {found}: {f'give {graph}' if graph.is_file() else EXPECTED}")
    path = manifest_path(engine)
    if path == engine:
        raise ManifestError(f"{engine}: is a manifest: give the engine beside it (NAME.onnx or NAME.plan)")
    manifest = Manifest.from_json(_text(engine, path), str(path))
    is_plan = engine.suffix.lower() == ".plan"
    described = (manifest.plan.file if manifest.plan else None) if is_plan else manifest.onnx
    if described is None:
        _require_engine(engine)
        raise ManifestError(f"{path}: does not describe a {engine.suffix} file: {_remedy(is_plan, engine)}")
    if engine.stat().st_size != described.bytes or described.sha256 != sha256_of(engine):
        _require_engine(engine)
        reason = mismatch(engine, path.name, described.bytes, METADATA_KEY, manifest.inside_onnx())
        raise ManifestError(f"{engine}: {reason}: copy the right files again, or {_remedy(is_plan, engine)}")
    if manifest.onnx_data is not None and not is_plan:
        _require_data(engine, manifest.onnx_data)
    return manifest


def _require_data(engine: Path, described: EngineFile) -> None:
    """Raise ManifestError unless the weights of `engine` are beside it, where ONNX Runtime looks for them."""
    data = engine.with_name(f"{engine.name}.data")
    if not data.is_file():
        raise ManifestError(f"{engine}: its weights, {data.name}, are missing: copy this file beside it, or {REMEDY}")
    if data.stat().st_size != described.bytes or described.sha256 != sha256_of(data):
        raise ManifestError(f"{data}: is not the file of this engine, or was cut short: copy it again, or {REMEDY}")


def _text(engine: Path, path: Path) -> str:
    """The content of `path`, the manifest of `engine`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JSON_BYTES + 1)
        text = raw.decode("utf-8-sig")  # some editors put a mark before UTF-8
    except FileNotFoundError as error:
        _require_engine(engine)
        if is_onnx(engine) and onnx_metadata(engine, METADATA_KEY) is None:
            raise ManifestError(
                f"{engine}: is an ONNX model that bsm-export did not write, or was cut short: {EXPECTED}"
            ) from error
        raise ManifestError(
            f"{engine}: its manifest {path.name} is missing: copy it beside the engine, or {REMEDY}"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8 text: copy it again, or {REMEDY}") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error}): {REMEDY}") from error
    if len(raw) > MAX_JSON_BYTES:
        raise ManifestError(f"{path}: is larger than {MAX_JSON_BYTES} bytes, so it is not a manifest: {REMEDY}")
    return text


def _require_engine(path: Path) -> None:
    """Raise ManifestError, saying what it is, for a file that cannot be an engine."""
    instead = what_instead(path)
    if instead is not None:
        raise ManifestError(f"{path}: {instead}")


def _remedy(is_plan: bool, engine: Path) -> str:
    return rebuild_remedy(engine) if is_plan else REMEDY


def rebuild_remedy(plan: Path, option: str = "") -> str:
    """The command that builds a plan again, for errors."""
    return f"bsm-export --rebuild {plan.with_suffix('')}{option} builds it again from {plan.with_suffix('.onnx').name}"


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(m: Manifest, where: str) -> None:
    """Raise ManifestError for a manifest that contradicts itself or the engine contract."""
    bins, stems, channels = m.bins, len(m.model.stems), m.model.channels
    frames: int | str = m.frames.opt if m.frames.min == m.frames.max else "frames"
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
        "input is that of every engine": m.input == Tensor(INPUT_NAME, "float32", ["batch", frames, bins, channels, 2]),
        "output is that of every engine": (
            m.output == Tensor(OUTPUT_NAME, "float32", ["batch", stems, frames, bins, channels, 2])
        ),
        "probes are none or those of bsm-export --probe": (
            not m.probes or (m.model.depth <= 128 and m.probes == probe_tensors(m.model, frames))
        ),
        "parity is within its tolerance": 0 <= m.parity.max_error <= m.parity.tolerance < 1 and m.parity.rms_error >= 0,
        f"precision is one of {', '.join(PRECISIONS)}": m.precision in PRECISIONS,
        f"scan is one of {', '.join(SCANS)}": m.scan in SCANS,
        f"target is one of {', '.join(TARGETS)}": m.target in TARGETS,
        f"plan.flavour is one of {', '.join(FLAVOURS)}": m.plan is None or m.plan.flavour in FLAVOURS,
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


def _is_name(stem: str) -> bool:
    """Stems become parts of file names."""
    return 0 < len(stem) <= 64 and all(char.isalnum() or char in "-_ " for char in stem)
