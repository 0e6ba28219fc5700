"""The check of an engine in OpenVINO when it is opened for the first time.

The manifest records how far ONNX Runtime's stems of the test signal were from PyTorch's at the export. Here ONNX
Runtime computes the same signal on this machine's CPU, and OpenVINO's stems are compared with that. The recorded
difference plus the one found is the largest that OpenVINO's can have from PyTorch's, if ONNX Runtime computes here what
it did there. `bsm-parity --device openvino` compares with PyTorch itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.backends import Backend
from runtime.dsp.difference import TOLERANCES, difference
from runtime.dsp.signal import signal_input
from runtime.engine.manifest import Manifest, Parity
from runtime.errors import EngineError

Float = NDArray[np.float32]

REDUCED = {"f16": "fp16", "bf16": "bf16"}  # hint -> the precision whose tolerances it has


class Expected(NamedTuple):
    """An input and ONNX Runtime's stems of it, in one of the forms of the manifest's `io`."""

    mixture: Float
    stems: Float


def expected_stems(engine: Path, manifest: Manifest, threads: int | None) -> list[Expected]:
    """ONNX Runtime's stems of the test signal, for the frames the engine is optimised for and the fewest it accepts.

    The engine is compared with its manifest on the way. Raises EngineError, ManifestError.
    """
    from runtime.backends.onnxruntime import ON_CPU, OnnxRuntimeBackend

    stft, channels, frames = manifest.stft, manifest.model.channels, manifest.frames
    expected = []
    backend = OnnxRuntimeBackend(engine, threads, ON_CPU, lean=manifest.target == "gpu", manifest=manifest)
    with closing(backend):
        backend.require(manifest.input, manifest.output, manifest.inside_onnx(), manifest.probes)
        for length in dict.fromkeys((frames.opt, frames.min)):
            mixture = signal_input(stft, channels, length, manifest.io)
            mixture = np.repeat(mixture, manifest.batch.min, axis=0)
            expected.append(Expected(mixture, backend.run(mixture)))
    return expected


def require_parity(backend: Backend, expected: Sequence[Expected], engine: Path, manifest: Manifest, hint: str) -> str:
    """What was found, in a line. Raises EngineError if it is beyond the tolerance."""
    tolerance, required = allowed(manifest.parity, hint)
    try:
        differences = [difference(backend.run(each.mixture), each.stems) for each in expected]
    except EngineError as error:  # NaN, say
        raise EngineError(f"{engine}: the check of {backend.name} failed ({error}): use --device cpu") from error
    worst = max(differences, key=lambda each: each.max_error)
    largest = worst.max_error + manifest.parity.max_error
    snr = sum_of_snr(worst.snr_db, manifest.parity.snr_db)
    words = (
        f"stems in {backend.name} differ from ONNX Runtime's by {worst.max_error:.1e} of the peak, so from PyTorch's "
        f"by at most {largest:.1e} (tolerance {tolerance:.0e}), SNR {snr:.0f} dB (at least {required:.0f})"
    )
    if not (largest <= tolerance and snr >= required):
        raise EngineError(f"{engine}: {words}: use --device cpu")
    return f"checked once: {words}"


def allowed(recorded: Parity, hint: str) -> tuple[float, float]:
    """The largest error and the smallest SNR: the engine's own, or those of the precision asked for, if looser."""
    if hint not in REDUCED:
        return recorded.tolerance, recorded.required_snr_db
    tolerance, required = TOLERANCES[REDUCED[hint]]
    return max(tolerance, recorded.tolerance), min(required, recorded.required_snr_db)


def sum_of_snr(*snrs: float | None) -> float:
    """The SNR in dB if errors of these add up in the worst way; None is no error."""
    noise = sum(10 ** (-each / 20) for each in snrs if each is not None)
    return -20 * math.log10(noise) if noise else math.inf
