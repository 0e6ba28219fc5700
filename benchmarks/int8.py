"""Whether int8 weights are worth having on a CPU: one full-size layer, 8 s, weights from a seed.

    python benchmarks/int8.py [--rounds 3] [--threads N]

ONNX Runtime's two ways to quantize the weights of products, against float32: whole tensors with the inputs quantized
as they come (MatMulInteger), and blocks of 64 weights (MatMulNBits), computed in int8 or in float32. Prints file size,
time and SNR. Needs 4 GB and minutes on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from bsmamba2.config import ModelConfig
from bsmamba2.networks.model import BandSplitSeparator
from export.graph.to_onnx import to_onnx
from runtime.dsp.difference import difference
from runtime.engine.manifest import Range

FRAMES = 801
BLOCKS = {"int8 in blocks of 64, computed in int8": 4, "int8 in blocks of 64, computed in float32": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = BandSplitSeparator(ModelConfig(depth=1)).eval()
    mixture = np.random.default_rng(0).standard_normal((1, FRAMES, 1025, 2, 2)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"float32": Path(folder) / "float32.onnx", "int8 tensors": Path(folder) / "tensors.onnx"}
        onnx.save(to_onnx(model, Range(FRAMES, FRAMES, FRAMES)), paths["float32"])
        extra = {"EnableSubgraph": True, "MatMulConstBOnly": True}
        quantize_dynamic(
            paths["float32"],
            paths["int8 tensors"],
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            extra_options=extra,
        )
        for name, accuracy in BLOCKS.items():
            paths[name] = Path(folder) / f"blocks{accuracy}.onnx"
            quantizer = MatMulNBitsQuantizer(
                onnx.load(paths["float32"]), bits=8, block_size=64, is_symmetric=True, accuracy_level=accuracy
            )
            quantizer.process()
            quantizer.model.save_model_to_file(str(paths[name]), False)
        sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
        sessions = {name: ort.InferenceSession(path, options) for name, path in paths.items()}
    stems = {name: session.run(None, {"mixture": mixture})[0] for name, session in sessions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(args.rounds):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"mixture": mixture})
            seconds[name].append(time.perf_counter() - start)
    print("| weights | ONNX, MB | median, s | time / float32 | SNR, dB |\n| --- | --- | --- | --- | --- |")
    for name, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(each, seconds["float32"], strict=True))
        snr = difference(stems[name], stems["float32"]).snr_db
        shown = "" if snr is None else f"{snr:.1f}"
        print(f"| {name} | {sizes[name]:.1f} | {statistics.median(each):.2f} | {ratio:.2f} | {shown} |")


if __name__ == "__main__":
    main()
