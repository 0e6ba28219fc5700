"""The two models of an engine in Triton: their configurations, from the engine's manifest."""

from __future__ import annotations

from typing import Any

from runtime.engine.manifest import Manifest, Tensor
from runtime.engine.stems import stems_of
from runtime.serving.triton.pbtxt import parameters

AUDIO, SAMPLE_RATE = "AUDIO", "SAMPLE_RATE"  # inputs of a song model
DEPTH = 2  # chunks of a song that are under way at a time: the network works while the next one is prepared


def network_name(name: str) -> str:
    return f"{name}_network"


def network_config(name: str, file: str, manifest: Manifest) -> dict[str, Any]:
    """The model that runs `file`, an ONNX file or a plan, on batches of chunks of all songs."""
    plan = file.lower().endswith(".plan")
    on_gpu = plan or manifest.target == "gpu"
    config: dict[str, Any] = {"name": network_name(name)}
    config |= {"platform": "tensorrt_plan"} if plan else {"backend": "onnxruntime"}
    config |= {
        "default_model_filename": file,
        "max_batch_size": manifest.batch.max,
        "input": [_tensor(manifest.input)],
        "output": [_tensor(manifest.output)],
        "instance_group": [{"kind": "KIND_GPU" if on_gpu else "KIND_CPU", "count": 1}],
    }
    if manifest.batch.max > 1:
        # No delay: while one batch runs, the next one gathers. A song that is alone is never held up, and its chunks
        # run one by one, as in bsm-run.
        preferred = [manifest.batch.opt] if manifest.batch.opt > 1 else []
        config["dynamic_batching"] = {"preferred_batch_size": preferred, "max_queue_delay_microseconds": 0}
    if not plan:
        # A memory pattern would reserve the memory of a second run: runtime/backends/onnxruntime.py.
        config["parameters"] = parameters({"enable_mem_pattern": "0"})
    return config


def song_config(name: str, manifest: Manifest, songs: int) -> dict[str, Any]:
    """The model that takes songs, `songs` of them at a time, and gives their stems in several answers.

    AUDIO is [c, samples] with c 1 or 2, each stem [c, n].
    """
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": 0,
        "model_transaction_policy": {"decoupled": True},
        "input": [
            {"name": AUDIO, "data_type": "TYPE_FP32", "dims": [-1, -1]},
            {"name": SAMPLE_RATE, "data_type": "TYPE_INT32", "dims": [1]},
        ],
        "output": [{"name": stem, "data_type": "TYPE_FP32", "dims": [-1, -1]} for stem in stems_of(manifest)],
        "instance_group": [{"kind": "KIND_CPU", "count": songs}],
        # Keywords of `Separator`, and `depth`. More of them may be added by hand: overlap, tta, shifts, procedure.
        "parameters": parameters({"batch": str(manifest.batch.min), "threads": "1", "depth": str(DEPTH)}),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    """Without the axis of the batch, which Triton adds; -1 is any size."""
    dims = [-1 if isinstance(size, str) else size for size in tensor.shape[1:]]
    return {"name": tensor.name, "data_type": "TYPE_FP32", "dims": dims}
