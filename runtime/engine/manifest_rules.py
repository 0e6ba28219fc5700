"""What a manifest must fulfil besides the types of its fields: it is untrusted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtime.engine.manifest_fields import REMEDY
from runtime.engine.manifest_parts import (
    FLAVOURS,
    HARDWARE,
    IOS,
    PRECISIONS,
    SCANS,
    TARGETS,
    Model,
    Msst,
    Plan,
    io_tensors,
    length_of,
    probe_tensors,
)
from runtime.errors import ManifestError

if TYPE_CHECKING:
    from runtime.engine.manifest import Manifest


def check(m: Manifest, where: str) -> None:
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
