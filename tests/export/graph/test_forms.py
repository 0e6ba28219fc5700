"""Every form of the graph (scan, target, length, precision) computes the same network."""

from __future__ import annotations

import golden_data
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny import FRAMES, LENGTHS, tiny_checkpoint

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.networks.scan import SCAN_CHUNK, sequential_scan
from export.engine import export_engine, only
from export.graph.custom_scan import ATTRIBUTES, DOMAIN, INPUTS, NAME, OUTPUT, VERSION
from export.graph.to_onnx import prepared
from export.graph.tracing import OPSET
from export.graph.widened import widened
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.dsp.stft import Stft

STFT = Stft(2048, 441)


@pytest.mark.parametrize(
    ("name", "scan", "target"),
    [("c", "chunked", "gpu"), ("c", "custom", "cpu"), ("c", "unrolled", "cpu")],
)
def test_golden_networks_in_every_form(tracing, tmp_path, name, scan, target):
    torch.save(golden_data.state(name), tmp_path / "x.ckpt")
    mixture = STFT.forward(golden_data.wave_in(name))
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    done = export_engine(checkpoint, tmp_path / "x", frames=only(mixture.shape[1]), scan=scan, target=target)
    assert (done.manifest.scan, done.manifest.target) == (scan, target)
    found = STFT.inverse(OnnxRuntimeBackend(done.engine, None).run(mixture))
    assert golden_data.relative_error(found, golden_data.wave_out(name)) <= 2e-5


@pytest.mark.parametrize(("name", "precision", "least"), [("d", "fp16", 50), ("c", "bf16", 35)])
def test_narrow_golden_engines_keep_their_snr(tracing, tmp_path, name, precision, least):
    torch.save(golden_data.state(name), tmp_path / "x.ckpt")
    mixture = STFT.forward(golden_data.wave_in(name))
    frames = only(mixture.shape[1])
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    done = export_engine(checkpoint, tmp_path / "x", frames=frames, precision=precision, target="gpu")
    assert done.manifest.parity.snr_db >= least
    if precision == "fp16":
        out = OnnxRuntimeBackend(done.engine, None).run(mixture)
    else:
        with torch.inference_mode():
            out = prepared(checkpoint.model(), frames, precision, target="gpu")(torch.from_numpy(mixture)).numpy()
    reference = golden_data.wave_out(name)
    assert 10 * np.log10(np.sum(reference**2) / np.sum((STFT.inverse(out) - reference) ** 2)) >= least


@pytest.mark.parametrize(
    ("kind", "target"),
    [pytest.param("mamba2", "cpu", marks=pytest.mark.slow), ("mamba2", "gpu"), ("transformer", "gpu")],
)
def test_any_length_in_the_range(tracing, tmp_path, kind, target):
    checkpoint = tiny_checkpoint(tmp_path, kind=kind)
    done = export_engine(checkpoint, tmp_path / "x", frames=LENGTHS, target=target)
    backend = OnnxRuntimeBackend(done.engine, None)
    backend.require(done.manifest.input, done.manifest.output, done.manifest.inside_onnx())
    model = checkpoint.model()
    for frames in (20, 63, 64, 65, 128, 401, 641):
        mixture = np.random.default_rng(frames).standard_normal((2, frames, 17, 2, 2)).astype(np.float32)
        with torch.inference_mode():
            reference = model(torch.from_numpy(mixture)).numpy()
        assert golden_data.relative_error(backend.run(mixture), reference) <= 2e-5


def test_a_custom_scan_is_one_node_with_a_body(tracing, tmp_path):
    graph = tracing(tiny_checkpoint(tmp_path).model(), FRAMES, "fp16", "custom", "gpu")
    nodes = [node for node in graph.graph.node if node.domain == DOMAIN]
    assert [node.op_type for node in nodes] == [NAME] * 4  # two directions, along time and along the bands
    given = [{each.name: onnx.helper.get_attribute_value(each) for each in node.attribute} for node in nodes]
    attributes = {"chunk": SCAN_CHUNK, "plugin_namespace": b"bsmamba2", "plugin_version": b"1"}
    assert given == [attributes | {"reverse": reverse} for reverse in (0, 1, 0, 1)]
    assert all(len(node.input) == 6 for node in nodes)
    assert {opset.domain: opset.version for opset in graph.opset_import}[DOMAIN] == 2
    (function,) = graph.functions
    assert (function.domain, function.name) == (DOMAIN, NAME)
    assert set(function.attribute) == set(given[0])
    assert not [node for node in graph.graph.node if node.op_type == "Slice" and "flip" in node.name]
    onnx.checker.check_model(graph, full_check=True)


@pytest.mark.parametrize("reverse", [0, 1])
def test_the_body_of_the_custom_scan_is_the_recurrence(tracing, reverse):
    """Alone in a graph, at lengths and batches it was not traced with."""
    config, frames = golden_data.config("c"), STFT.forward(golden_data.wave_in("c")).shape[1]
    (function,) = tracing(golden_data.network("c"), only(frames), "fp32", "custom", "cpu").functions
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(NAME, INPUTS, [OUTPUT], domain=DOMAIN, reverse=reverse, **ATTRIBUTES)],
        "g",
        [tensor(name, onnx.TensorProto.FLOAT, None) for name in INPUTS],
        [tensor(OUTPUT, onnx.TensorProto.FLOAT, None)],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid(DOMAIN, VERSION)]
    model = onnx.helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    heads = config.dim * config.expand // config.headdim
    for batch, length in ((1, 1), (2, 63), (1, 64), (3, 65), (1, 200)):
        torch.manual_seed(length)
        x = torch.randn(batch, length, heads, config.headdim)
        dt, a = torch.rand(batch, length, heads), -16 * torch.rand(heads)
        b, c = torch.randn(2, batch, length, config.d_state)
        d = torch.randn(heads)
        (found,) = session.run(None, dict(zip(INPUTS, (each.numpy() for each in (x, dt, a, b, c, d)), strict=True)))
        ahead = (each.flip(1) if reverse else each for each in (x, dt, b, c))
        x_, dt_, b_, c_ = (each.double() for each in ahead)
        y = sequential_scan(x_, dt_, a.double(), b_, c_) + d.double()[:, None] * x_
        reference = (y.flip(1) if reverse else y).numpy()
        assert golden_data.relative_error(found, reference) <= 1e-5


def test_a_widened_graph_has_bfloat16_values_and_no_bfloat16(tracing, tmp_path):
    """In Scan bodies and functions, too."""
    model = tiny_checkpoint(tmp_path).model()
    narrow = tracing(model, FRAMES, "bf16", "custom", "cpu")
    wide = widened(narrow)
    assert onnx.TensorProto.BFLOAT16 in {tensor.data_type for tensor in narrow.graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in {tensor.data_type for tensor in wide.graph.initializer}
    onnx.save(wide, tmp_path / "wide.onnx")
    mixture = np.random.default_rng(0).standard_normal((1, 70, 17, 2, 2)).astype(np.float32)
    rounded = prepared(model, FRAMES, "bf16", "chunked", "gpu").float()
    with torch.inference_mode():
        reference = rounded(torch.from_numpy(mixture)).numpy()
    found = OnnxRuntimeBackend(tmp_path / "wide.onnx", None).run(mixture)
    assert golden_data.relative_error(found, reference) <= 2e-5
