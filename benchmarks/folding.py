"""What each change to the network's form gains on a CPU: one full-size layer, 8 s, ONNX Runtime, weights from a seed.

    python benchmarks/folding.py [--kind mamba2|transformer] [--rounds 5] [--threads N]

Every row is the form that bsm-export writes with one thing left out. Prints medians, ranges, the ratio to the exported
form and the peak memory. Minutes on two cores, 8 GB.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from turns import Form, compare

from bsmamba2.config import ModelConfig
from bsmamba2.networks.model import BandSplitSeparator
from export.graph import fold, sliced, to_onnx
from runtime.engine.manifest import Range

FRAMES = 801
DIM = {"mamba2": 256, "transformer": 384}


def by_taps(self: fold.FoldedMixer, x: Tensor, conv: nn.Conv2d) -> Tensor:
    """`FoldedMixer._convolved` as a sum over taps."""
    padded = F.pad(x, (0, 0, 0, self.halo) if self.backward else (0, 0, self.halo, 0))
    y = conv.bias
    for k in range(self.halo + 1):
        y = y + padded[:, k : k + x.shape[1]] * conv.weight[:, 0, 0, k]
    return F.silu(y)


def by_differences(log_decay: Tensor, triangle: fold.Triangle) -> Tensor:
    """`export.graph.fold._between` as differences of running sums."""
    total = log_decay @ triangle.to_here
    q = total.shape[-1]
    return total[..., :, None] - total[..., None, :] + triangle.pairs[-1].reshape(q, q)


def by_directions(self: fold.FoldedBlock, x: Tensor) -> Tensor:
    """`FoldedBlock.forward` with a product for each direction."""
    normal, inner, dim = fold.mean_square_norm(x, self.ones), self.ahead.norm_weight.shape[0], x.shape[-1]
    ahead, back, around = self.to_out.split([inner, inner, dim])
    return x @ around + self.bias + self.ahead(normal) @ ahead + self.back(normal) @ back


def nothing(*_: object) -> None:
    pass


def forms(kind: str) -> dict[str, Callable[[], object]]:
    """Name of a step -> a context that leaves it out."""
    left_out: dict[str, Callable[[], object]] = {
        "nothing": lambda: patch.object(to_onnx, "fold_dual_path", to_onnx.fold_dual_path),
        "sub-bands of equal width in groups": lambda: patch.object(to_onnx, "group_bands", nothing),
        "slices (all sequences at once instead)": lambda: patch.object(to_onnx, "slice_dual_path", nothing),
        "13 sequences per slice along the bands (90 instead)": lambda: patch.object(sliced, "ALONG_BANDS", 90),
    }
    if kind == "mamba2":
        left_out |= {
            "any folding": lambda: patch.object(to_onnx, "fold_dual_path", nothing),
            "one product for the output of both directions": lambda: patch.object(
                fold.FoldedBlock, "forward", by_directions
            ),
            "convolution between transpositions (a sum over taps instead)": lambda: patch.object(
                fold.FoldedMixer, "_convolved", by_taps
            ),
            "its weights inside the Scan": lambda: patch.object(to_onnx, "take_conv_weights_inside", nothing),
            "decays by one product (differences of running sums instead)": lambda: patch.object(
                fold, "_between", by_differences
            ),
        }
    return left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=DIM, default="mamba2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = BandSplitSeparator(ModelConfig(kind=args.kind, dim=DIM[args.kind], depth=1)).eval()
    shape = (1, FRAMES, model.config.stft.bins, model.config.channels, 2)
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for i, (name, leave_out) in enumerate(forms(args.kind).items()):
            path = Path(folder) / f"{i}.onnx"
            with leave_out():  # type: ignore[attr-defined]
                path.write_bytes(to_onnx.to_onnx(model, Range(FRAMES, FRAMES, FRAMES)).SerializeToString())
            made.append(Form(name, path, shape, args.threads))
        compare(made, args.rounds, "without")


if __name__ == "__main__":
    main()
