"""An engine's matrix products, found by running it once with ONNX Runtime's profiler, and computed alone.

The rest of an engine's time is spent on moving data, elementwise operations and starting nodes.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench.contenders import Mixtures, Work
from runtime.bench.results import Product, ProductTime
from runtime.engine.manifest import INPUT_NAME
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError

OPERATORS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm"}
TYPES = {"float": np.float32, "float16": np.float16, "double": np.float64}  # ONNX Runtime's names
SAMPLE_SECONDS, MOST_RUNS = 0.01, 20  # for one product in a round: at least so long, or so many runs


@dataclass(frozen=True)
class ProductsContender:
    """The matrix products of an ONNX engine, in their own sizes, on the CPU."""

    name: str
    path: Path
    work: Work
    threads: int | None
    folder: Path  # for the profiler's file
    optional: bool = True

    def open(self) -> ProductsSession:
        manifest = read_manifest(self.path)
        mixture = Mixtures(manifest).of(replace(self.work, io=manifest.io))
        events = profile(self.path, {INPUT_NAME: mixture}, self.threads, self.folder)
        return ProductsSession(products_of(events), self.threads)


def profile(
    engine: Path | bytes, inputs: dict[str, np.ndarray], threads: int | None, folder: Path
) -> list[dict[str, Any]]:
    """ONNX Runtime's events of one run on the CPU; nodes inside Scans and Loops have one event per iteration."""
    import onnxruntime as ort

    from runtime.backends.onnxruntime import session_options

    options = session_options(threads)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = ort.InferenceSession(engine, options, ["CPUExecutionProvider"])
    session.run(None, inputs)
    path = Path(session.end_profiling())
    try:
        events: list[dict[str, Any]] = json.loads(path.read_text())
    finally:
        path.unlink()
    return events


def products_of(events: Iterable[dict[str, Any]]) -> Counter[Product]:
    """The products in a profile's events, and how often each is computed. Raises EngineError if there are none."""
    found: Counter[Product] = Counter()
    for event in events:
        args = event.get("args", {})
        is_kernel = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if is_kernel and args.get("op_name") in OPERATORS:
            inputs = [next(iter(each.items())) for each in args["input_type_shape"]]
            (out,) = next(iter(args["output_type_shape"])).values()
            found[_product(args["op_name"], inputs, tuple(out))] += 1
    if not found:
        raise EngineError("the engine computes no matrix products")
    return found


def _product(operator: str, inputs: list[tuple[str, list[int]]], out: tuple[int, ...]) -> Product:
    """A product of the same sizes without transpositions.

    A prepacked weight is not among the inputs; its shape follows from the other shapes. Gemm may have a bias as the
    last input.
    """
    (dtype, first), rest = inputs[0], [tuple(shape) for _, shape in inputs[1:]]
    left = tuple(first)
    m, n = out[-2], out[-1]
    if operator.endswith("Gemm"):
        k = math.prod(left) // m
        weight = not rest or len(rest[0]) != 2 or sorted(rest[0]) != sorted((k, n))
        return Product((m, k), (k, n), weight, dtype)
    if not rest:
        k = math.prod(left) * n // math.prod(out)
        return Product((*out[:-1], k), (k, n), True, dtype)
    right = rest[0]
    k = next((k for k in (left[-1], left[-2]) if _fits(left, m, k) and _fits(right, k, n)), 0)
    if k and np.broadcast_shapes(left[:-2], right[:-2]) == out[:-2]:
        return Product((*left[:-2], m, k), (*right[:-2], k, n), False, dtype)
    k = math.prod(left) // math.prod(out[:-1])  # the batch axes are transposed as well
    return Product((*out[:-1], k), (*out[:-2], k, n), False, dtype)


def _fits(shape: tuple[int, ...], rows: int, columns: int) -> bool:
    """Whether the last two axes are `rows` and `columns`, in either order."""
    return sorted(shape[-2:]) == sorted((rows, columns))


class ProductsSession:
    """Runs every distinct product, one after the other."""

    def __init__(self, products: Counter[Product], threads: int | None) -> None:
        import onnxruntime as ort

        self.executor = f"onnxruntime {ort.__version__}, CPU"
        self._products, self._threads = products, threads
        self._samples: dict[Product, list[float]] = {product: [] for product in products}

    def run(self, work: Work) -> float:
        """Seconds for all products of one run of the engine; each distinct product is measured a few times."""
        for product, samples in self._samples.items():
            samples.append(seconds_alone(product, self._threads))
        return sum(count * self._samples[product][-1] for product, count in self._products.items())

    def each(self) -> list[ProductTime]:
        """Every distinct product with the median of its samples, the most expensive first."""
        times = [ProductTime(each, n, statistics.median(self._samples[each])) for each, n in self._products.items()]
        return sorted(times, key=lambda each: each.count * each.seconds, reverse=True)


def seconds_alone(product: Product, threads: int | None) -> float:
    """Seconds of one product in ONNX Runtime, median of a few runs, without copying operands.

    The session is closed afterwards, which releases its memory and threads.
    """
    import onnxruntime as ort

    from runtime.backends.onnxruntime import session_options

    if product.dtype not in TYPES:
        raise EngineError(f"a matrix product of type {product.dtype}: expected one of {', '.join(TYPES)}")
    dtype = TYPES[product.dtype]
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal(shape, np.float32).astype(dtype) for shape in (product.left, product.right))
    session = ort.InferenceSession(
        one_product(left, right, product), session_options(threads), ["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    # Kept in variables: a binding holds no reference to the memory it is bound to.
    bound = {"left": left} if product.weight else {"left": left, "right": right}
    operands = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in bound.items()}
    out = ort.OrtValue.ortvalue_from_shape_and_type(list(product.out), dtype)
    for name, value in operands.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_ortvalue_output("out", out)
    session.run_with_iobinding(binding)  # the first run touches new memory
    times: list[float] = []
    while not times or (sum(times) < SAMPLE_SECONDS and len(times) < MOST_RUNS):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def one_product(left: np.ndarray, right: np.ndarray, product: Product) -> bytes:
    """An ONNX file that computes `left` times `right`; a weight is stored in the file."""
    from onnx import helper, numpy_helper

    dtype = helper.np_dtype_to_tensor_dtype(left.dtype)

    def value(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, dtype, shape)

    inputs = [value("left", product.left)] + ([] if product.weight else [value("right", product.right)])
    weights = [numpy_helper.from_array(right, "right")] if product.weight else []
    node = helper.make_node("MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph([node], "product", inputs, [value("out", product.out)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    out: bytes = model.SerializeToString()
    return out
