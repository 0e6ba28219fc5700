"""A description of an engine: `bsm-run --info`."""

from __future__ import annotations

from pathlib import Path

from runtime.engine.manifest import Manifest, Model, Msst, Parity, Plan
from runtime.engine.reading import manifest_path, read_manifest
from runtime.engine.stems import remainder_of
from runtime.printable import counted

NETWORKS = {
    "mamba2": "BSMamba2",
    "transformer": "BS-RoFormer",
    "mamba2-roformer": "BSMamba2 along time, RoFormer across sub-bands",
}
PRECISIONS = {
    "fp32": "fp32",
    "fp16": "fp16 (fp32 where accuracy needs it)",
    "bf16": "bf16 (fp32 where accuracy needs it)",
}
SCANS = {
    "chunked": "chunked",
    "unrolled": "chunked, unrolled",
    "custom": "custom operator (standard operators as fallback)",
    "plugin": "one kernel in the plan, custom operator (standard operators as fallback) in the ONNX file",
}
IOS = {"spectrum": "spectrograms in and out", "wave": "waveforms in and out"}
TARGETS = {"cpu": "cpu (slice by slice, little memory)", "gpu": "gpu (the whole batch at once)"}


def describe_engine(engine: Path) -> str:
    """Several lines about the engine at `engine`, NAME.onnx or NAME.plan. Raises ManifestError unless it is complete.

    Only its manifest is needed: nothing is run, and a plan is described without a GPU.
    """
    m = read_manifest(engine)
    lines = {"task": _task(m), "network": _network(m), "source": _source(m), "STFT": _stft(m)}
    lines |= {"chunk": _chunk(m), "batch": _batch(m)}
    if m.msst is not None:
        lines["MSST"] = _msst(m, m.msst)
    lines |= {"precision": PRECISIONS[m.precision], "target": TARGETS[m.target]}
    lines["input"] = _input(m)
    if "mamba2" in m.model.kind:
        lines["scan"] = SCANS[m.scan]
    if m.probes:
        lines["probes"] = f"{len(m.probes)} intermediate results, for bsm-parity"
    if m.plan is not None and m.plan.memory:
        lines["GPU memory"] = f"{memory_of(m.plan)} for intermediate results"
    lines |= {"parity": _parities(m), "files": _files(engine, m), "built by": _builder(m)}
    width = max(map(len, lines)) + 1
    return "\n".join([str(engine), *(f"  {label + ':':<{width}} {text}" for label, text in lines.items())])


def _task(m: Manifest) -> str:
    stems, remainder = m.stems, remainder_of(m)
    if remainder is not None:
        stems.append(f"{remainder[0]} (the song minus {remainder[1]})")
    sound = ("mono", "stereo")[m.model.channels - 1]
    return f"separates {', '.join(stems)}; {m.stft.sample_rate / 1000:g} kHz {sound}, other songs are converted"


def _network(m: Manifest) -> str:
    model = m.model
    sizes = f"depth {model.depth}, dim {model.dim}, {counted(len(model.bands), 'sub-band')}"
    return f"{network_name(model)}, {model.parameters:,} parameters ({sizes})"


def network_name(model: Model) -> str:
    """What a network is called: by what runs along its axes, and whether its sub-bands overlap."""
    name = NETWORKS.get(model.kind, model.kind)
    if not model.starts:
        return name
    return "Mel-Band RoFormer" if model.kind == "transformer" else f"{name}, mel bands"


def _source(m: Manifest) -> str:
    origin = m.checkpoint
    return f"{origin.file} ({origin.layout}), {origin.weights} weights, sha256 {origin.sha256[:12]}..."


def _stft(m: Manifest) -> str:
    stft = m.stft
    window, hop = (1000 * samples / stft.sample_rate for samples in (stft.n_fft, stft.hop_length))
    hann = "Hann window" if stft.win_length == stft.n_fft else f"Hann window of {stft.win_length}"
    normalized = ", normalized" if stft.normalized else ""
    return (
        f"n_fft {stft.n_fft} ({window:.1f} ms), hop {stft.hop_length} ({hop:.1f} ms), {hann}, {m.bins} bins{normalized}"
    )


def _chunk(m: Manifest) -> str:
    frames, hop = m.frames, m.stft.hop_length / m.stft.sample_rate
    least, best, most = (f"{(count - 1) * hop:.2f}" for count in (frames.min, frames.opt, frames.max))
    if frames.min == frames.max:
        return f"{best} s ({frames.opt} frames)"
    return f"{least} to {most} s, optimum {best} s ({frames.min} to {frames.max} frames)"


def _batch(m: Manifest) -> str:
    least, best, most = m.batch.min, m.batch.opt, m.batch.max
    return str(best) if least == most else f"{least} to {most}, optimum {best}"


def _input(m: Manifest) -> str:
    where = "STFT before and after the engine" if m.io == "spectrum" else "STFT and its inverse inside"
    given, taken = (" x ".join(map(str, each.shape)) for each in (m.input, m.output))
    return f"{IOS[m.io]} ({where}): {m.input.name} {given}, {m.output.name} {taken}"


def _msst(m: Manifest, msst: Msst) -> str:
    seconds = msst.chunk_size / m.stft.sample_rate
    return f"chunks of {seconds:.2f} s, num_overlap {msst.num_overlap}, batch_size {msst.batch_size}"


def memory_of(plan: Plan) -> str:
    """The GPU memory that a plan needs for intermediate results, by batch size."""
    sizes = sorted((int(batch), taken) for batch, taken in plan.memory.items())
    return ", ".join(f"{taken / 1e9:.2f} GB at batch {batch}" for batch, taken in sizes)


def _parities(m: Manifest) -> str:
    found = [f"ONNX: {_parity(m.parity)}"]
    if m.plan is not None:
        found.append(f"plan: {'not run yet' if m.plan.parity is None else _parity(m.plan.parity)}")
    return "; ".join(found)


def _parity(parity: Parity) -> str:
    snr = "no difference" if parity.snr_db is None else f"SNR {parity.snr_db:.0f} dB"
    return (
        f"largest difference from PyTorch {parity.max_error:.1e} of the peak (tolerance {parity.tolerance:.0e}), "
        f"{snr}, in {parity.executor}"
    )


def _files(engine: Path, m: Manifest) -> str:
    files = []
    if m.onnx is not None:
        files.append(f"{m.onnx.file} ({m.onnx.bytes / 1e6:.1f} MB)")
    if m.onnx_data is not None:
        files.append(f"{m.onnx_data.file} ({m.onnx_data.bytes / 1e6:.1f} MB)")
    if m.plan is not None and m.plan.file is not None:
        plan = m.plan
        later = " or later of this major version" if plan.version_compatible else ""
        made = f"{plan.flavour} {plan.version}{later}, {gpus_of(plan)}"
        files.append(f"{m.plan.file.file} ({m.plan.file.bytes / 1e6:.1f} MB, {made})")
    return ", ".join([*files, f"{manifest_path(engine).name} (manifest)"])


def gpus_of(plan: Plan) -> str:
    """The GPUs that run it."""
    if plan.hardware == "same-gpu":
        return f"{plan.gpu} only"
    if plan.hardware == "ampere-plus":
        return "compute capability 8.0 or later"
    return f"compute capability {', '.join(plan.compute_capabilities)}"


def _builder(m: Manifest) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in m.builder.versions.items())
    return f"{m.builder.name} ({versions})"
