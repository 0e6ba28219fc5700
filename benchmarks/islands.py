"""What each float32 part of a typed network is worth: waveform SNR against float32, with all parts and without one.

    python benchmarks/islands.py [--clip SONG.flac] [--ckpt demo]

Runs the golden networks of tests/golden in PyTorch on the CPU, their own inputs; given a clip, the checkpoint on its
first two seconds as well. "loud" is the same input 1000 times as loud, which a network hardly notices; "strong" has the
inputs and gates of its scans (a) 100 times as large, or its residual stream (d) 1000 times: activations beyond 1e3. Two
minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.networks import layers, mamba2, model, scan
from bsmamba2.networks.precision import DTYPES, to_precision
from runtime.dsp.stft import Stft

STFT = Stft(2048, 441)


def narrow_rms(x: Tensor, gamma: Tensor) -> Tensor:
    norm = x.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)
    return x / norm * (gamma.shape[-1] ** 0.5 * gamma).to(x.dtype)


def without_band_norm(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    wide = layers.RMSNorm.forward

    def forward(self: layers.RMSNorm, x: Tensor) -> Tensor:
        return narrow_rms(x.to(kind), self.gamma) if x.dtype == torch.float32 else wide(self, x)

    return layers.RMSNorm, "forward", forward


def without_rms(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    wide = layers.RMSNorm.forward

    def forward(self: layers.RMSNorm, x: Tensor) -> Tensor:
        return narrow_rms(x, self.gamma) if x.dtype == kind else wide(self, x)

    return layers.RMSNorm, "forward", forward


def without_mean_square(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    def forward(self: mamba2.MeanSquareNorm, x: Tensor) -> Tensor:
        x = x.to(kind)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + mamba2.EPS) * self.weight.to(kind)

    return mamba2.MeanSquareNorm, "forward", forward


def without_gate(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    def forward(self: mamba2.GatedNorm, y: Tensor, z: Tensor) -> Tensor:
        return mamba2.MeanSquareNorm.forward(self, y * F.silu(z))

    return mamba2.GatedNorm, "forward", forward


def with_scan(change: Callable[..., Tensor]) -> tuple[type, str, Callable[..., Tensor]]:
    wide = mamba2.Mamba2.forward

    def forward(self: mamba2.Mamba2, u: Tensor, reverse: bool = False) -> Tensor:
        self.form = scan.Form(change, scan.depthwise_conv)
        try:
            return wide(self, u, reverse)
        finally:
            self.form = scan.scan_named("chunked")

    return mamba2.Mamba2, "forward", forward


def without_dt(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    """dt rounded to the narrow type, as softplus in it would give it; the decays made of it stay float32."""
    return with_scan(lambda x, dt, a, b, c: scan.chunked_scan(x, dt.to(kind).float(), a, b, c))


def without_decays(kind: torch.dtype) -> tuple[type, str, Callable[..., Tensor]]:
    return with_scan(lambda x, dt, a, b, c: scan.chunked_scan(x, dt.to(kind), a.to(kind), b, c))


def without_mask(kind: torch.dtype) -> tuple[object, str, Callable[..., Tensor]]:
    wide = model.complex_product
    return model, "complex_product", lambda a, b: wide(a.to(kind), b.to(kind)).float()


ISLANDS: dict[str, Callable[[torch.dtype], tuple[object, str, Callable[..., Tensor]]]] = {
    "input norm of the band split": without_band_norm,
    "RMSNorm statistics": without_rms,
    "Mamba2 norm statistics": without_mean_square,
    "gate before the norm": without_gate,
    "dt": without_dt,
    "decays: sums and exponentials": without_decays,
    "mask product": without_mask,
}


@contextmanager
def patched(owner: object, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


def wave(network: model.BandSplitSeparator, mixture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return STFT.inverse(network(torch.from_numpy(mixture)).numpy())


def snr(found: np.ndarray, reference: np.ndarray) -> float:
    if not np.isfinite(found).all():
        return float("nan")
    return 10 * float(np.log10(np.sum(reference**2) / np.sum((found - reference) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--ckpt", default="demo")
    args = parser.parse_args()

    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import golden_data

    cases = {name: (golden_data.network(name), golden_data.wave_in(name)) for name in golden_data.CASES}
    if args.clip:
        import soundfile

        song, rate = soundfile.read(args.clip, dtype="float32", always_2d=True)
        cases[args.clip.parent.name] = (load_checkpoint(args.ckpt).model(), song.T[None, :, : 2 * rate])
    scans, residual = copy.deepcopy(cases["a"][0]), copy.deepcopy(cases["d"][0])
    for module in scans.modules():
        if isinstance(module, mamba2.Mamba2):
            inner = module.sizes[0]
            module.in_proj.weight.data[: 2 * inner] *= 100
    for to_features in residual.band_split.to_features:
        to_features[1].weight.data *= 1000
    cases["a, strong"], cases["d, strong"] = (scans, cases["a"][1]), (residual, cases["d"][1])
    cases["a, loud"] = (cases["a"][0], 1000 * cases["a"][1])
    for precision in ("fp16", "bf16"):
        kind = DTYPES[precision]
        print(f"\n{precision}: waveform SNR in dB, nan: not finite\n")
        print(f"| 16-bit as well | {' | '.join(cases)} |\n|{' --- |' * (len(cases) + 1)}")
        rows: dict[str, list[str]] = {name: [] for name in ("(none)", *ISLANDS)}
        for network, waves in cases.values():
            mixture = STFT.forward(waves)
            reference = wave(network, mixture)
            typed = copy.deepcopy(network)
            to_precision(typed, precision)
            rows["(none)"].append(f"{snr(wave(typed, mixture), reference):.1f}")
            for name, island in ISLANDS.items():
                with patched(*island(kind)):
                    rows[name].append(f"{snr(wave(typed, mixture), reference):.1f}")
        for name, values in rows.items():
            print(f"| {name} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
