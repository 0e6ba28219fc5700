"""A graph for GPUs run on a CPU: block by block, and each block on some sequences at a time.

A block of the dual path works on independent sequences. On all of them at once, as on a GPU, its intermediate results
would take many gigabytes. The results are those of the whole graph.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from bsmamba2.networks.model import POSITIONS
from export.graph.nodes import nodes_of
from export.graph.save import save
from export.graph.waves import SPECTROGRAM
from runtime.backends import Done
from runtime.backends.onnxruntime import session_options
from runtime.engine.manifest import INPUT_NAME, OUTPUT_NAME
from runtime.errors import EngineError

Array = NDArray[Any]

BLOCK = re.compile(r"layers\.\d+\.\w+\.x")  # the input of a block [m, l, d], as export.graph.dual_path names it


class Piece(NamedTuple):
    """A part of a graph, from the tensors it takes to those it gives."""

    nodes: list[int]
    takes: list[str]
    gives: list[str]
    is_block: bool


class BlockwiseBackend:
    """A `runtime.backends.Backend` for the ONNX file `graph`, in ONNX Runtime on the CPU.

    The weights are read with the block that uses them, from a file in a temporary folder beside the graph.
    """

    depth = 1

    def __init__(self, graph: Path) -> None:
        self.name = f"onnxruntime {ort.__version__}, CPU, block by block"
        self.notes: list[str] = []
        # Not in the system's temporary folder, which may be in memory.
        self._folder = tempfile.TemporaryDirectory(dir=graph.parent, prefix=".bsm-check-")
        self._file = Path(self._folder.name) / "piece.onnx"
        save(onnx.load(graph), self._file, limit=0)
        self._model = onnx.load(self._file, load_external_data=False)
        self._weights = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._makers = {name: i for i, node in enumerate(self._model.graph.node) for name in node.output}
        self._pieces = list(self._cut())

    def run(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """`mixture` -> `stems`. Raises EngineError."""
        known: dict[str, Array] = {INPUT_NAME: mixture}
        for i, piece in enumerate(self._pieces):
            known |= zip(piece.gives, self._run_piece(piece, known), strict=True)
            later = {name for each in self._pieces[i + 1 :] for name in each.takes}
            known = {name: array for name, array in known.items() if name in later or name == OUTPUT_NAME}
        return known[OUTPUT_NAME]

    def submit(self, mixture: NDArray[np.float32]) -> Done:
        return Done(self.run(mixture))

    def close(self) -> None:
        """Delete the temporary folder."""
        self._folder.cleanup()

    def _cut(self) -> Iterator[Piece]:
        known = {INPUT_NAME}
        spectrogram = [SPECTROGRAM] if SPECTROGRAM in self._makers else []  # at both ends of the network
        for x in [*spectrogram, *filter(BLOCK.fullmatch, self._makers), OUTPUT_NAME]:
            yield self._piece([x], known, False)
            known.add(x)
            if BLOCK.fullmatch(x):
                block = x.removesuffix("x")
                gives = [name for name in (f"{block}out", f"{block}values") if name in self._makers]
                yield self._piece(gives, known, True)
                known.update(gives)

    def _piece(self, gives: list[str], known: set[str], is_block: bool) -> Piece:
        nodes: set[int] = set()
        takes: dict[str, None] = {}
        names = list(gives)
        while names:
            name = names.pop()
            if name in known:
                takes[name] = None
            elif name in self._makers and self._makers[name] not in nodes:
                nodes.add(self._makers[name])
                names += self._inputs(self._makers[name])
        return Piece(sorted(nodes), list(takes), gives, is_block)

    def _inputs(self, node: int) -> list[str]:
        """What a node and the Scan body in it take; names inside of the body are among them."""
        return [name for each in nodes_of([self._model.graph.node[node]]) for name in each.input]

    def _run_piece(self, piece: Piece, known: dict[str, Array]) -> list[Array]:
        options = session_options(None)
        options.enable_mem_pattern = False
        given = {name: known[name] for name in piece.takes}
        try:
            onnx.save(self._model_of(piece, given), self._file)
            session = ort.InferenceSession(self._file, options, ["CPUExecutionProvider"])
            parts = _slices(given) if piece.is_block else [given]
            results = [session.run(piece.gives, part) for part in parts]
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise EngineError(f"ONNX Runtime failed on {', '.join(piece.gives)} ({error})") from error
        return [np.concatenate(parts) for parts in zip(*results, strict=True)]

    def _model_of(self, piece: Piece, given: dict[str, Array]) -> onnx.ModelProto:
        used = {name for i in piece.nodes for name in self._inputs(i)}
        graph = onnx.helper.make_graph(
            [self._model.graph.node[i] for i in piece.nodes],
            "piece",
            [
                onnx.helper.make_tensor_value_info(
                    name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), [None, *array.shape[1:]]
                )
                for name, array in given.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in piece.gives],
            [tensor for name, tensor in self._weights.items() if name in used],
        )
        return onnx.helper.make_model(
            graph,
            functions=self._model.functions,
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
        )


def _slices(given: dict[str, Array]) -> Iterator[dict[str, Array]]:
    """Some sequences of each tensor at a time; the first tensor is [m, l, d]."""
    sequences, length = next(iter(given.values())).shape[:2]
    size = max(1, POSITIONS // length)
    for start in range(0, sequences, size):
        yield {name: array[start : start + size] for name, array in given.items()}
