"""What an engine is, in words: `bsm-run --info`."""

from __future__ import annotations

from pathlib import Path

from runtime.engine.manifest import Manifest, Parity, manifest_path, read_manifest

NETWORKS = {
    "mamba2": "BSMamba2",
    "transformer": "BS-RoFormer",
    "mamba2-roformer": "BSMamba2 along time, RoFormer across bands",
}
NUMBERS = {
    "fp32": "32-bit floats",
    "fp16": "16-bit floats (fp16), 32 bits where it matters",
    "bf16": "16-bit floats (bf16), 32 bits where it matters",
}
SCANS = {
    "chunked": "in chunks, written out with standard operators",
    "unrolled": "in chunks, unrolled, written out with standard operators",
    "custom": "as one operator of its own, with standard operators as its fallback",
}
LAYOUTS = {"cpu": "CPUs: slices of the bands and frames one after the other, little memory", "gpu": "GPUs: all at once"}
WEIGHTS = {"raw": "its weights as trained", "ema": "its averaged weights (EMA)"}


def describe_engine(engine: Path) -> str:
    """Several lines about the engine at `engine`, NAME.onnx or NAME.plan. Raises ManifestError unless it is whole.

    Only its manifest is needed: nothing is run, and a plan is described where there is no GPU.
    """
    manifest = read_manifest(engine)
    lines = {"it does": _purpose(manifest), **_network(manifest), **_work(manifest), **_files(engine, manifest)}
    width = max(map(len, lines))
    return "\n".join([str(engine), *(f"  {name:<{width}}  {text}" for name, text in lines.items())])


def _purpose(m: Manifest) -> str:
    stems = " and ".join([", ".join(m.model.stems[:-1])] * (len(m.model.stems) > 1) + m.model.stems[-1:])
    rest = "; the song minus the vocals is the instrumental" if _has_instrumental(m) else ""
    sound = ("mono", "stereo")[m.model.channels - 1]
    return f"separates {stems} from {sound} songs at {m.stft.sample_rate / 1000:g} kHz{rest}; others are converted"


def _has_instrumental(m: Manifest) -> bool:
    return "vocals" in m.model.stems and "instrumental" not in m.model.stems


def _network(m: Manifest) -> dict[str, str]:
    model, stft, origin = m.model, m.stft, m.checkpoint
    weights = WEIGHTS.get(origin.weights, origin.weights)
    return {
        "network": (
            f"{NETWORKS.get(model.kind, model.kind)}, {model.parameters:,} parameters: {model.depth} layers of "
            f"{model.dim} features on {len(model.bands)} frequency bands"
        ),
        "trained as": f"{origin.file} ({origin.layout}), {weights}, sha256 {origin.sha256[:12]}...",
        "it hears": (
            f"spectra of {stft.n_fft} samples ({1000 * stft.n_fft / stft.sample_rate:.0f} ms), one every "
            f"{1000 * stft.hop_length / stft.sample_rate:.1f} ms"
        ),
    }


def _work(m: Manifest) -> dict[str, str]:
    second = m.stft.hop_length / m.stft.sample_rate
    chunk = f"chunks of {(m.frames.opt - 1) * second:.2f} s"
    if m.frames.min != m.frames.max:
        chunk += f" ({(m.frames.min - 1) * second:.2f} to {(m.frames.max - 1) * second:.2f} s are possible)"
    batch = f"{m.batch.min} to {m.batch.max}" if m.batch.min != m.batch.max else str(m.batch.min)
    work = {
        "works on": f"{chunk}, {batch} at a time, best {m.batch.opt}",
        "computes in": NUMBERS[m.precision],
        "laid out for": LAYOUTS[m.target],
    }
    if "mamba2" in m.model.kind:
        work["its scan"] = SCANS[m.scan]
    if m.probes:
        work["shows"] = f"{len(m.probes)} results on the way, too, for bsm-parity"
    return work


def _files(engine: Path, m: Manifest) -> dict[str, str]:
    versions = ", ".join(f"{package} {version}" for package, version in m.builder.versions.items())
    files = {"made by": f"{m.builder.name} ({versions})", "onnx": "none beside it"}
    if m.onnx is not None:
        files["onnx"] = f"{m.onnx.file}, {m.onnx.bytes / 1e6:.1f} MB; {_exactness(m.parity)}"
    if m.plan is not None and m.plan.file is not None:
        plan = m.plan
        run = "it was not run yet" if plan.parity is None else _exactness(plan.parity)
        files["plan"] = (
            f"{m.plan.file.file}, {m.plan.file.bytes / 1e6:.1f} MB, for {plan.flavour} {plan.version} on NVIDIA GPUs "
            f"of compute capability {', '.join(plan.compute_capabilities)}; {run}"
        )
    files["more in"] = str(manifest_path(engine))
    return files


def _exactness(parity: Parity) -> str:
    snr = "no difference" if parity.snr_db is None else f"{parity.snr_db:.0f} dB SNR"
    return (
        f"differs from PyTorch by {parity.max_error:.1e} of the peak at most ({snr}; allowed: {parity.tolerance:.0e}) "
        f"in {parity.executor}"
    )
