"""Run a reference through an engine and compare every stage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend, Probing
from runtime.dsp.stft import Stft
from runtime.engine.manifest import Manifest
from runtime.errors import EngineError
from runtime.parity.reference import Reference, shapes
from runtime.parity.stages import FEATURES, SPECTROGRAM, STEMS, WAVEFORMS, Stage, compare

Float = NDArray[np.float32]

AUDIBLE = 1e-3  # of the mixture's peak, -60 dB: above it a mask can be recovered by division
MASK, RECOVERED = "mask", "mask (recovered)"
STAGES = {  # of the names in a reference: in words, and their axes
    "spectrogram": ("STFT", SPECTROGRAM),
    MASK: (MASK, STEMS),
    "stems": ("masked spectrogram", STEMS),
    "stem_waveforms": ("waveform", WAVEFORMS),
}


class Drawn(NamedTuple):
    """PyTorch's stems and the engine's as spectrograms, [b, s, t, f, c, 2] each."""

    reference: Float
    found: Float


def replay(backend: Backend, manifest: Manifest, reference: Reference) -> tuple[list[Stage], Drawn]:
    """The comparison of every stage that can be seen, in processing order, and the stems to be drawn.

    An engine with spectrograms gets the reference's own spectrogram, so that its stages depend on the engine alone; the
    runtime's STFT is a stage of its own. An engine with waveforms gets the waveform; without probes only its stems can
    be compared. Both run at their smallest batch size. Raises EngineError.
    """
    stft = Stft.of(manifest.stft)
    batch = manifest.batch.min
    expected = {
        name: array if batch == 1 else np.repeat(array, batch, axis=0) for name, array in reference.arrays.items()
    }
    is_wave = manifest.io == "wave"
    found = dict(_outputs(backend, manifest, expected["waveform" if is_wave else "spectrogram"]))
    wanted = expected["stem_waveforms" if is_wave else "stems"].shape
    if found["stems"].shape != wanted:
        raise EngineError(f"the engine gives {found['stems'].shape}, expected {wanted}: export it again")
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and Inf are counted later
        if is_wave:
            found["stem_waveforms"] = found.pop("stems")
            if "masked_spectrogram" in found:
                found["stems"] = found.pop("masked_spectrogram")
        else:
            found["stem_waveforms"] = stft.inverse(found["stems"])
            found["spectrogram"] = stft.forward(expected["waveform"])
        stages = _compared(found, expected, manifest)
        if "stems" in found:
            return stages, Drawn(reference["stems"], found["stems"])
        return stages, Drawn(*(stft.forward(each["stem_waveforms"]) for each in (reference, found)))


def _compared(found: dict[str, Float], expected: dict[str, Float], manifest: Manifest) -> list[Stage]:
    """The comparison of every stage in `found`; an engine's mask is recovered from its stems where it is missing."""
    stages = []
    for name in (each for each in shapes(manifest) if each in found or each == MASK):
        words, axes = STAGES.get(name, (in_words(name), FEATURES))
        precision = "fp32" if name == "spectrogram" else manifest.precision
        if name == MASK and name not in found:
            if "stems" not in found:
                continue
            mask, audible = recovered_mask(found["stems"], expected["spectrogram"])
            stages.append(compare(RECOVERED, STEMS, mask, expected[MASK], precision, manifest, audible))
        else:
            stages.append(compare(words, axes, found[name], expected[name], precision, manifest))
    return stages


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
