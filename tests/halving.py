"""An engine for the real ONNX Runtime that takes no tracing: its stems are half the mixture, or another gain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from fakes import manifest_data
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from runtime.engine.manifest import METADATA_KEY, EngineFile, Manifest, sha256_of
from runtime.engine.reading import manifest_path


def halving_engine(path: Path, gain: ArrayLike = 0.5, **sizes: object) -> Path:
    """Writes `path` and the manifest beside it; `sizes` are those of `fakes.manifest_data`. Returns `path`.

    `gain` is broadcast to the item of a batch in the output, such as [s, c, samples].
    """
    manifest = Manifest.from_json(json.dumps(manifest_data(**sizes)), "made")
    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["mixture", "axis"], ["whole"]),
            helper.make_node("Mul", ["whole", "gain"], ["stems"]),
        ],
        "halving",
        [helper.make_tensor_value_info("mixture", TensorProto.FLOAT, manifest.input.shape)],
        [helper.make_tensor_value_info("stems", TensorProto.FLOAT, manifest.output.shape)],
        [
            numpy_helper.from_array(np.asarray(gain, np.float32), "gain"),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: manifest.inside_onnx()})
    onnx.save(model, path)
    file = EngineFile(path.name, path.stat().st_size, sha256_of(path))
    manifest_path(path).write_text(replace(manifest, onnx=file).to_json())
    return path
