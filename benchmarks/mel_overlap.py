"""What overlapping sub-bands cost: the bins that are taken twice, and the mean of their masks, in ONNX Runtime.

    python benchmarks/mel_overlap.py

The two steps of a Mel-Band RoFormer of the published size (mel-roformer-kim) that other networks do not have, in a
graph of their own, on one chunk of 8 s. Divide by the engine's seconds a chunk (benchmarks/full_size.py). A minute.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import onnx
import onnxruntime as ort
import torch
from networks import NETWORKS
from torch import Tensor, nn

from bsmamba2.networks.bands import OverlapMean, in_bands
from export.graph.assembly import Assembly
from export.graph.bands import groups_of, places_of
from export.graph.template import template_of
from runtime.backends.onnxruntime import session_options

ROUNDS = 10
FLOAT = onnx.TensorProto.FLOAT


class Overlap(nn.Module):
    """mixture [b, t, f + 1, c, 2] -> its bins by sub-band; masks [b, s, t, p, c, 2] -> those of the bins."""

    def __init__(self, places: list[int], bins: int) -> None:
        super().__init__()
        self.places, self.mean = places, OverlapMean(places, bins)

    def forward(self, mixture: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        return in_bands(mixture, self.places), self.mean(masks)


def main() -> None:
    build, frames = NETWORKS["mel-roformer-kim"]
    config = build()
    places = places_of(config, groups_of(config))
    shapes = {
        "mixture": (1, frames, config.stft.bins + 1, config.channels, 2),
        "masks": (1, len(config.stems), frames, len(places), config.channels, 2),
    }
    module = Overlap(places, config.stft.bins)
    template = template_of(module, tuple(map(torch.zeros, shapes.values())), list(shapes), ["bands", "mean"], None)
    graph = Assembly()
    graph.place(template, module, "overlap.", list(shapes), ["bands", "mean"])
    made = graph.model(
        [onnx.helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items()],
        [onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in ("bands", "mean")],
    )
    session = ort.InferenceSession(made.SerializeToString(), session_options(None))
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        session.run(None, given)
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    print(
        f"{statistics.median(seconds):.3f} s ({seconds[0]:.3f} to {seconds[-1]:.3f}) a chunk, {len(places)} positions"
    )


if __name__ == "__main__":
    main()
