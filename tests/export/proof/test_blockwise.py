"""A graph for GPUs, run block by block on a CPU, gives what it gives as a whole."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tiny import FRAMES, LENGTHS, TINY

from bsmamba2.networks.model import BandSplitSeparator
from export.graph.save import save
from export.graph.widened import widened
from export.proof import blockwise
from export.proof.blockwise import BlockwiseBackend
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.dsp.signal import signal_mixture
from runtime.errors import EngineError


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(blockwise, "POSITIONS", 150)  # two sequences along time, 37 along the sub-bands


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize(
    ("changes", "frames", "precision", "scan"),
    [
        ({}, FRAMES, "fp32", "chunked"),
        pytest.param({}, LENGTHS, "fp16", "chunked", marks=pytest.mark.slow),
        ({}, FRAMES, "bf16", "custom"),
        ({"kind": "transformer", "depth": 3, "value_residual": True}, LENGTHS, "fp32", "chunked"),
        pytest.param(
            {"kind": "transformer", "depth": 3, "linear_depth": 1, "skip_connection": True},
            *(FRAMES, "fp32", "chunked"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_pieces_give_what_the_whole_gives(tracing, tmp_path, changes, frames, precision, scan):
    torch.manual_seed(0)
    model = BandSplitSeparator(replace(TINY, **changes)).eval()
    graph = tmp_path / "x.onnx"
    made = tracing(model, frames, precision, scan, "gpu")
    save(widened(made) if precision == "bf16" else made, graph)
    mixture = signal_mixture(TINY.stft, TINY.channels, frames.min)
    mixture = np.concatenate([mixture, mixture[:, ::-1]])
    pieces, whole = BlockwiseBackend(graph), OnnxRuntimeBackend(graph, threads=None)
    assert len(pieces._pieces) == 2 * model.config.depth * (3 if model.config.linear_depth else 2) + 1
    stems, expected = pieces.run(mixture), whole.run(mixture)
    pieces.close()
    assert list(tmp_path.iterdir()) == [graph]
    assert stems.dtype == np.float32 and np.abs(expected).max() > 0.01
    np.testing.assert_allclose(stems, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_a_piece_that_fails_is_named(tracing, tmp_path):
    torch.manual_seed(0)
    model = BandSplitSeparator(replace(TINY, kind="transformer")).eval()
    made = tracing(model, FRAMES, "fp32", "chunked", "gpu")
    gone = next(tensor for tensor in made.graph.initializer if tensor.name.startswith("layers.0.bands."))
    made.graph.initializer.remove(gone)
    onnx.save(made, tmp_path / "x.onnx")
    with (
        closing(BlockwiseBackend(tmp_path / "x.onnx")) as pieces,
        pytest.raises(EngineError, match=r"^ONNX Runtime failed on layers\.0\.bands\.out \("),
    ):
        pieces.run(signal_mixture(TINY.stft, TINY.channels, FRAMES.opt))
