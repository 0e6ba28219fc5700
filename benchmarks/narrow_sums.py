"""What it costs if sums of 16-bit products are rounded to float16 on the way: waveform SNR against float32, in dB.

    python benchmarks/narrow_sums.py [--full]

The golden networks a, b and c of tests/golden (BSMamba2) in fp16, for GPUs, in ONNX Runtime on the CPU, which adds up
in float32. Then with their products in steps of 16 terms, the depth of a tensor core's product, whose partial sums are
added in float16: the products of activations, which a plan may compute so, and all products, which export.plan.sums
prevents. With `--full` one layer of the published size on the test signal of 8 s instead. A minute, or ten, on two
cores. (In plans of RoFormers, all products accumulate in float32: benchmarks/plans.py.)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from networks import NETWORKS
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bsmamba2.networks.model import BandSplitSeparator
from export.graph.to_onnx import to_onnx
from export.proof.blockwise import BlockwiseBackend
from export.proof.pytorch import pytorch_stems
from runtime.dsp.difference import difference
from runtime.dsp.signal import signal_mixture
from runtime.dsp.stft import Stft
from runtime.engine.manifest import Range

FLOAT16 = onnx.TensorProto.FLOAT16
STEP = 16  # terms that are added up exactly


def in_steps(model: onnx.ModelProto, with_weights: bool) -> onnx.ModelProto:
    """A copy in which float16 products, of activations or all, add their partial sums in float16."""
    known = onnx.shape_inference.infer_shapes(model).graph
    shapes = {each.name: each.type.tensor_type for each in (*known.value_info, *known.input, *known.output)}
    weights = {each.name: list(each.dims) for each in model.graph.initializer}
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.node[:]
    for node in model.graph.node:
        first = shapes.get(node.input[0]) if node.op_type == "MatMul" else None
        if first is None or (node.input[1] in weights and not with_weights) or first.elem_type != FLOAT16:
            out.graph.node.append(node)
            continue
        terms = first.shape.dim[-1].dim_value
        if not terms:
            raise ValueError(f"{node.name}: the number of its terms is not known")
        sizes = [min(STEP, terms - start) for start in range(0, terms, STEP)]
        out.graph.initializer.append(numpy_helper.from_array(np.array(sizes), f"{node.name}.sizes"))
        parts = []
        for name, axis in zip(node.input, (-1, -2), strict=True):
            parts.append([f"{node.name}.{axis}.{i}" for i in range(len(sizes))])
            out.graph.node.append(helper.make_node("Split", [name, f"{node.name}.sizes"], parts[-1], axis=axis))
        sums = [f"{node.name}.sum.{i}" for i in range(len(sizes) - 1)] + [node.output[0]]
        for i, pair in enumerate(zip(*parts, strict=True)):
            partial = f"{node.name}.partial.{i}" if i else sums[0]
            out.graph.node.append(helper.make_node("MatMul", pair, [partial]))
            if i:
                out.graph.node.append(helper.make_node("Add", [sums[i - 1], partial], [sums[i]]))
    return out


def row(name: str, model: BandSplitSeparator, mixture: NDArray[np.float32]) -> str:
    frames, stft = mixture.shape[1], model.config.stft
    graph = to_onnx(model, Range(frames, frames, frames), "fp16", target="gpu")
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = len(mixture)
    inverse = Stft(stft.n_fft, stft.hop_length).inverse
    wanted = inverse(pytorch_stems(model, mixture))
    cells = [name]
    for made in (graph, in_steps(graph, False), in_steps(graph, True)):
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(made, Path(folder) / "x.onnx")
            with closing(BlockwiseBackend(Path(folder) / "x.onnx")) as blocks:
                found = difference(inverse(blocks.run(mixture)), wanted)
        cells.append(f"{found.snr_db:.1f} ({found.max_error:.1e})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    print("| network | sums in float32 | products of activations in float16 | all in float16 |\n" + "| --- " * 4 + "|")
    if full:
        build, frames = NETWORKS["mamba2"]
        torch.manual_seed(0)
        model = BandSplitSeparator(replace(build(), depth=1)).eval()
        print(row("one full-size layer", model, signal_mixture(model.config.stft, model.config.channels, frames)))
        return
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import golden_data

    for name in ("a", "b", "c"):
        model = golden_data.network(name)
        mixture = Stft(2048, 441).forward(golden_data.wave_in(name))
        print(row(name, model, mixture), flush=True)


if __name__ == "__main__":
    main()
