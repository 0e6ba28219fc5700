"""GPU memory for the intermediate results of one Mamba2 block, as TensorRT-RTX's builder tells it, in several forms.

    python benchmarks/activations.py [--precision fp16]

A block of the published size along time (62 sequences of 801 frames) and along the sub-bands (801 of 62), batch 1:
both directions side by side, in turn as they are exported (export.graph.in_turn), other chunk lengths of the scan, and
the sequences in parts. Needs no GPU; ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import onnx
import torch
from plans import kernels_of, sums_of
from torch import Tensor, nn

from bsmamba2.config import ModelConfig
from bsmamba2.networks import scan
from bsmamba2.networks.mamba2 import MambaBlock
from bsmamba2.networks.precision import DTYPES, to_precision
from export.graph.assembly import Assembly
from export.graph.in_turn import InTurn
from export.graph.template import template_of
from export.plan.sums import accumulate_in_float32
from runtime.engine.flavours import bindings, quiet_logger

CONFIG = ModelConfig()
AXES = {"time": (62, 801), "sub-bands": (801, 62)}
TYPES = {"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}


class InParts(nn.Module):
    """`block` on a part of the sequences after the other; each part waits for the one before."""

    def __init__(self, block: nn.Module, parts: int) -> None:
        super().__init__()
        self.block, self.parts = block, parts

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[0] + self.parts - 1) // self.parts
        outputs: list[Tensor] = []
        for start in range(self.parts):
            part = x[start * size : (start + 1) * size]
            outputs.append(self.block(part + 0 * outputs[-1][:1] if outputs else part))
        return torch.cat(outputs)


def measured(form: nn.Module, precision: str, sequences: int, length: int) -> str:
    dim, narrow = CONFIG.dim, DTYPES[precision]
    example = (torch.zeros(3, length, dim, dtype=narrow),)
    template = template_of(form.eval(), example, ["x"], ["out"], ({0: torch.export.Dim("sequences")},))
    graph = Assembly()
    graph.place(template, form, "block.", ["x"], ["out"])
    shape = ["sequences", length, dim]
    made = graph.model(*([onnx.helper.make_tensor_value_info(name, TYPES[precision], shape)] for name in ("x", "out")))

    trt = bindings("tensorrt-rtx")
    logger = quiet_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(made.SerializeToString()):
        raise RuntimeError(logger.first())
    accumulate_in_float32(trt, network)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", *[(sequences, length, dim)] * 3)
    config.add_optimization_profile(profile)
    plan = bytes(builder.build_serialized_network(network, config))
    return f"{logger.activations / 1e9:.2f} | {kernels_of(plan)} | {sums_of(plan)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=TYPES, default="fp16")
    precision = parser.parse_args().precision
    torch.manual_seed(0)
    block = MambaBlock(CONFIG)
    to_precision(block, precision)
    forms: dict[str, tuple[nn.Module, int]] = {
        "directions side by side": (block, 64),
        "in turn (exported)": (InTurn(block), 64),
        "in turn, chunks of 32": (InTurn(block), 32),
        "in turn, chunks of 128": (InTurn(block), 128),
        "in turn, in two parts": (InParts(InTurn(block), 2), 64),
    }
    print(f"| along | form | memory, GB | kernels | products |\n{'| --- ' * 5}|", flush=True)
    for axis, sizes in AXES.items():
        for name, (form, chunk) in forms.items():
            with patch.object(scan, "SCAN_CHUNK", chunk):
                print(f"| {axis} | {name} | {measured(form, precision, *sizes)} |", flush=True)


if __name__ == "__main__":
    main()
