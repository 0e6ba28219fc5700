"""`--scan plugin`: the fused scan as a TensorRT plugin. For full TensorRT only: a plugin aborts TensorRT-RTX.

The plugin is known while a plan is built, by `bsmamba2::SSDScan`, the name of the nodes of export.graph.custom_scan.
TensorRT copies the kernel's PTX and how it is launched into the plan, which then needs neither Python nor this package:
an ahead-of-time plugin (module `tensorrt.plugin`, from TensorRT 10.9 on).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsmamba2.config import ModelConfig
from export.errors import ExportError
from export.graph.custom_scan import DOMAIN, NAME
from export.plan.scan_kernel import kernel_of

ID = f"{DOMAIN}::{NAME}"


def require_network(config: ModelConfig, precision: str) -> None:
    """Raise ExportError unless the kernel is for a network of these sizes."""
    if config.kind == "transformer":
        raise ExportError("--scan plugin: this network has no Mamba2: leave it out")
    kernel = kernel_of(precision)
    found, needed = (config.headdim, config.d_state), (kernel.headdim, kernel.d_state)
    if found != needed:
        raise ExportError(
            f"--scan plugin: the kernel is for a head dimension of {needed[0]} and a state of {needed[1]}, and this "
            f"network has {found[0]} and {found[1]}: use --scan chunked"
        )


def register_scan(trt: Any) -> None:
    """Make the plugin known to TensorRT, whose module is `trt`, once in a process. Raises ExportError."""
    try:
        trtp: Any = importlib.import_module(f"{trt.__name__}.plugin")
        is_known = hasattr(getattr(trtp.op, DOMAIN, None), NAME)
        if not is_known:
            _register(trt, trtp)
    except Exception as error:  # the module says what it does not like by ValueError, AttributeError and others
        raise ExportError(
            f"--scan plugin: TensorRT {trt.__version__} does not take the plugin ({error}): use --scan chunked"
        ) from error


def _register(trt: Any, trtp: Any) -> None:
    precisions = {trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16"}

    def described(x: Any, dt: Any, a: Any, b: Any, c: Any, d: Any, reverse: Any) -> Any:
        return x.like()

    def compiled(
        x: Any, dt: Any, a: Any, b: Any, c: Any, d: Any, reverse: Any, outputs: Any, tactic: Any
    ) -> tuple[Any, ...]:
        kernel = kernel_of(precisions[x.dtype])
        sequences, length, heads = (x.shape_expr[i] for i in range(3))
        how = trtp.KernelLaunchParams(
            grid_x=kernel.grid(sequences, heads), block_x=kernel.threads, shared_mem=kernel.shared
        )
        integers = kernel.integers(length, heads, bool(reverse[0]))
        return kernel.entry, kernel.ptx, how, trtp.SymIntExprs.from_tuple([trtp.SymInt32(each) for each in integers])

    # The module reads the types off the functions, and takes no annotations that are strings. A single int is read as
    # an array: the module of TensorRT 10.9 cannot make an int of what it gets with NumPy from 2.4 on.
    tensors = dict.fromkeys(("x", "dt", "a", "b", "c", "d"), trtp.TensorDesc)
    described.__annotations__ = {**tensors, "reverse": NDArray[np.int64], "return": trtp.TensorDesc}
    compiled.__annotations__ = {"return": tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]}
    trtp.register(ID)(described)
    trtp.aot_impl(ID)(compiled)


def require_plugin(trt: Any, network: Any) -> None:
    """Raise ExportError unless the scans of the parsed `network` are the plugin: without it they are their bodies."""
    if not any(network.get_layer(i).type == trt.LayerType.PLUGIN_V3 for i in range(network.num_layers)):
        raise ExportError(
            f"--scan plugin: TensorRT {trt.__version__} did not use the plugin for the scans: use --scan chunked"
        )
