"""What each change to the network's form gains on a CPU: one full-size layer, 8 s, ONNX Runtime, weights from a seed.

    python benchmarks/folding.py [--kind mamba2|transformer] [--rounds 5] [--threads N]

Every row is the form that bsm-export writes with one thing left out. The forms take turns in one process, their threads
asleep between turns. Prints medians, ranges and the ratio to the exported form. Minutes on two cores, 4 GB.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.model import BandSplitSeparator
from export import fold, sliced, to_onnx
from runtime.manifest import Range

FRAMES = 801
DIM = {"mamba2": 256, "transformer": 384}


def by_taps(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """`export.fold._convolved` as a sum over taps."""
    taps = conv.weight.shape[2]
    length = x.shape[1] - taps + 1
    y = conv.bias
    for k in range(taps):
        y = y + x[:, k : k + length] * conv.weight[:, 0, k, 0]
    return F.silu(y)


def by_differences(log_decay: Tensor, triangle: fold.Triangle) -> Tensor:
    """`export.fold._between` as differences of running sums."""
    total = log_decay @ triangle.to_here
    q = total.shape[-1]
    return total[..., :, None] - total[..., None, :] + triangle.pairs[-1].reshape(q, q)


def nothing(*_: object) -> None:
    pass


def session(model: BandSplitSeparator, threads: int) -> ort.InferenceSession:
    graph = to_onnx.to_onnx(model, Range(FRAMES, FRAMES, FRAMES))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin after their turn would take time from the next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])


def forms(kind: str) -> dict[str, Callable[[], object]]:
    """What is left out -> how to leave it out."""
    left_out: dict[str, Callable[[], object]] = {
        "nothing": lambda: patch.object(to_onnx, "fold_dual_path", to_onnx.fold_dual_path),
        "sub-bands of equal width in groups": lambda: patch.object(to_onnx, "group_bands", nothing),
        "13 sequences a slice along the bands: 90": lambda: patch.object(sliced, "ALONG_BANDS", 90),
    }
    if kind == "mamba2":
        left_out |= {
            "folding altogether": lambda: patch.object(to_onnx, "fold_dual_path", nothing),
            "convolution between transpositions: sum over taps": lambda: patch.object(fold, "_convolved", by_taps),
            "its weights inside of the Scan": lambda: patch.object(to_onnx, "take_conv_weights_inside", nothing),
            "decays by one product: running sums": lambda: patch.object(fold, "_between", by_differences),
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
    mixture = np.random.default_rng(0).standard_normal((1, FRAMES, 1025, 2, 2)).astype(np.float32)
    sessions = {}
    for name, leave_out in forms(args.kind).items():
        with leave_out():  # type: ignore[attr-defined]
            sessions[name] = session(model, args.threads)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for i in range(args.rounds + 1):
        for name, each in sessions.items():
            start = time.perf_counter()
            each.run(None, {"mixture": mixture})
            if i:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - start)
    print("| left out | median, s | range, s | time / exported form |\n| --- | --- | --- | --- |")
    for name, each_seconds in seconds.items():
        ratios = [a / b for a, b in zip(each_seconds, seconds["nothing"], strict=True)]
        print(
            f"| {name} | {statistics.median(each_seconds):.2f} | {min(each_seconds):.2f} to {max(each_seconds):.2f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
