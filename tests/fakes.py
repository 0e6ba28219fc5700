"""An engine's manifest, a reference for it, a separator around an engine whose effect is known, and GPUs."""

from __future__ import annotations

import json

import numpy as np

from runtime import Separator
from runtime.backends.fake import FakeBackend
from runtime.dsp.stft import Stft
from runtime.engine.gpu import Gpu
from runtime.engine.manifest import FORMAT, VERSION, Manifest
from runtime.engine.stems import usual_rest
from runtime.parity.reference import Reference, shapes

RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", "8.9")
H200 = Gpu("NVIDIA H200", "9.0")


def manifest_data(stems=("vocals",), channels=2, sample_rate=44100, frames=11, io="spectrum") -> dict:
    item = [frames, 1025, channels, 2] if io == "spectrum" else [channels, 441 * (frames - 1)]
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": {
            "kind": "mamba2",
            "dim": 8,
            "depth": 1,
            "channels": channels,
            "stems": list(stems),
            "rest": usual_rest(stems),
            "bands": [1025],
            "starts": [],
            "parameters": 1000,
        },
        "stft": {
            "sample_rate": sample_rate,
            "n_fft": 2048,
            "win_length": 2048,
            "hop_length": 441,
            "window": "hann",
            "center": True,
            "pad_mode": "reflect",
            "normalized": False,
        },
        "frames": {"min": frames, "opt": frames, "max": frames},
        "batch": {"min": 1, "opt": 1, "max": 8},
        "precision": "fp32",
        "scan": "chunked",
        "target": "cpu",
        "io": io,
        "input": {"name": "mixture", "dtype": "float32", "shape": ["batch", *item]},
        "output": {"name": "stems", "dtype": "float32", "shape": ["batch", len(stems), *item]},
        "probes": [],
        "checkpoint": {"file": "x.ckpt", "sha256": "0" * 64, "layout": "state_dict", "weights": "raw"},
        "msst": None,
        "onnx": None,
        "onnx_data": None,
        "plan": None,
        "builder": {"name": "bsm-export", "versions": {"torch": "2.13.0"}},
        "parity": {
            "inputs": "made for a test",
            "executor": "none",
            "max_error": 1e-6,
            "rms_error": 1e-7,
            "snr_db": 120.0,
            "tolerance": 2e-5,
            "required_snr_db": 90.0,
        },
    }


def plan_data(flavour="tensorrt-rtx", **changes) -> dict:
    """The manifest of an engine with a plan that was run on a GPU."""
    data = manifest_data(**changes)
    file = {"file": "x.plan", "bytes": 4, "sha256": "0" * 64}
    made = {"flavour": flavour, "version": "1.7.1.116", "compute_capabilities": ["8.9", "12.0"]}
    bound = flavour == "tensorrt"
    made |= {"gpu": "NVIDIA Double" if bound else None, "hardware": "same-gpu" if bound else None}
    made |= {"version_compatible": False, "memory": {}}
    return data | {"plan": {"file": file, **made, "parity": data["parity"]}}


def separator_of(
    gains=(0.5,),
    *,
    channels=2,
    sample_rate=44100,
    frames=11,
    overlap=None,
    batch=1,
    stems=None,
    function=None,
    msst=None,
    io="spectrum",
    **options,
) -> Separator:
    names = stems or (["vocals"] if len(gains) == 1 else [f"stem{i}" for i in range(len(gains))])
    data = manifest_data(stems=names, channels=channels, sample_rate=sample_rate, frames=frames, io=io)
    if msst is not None:  # num_overlap, batch_size
        data["msst"] = {"chunk_size": 441 * (frames - 1), "num_overlap": msst[0], "batch_size": msst[1]}
    manifest = Manifest.from_json(json.dumps(data), "a test")
    return Separator(FakeBackend(gains, function), manifest, overlap, batch, **options)


def reference_for(manifest: Manifest) -> Reference:
    """Noise through a network of random masks; what comes before the masks is random, too."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes(manifest).items()}
    stft = Stft.of(manifest.stft)
    arrays["waveform"] *= 0.1
    arrays["spectrogram"] = stft.forward(arrays["waveform"])
    mask, mixture = (arrays[name].view(np.complex64) for name in ("mask", "spectrogram"))
    arrays["stems"] = (mask * mixture[:, None]).view(np.float32)
    arrays["stem_waveforms"] = stft.inverse(arrays["stems"])
    return Reference(manifest.checkpoint.sha256, manifest.checkpoint.weights, arrays)
