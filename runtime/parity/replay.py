"""Run a reference through an engine and compare every stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Probing
from runtime.dsp.stft import Stft
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError
from runtime.parity.reference import Reference
from runtime.parity.stages import FEATURES, SPECTROGRAM, STEMS, WAVEFORMS, Stage, compare

Float = NDArray[np.float32]

AUDIBLE = 1e-3  # of the mixture's peak, -60 dB: above it a mask can be recovered by division
MASK, RECOVERED = "mask", "mask (recovered)"


def replay(backend: Backend, manifest: Manifest, reference: Reference) -> tuple[list[Stage], Float]:
    """The comparison of every stage, in processing order, and the engine's stems [b, s, t, f, c, 2].

    The engine gets the reference's own spectrogram, at its smallest batch size, so that its stages depend on the engine
    alone; the runtime's STFT is a stage of its own. Raises EngineError.
    """
    stft = Stft.of(manifest.stft)
    batch, precision = manifest.batch.min, manifest.precision
    expected = {
        name: array if batch == 1 else np.repeat(array, batch, axis=0) for name, array in reference.arrays.items()
    }
    spectrum = stft.forward(reference["waveform"])
    stages = [compare("STFT", SPECTROGRAM, spectrum, reference["spectrogram"], "fp32", manifest)]

    found = _outputs(backend, manifest, expected["spectrogram"])
    stems = found["stems"]
    if stems.shape != expected["stems"].shape:
        raise EngineError(f"the engine gives {stems.shape}, expected {expected['stems'].shape}: export it again")
    for name in (each for each in expected if each == "band_features" or each.startswith("layer_")):
        if name in found:
            stages.append(compare(in_words(name), FEATURES, found[name], expected[name], precision, manifest))
    if MASK in found:
        stages.append(compare(MASK, STEMS, found[MASK], expected[MASK], precision, manifest))
    else:
        mask, audible = recovered_mask(stems, expected["spectrogram"])
        stages.append(compare(RECOVERED, STEMS, mask, expected[MASK], precision, manifest, audible))
    stages.append(compare("masked spectrogram", STEMS, stems, expected["stems"], precision, manifest))
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf are counted later
        waves = stft.inverse(stems)
    stages.append(compare("waveform", WAVEFORMS, waves, expected["stem_waveforms"], precision, manifest))
    return stages, stems


def in_words(probe: str) -> str:
    """`layer_1` as "layer 1"."""
    return probe.replace("_", " ")


def _outputs(backend: Backend, manifest: Manifest, mixture: Float) -> dict[str, Float]:
    if not manifest.probes:
        return {"stems": backend.run(mixture)}
    if not isinstance(backend, Probing):
        raise EngineError(f"{backend.name} gives no intermediate results: use the ONNX engine")
    return backend.run_probes(mixture)


def recovered_mask(stems: Float, mixture: Float) -> tuple[Float, NDArray[np.bool_]]:
    """The mask [b, s, t, f, c, 2] that turns `mixture` [b, t, f, c, 2] into `stems`, and where it is known."""
    over = _complex(mixture)[:, None]  # [b, 1, t, f, c]
    audible = np.abs(over) > AUDIBLE * np.abs(over).max()
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.where(audible, _complex(stems) / np.where(audible, over, 1), 0)
    mask = np.stack([ratio.real, ratio.imag], axis=-1)
    return mask, np.broadcast_to(audible[..., None], mask.shape)


def _complex(parts: Float) -> NDArray[np.complex64]:
    out: NDArray[np.complex64] = np.ascontiguousarray(parts).view(np.complex64)[..., 0]
    return out
