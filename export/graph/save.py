"""ONNX files: one file, or with the weights in a second one where they are too large for that."""

from __future__ import annotations

from pathlib import Path

import onnx

LIMIT = 2 * 1024**3 - 1024**2  # bytes of weights that fit into one ONNX file


def save(graph: onnx.ModelProto, path: Path, limit: int = LIMIT) -> Path | None:
    """Write `graph` to `path`. Returns the file NAME.onnx.data beside it, if it holds the weights.

    Weights of more than `limit` bytes go there and leave `graph`, which can be saved again under the same name.
    """
    data = data_of(path)
    if sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > limit:
        data.unlink(missing_ok=True)
        onnx.save_model(graph, path, save_as_external_data=True, location=data.name)
    else:
        onnx.save(graph, path)
    return data if data.exists() else None


def add_metadata(path: Path, entries: dict[str, str]) -> None:
    """Add metadata to the ONNX file `path`, without reading it: messages of protobuf in a row are read as one."""
    extra = onnx.ModelProto()
    onnx.helper.set_model_props(extra, entries)
    with path.open("ab") as file:
        file.write(extra.SerializeToString())


def data_of(graph: Path) -> Path:
    """The file with the weights of `graph`, where they are not in it."""
    return graph.with_name(graph.name + ".data")
