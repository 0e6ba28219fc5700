"""Plans built by the real TensorRT-RTX, which needs no GPU for it; and every reason not to build one."""

from __future__ import annotations

import _thread
import json
import signal
from dataclasses import replace

import onnx
import pytest
from fakes import H200, RTX_4090
from tiny import FRAMES, LENGTHS, TINY, tiny_checkpoint

from export.cli import app
from export.engine import export_engine
from export.errors import ExportError
from export.plan import build as build_module
from export.plan import choose
from export.plan.build import build_plan
from export.plan.choose import Asked, plan_build
from export.plan.inspect_engine import inspect_engine
from export.plan.rebuild import rebuild_engine
from runtime.backends import tensorrt as tensorrt_backend
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.engine.manifest import Range
from runtime.engine.plan_header import read_plan_header
from runtime.engine.reading import read_manifest

SHAPES = [(batch, FRAMES.opt, TINY.stft.bins, TINY.channels, 2) for batch in (1, 1, 2)]


def rtx(*targets, precision="fp16"):
    return plan_build(Asked("tensorrt-rtx", targets), precision)


@pytest.fixture(scope="module")
def built(tracing, tmp_path_factory):
    """An engine with a plan; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("built")
    done = export_engine(
        tiny_checkpoint(folder, kind="transformer"),  # traced faster
        folder / "x",
        frames=FRAMES,
        batch=Range(1, 2, 4),
        precision="fp16",
        target="gpu",
        build=rtx(),
    )
    assert {path.name for path in folder.iterdir()} == {"tiny.safetensors", "x.onnx", "x.json", "x.plan"}
    return done


@pytest.fixture
def copy(built, tmp_path):
    for path in (built.engine, built.plan, built.manifest_path):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "x"


@pytest.mark.parametrize(
    ("kind", "precision", "scan"),
    [
        ("mamba2", "fp32", "unrolled"),
        ("mamba2", "fp16", "custom"),
        ("mamba2", "bf16", "chunked"),
        ("transformer", "bf16", "chunked"),
    ],
)
def test_every_precision_builds_and_says_what_it_is(tracing, tmp_path, kind, precision, scan):
    targets = ("7.5", "8.9") if precision == "fp16" else ("8.0", "12.0")  # for Turing there is fp16 only
    done = export_engine(
        tiny_checkpoint(tmp_path, kind=kind),
        tmp_path / "x",
        frames=FRAMES,
        precision=precision,
        scan=scan,
        target="gpu",
        build=rtx(*targets, precision=precision),
    )
    manifest = read_manifest(done.plan)
    assert manifest == read_manifest(done.engine) == done.manifest
    assert manifest.precision == precision and manifest.target == "gpu" and manifest.plan.parity is None
    header = read_plan_header(done.plan)
    assert set(header.compute_capabilities) == set(manifest.plan.compute_capabilities) == set(targets)
    assert manifest.plan.version == header.version
    assert manifest.inside_plan().encode() in done.plan.read_bytes()
    types = {tensor.data_type for tensor in onnx.load(done.engine).graph.initializer}
    narrow = {"fp32": set(), "fp16": {onnx.TensorProto.FLOAT16}, "bf16": {onnx.TensorProto.BFLOAT16}}[precision]
    assert types & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16} == narrow


def test_any_length_in_a_range_builds(tracing, tmp_path):
    done = export_engine(
        tiny_checkpoint(tmp_path),
        tmp_path / "x",
        frames=LENGTHS,
        target="gpu",
        build=rtx("8.9"),
    )
    assert done.manifest.input.shape[:2] == ["batch", "frames"]
    assert (done.manifest.frames.min, done.manifest.frames.max) == (20, 641)
    assert "401 and 20 frames" in done.manifest.parity.inputs


def test_the_same_engine_is_built_bit_for_bit(built, copy):
    before = read_manifest(built.plan)
    copy.with_suffix(".plan").unlink()
    done = rebuild_engine(copy, Asked())
    assert done.manifest == before
    assert done.plan.read_bytes() == built.plan.read_bytes()


def test_a_plan_is_built_again_for_another_gpu(copy, capsys):
    assert exit_code(app, "bsm-export", ["--rebuild", f"{copy}.plan", "--compute-capability", "7.5"]) == 0
    out = capsys.readouterr().out
    assert "for compute capability 7.5" in out
    assert "not run (there is no NVIDIA driver); built from the graph that passed the check" in out
    assert read_manifest(copy.with_suffix(".plan")).plan.compute_capabilities == ["7.5"]
    assert {path.name for path in copy.parent.iterdir()} == {"x.onnx", "x.json", "x.plan"}


def test_an_edited_manifest_builds_nothing(copy, capsys):
    path = copy.with_suffix(".json")
    data = json.loads(path.read_text())
    data["stft"]["sample_rate"] = 16000
    path.write_text(json.dumps(data))
    assert exit_code(app, "bsm-export", ["--rebuild", str(copy)]) == 2
    assert "x.onnx: the manifest beside it is not the one it was exported with" in capsys.readouterr().err


def test_exporting_without_a_plan_takes_an_earlier_one_away(copy, tmp_path):
    export_engine(tiny_checkpoint(tmp_path, kind="transformer"), copy, frames=FRAMES)
    assert not copy.with_suffix(".plan").exists()
    assert read_manifest(copy.with_suffix(".onnx")).plan is None


def test_what_an_engine_holds_is_shown(built, copy):
    text = inspect_engine(copy)
    for part in (
        "BS-RoFormer, dim 8, depth 1",
        "fp16, scan chunked, target gpu, io spectrum; 70 to 70 frames, batch 1 to 4",
        "1 Graph Input(s)",
        "mixture [dtype=float32, shape=('batch', 70, 17, 2, 2)]",
        "MatMul ",
        "tensorrt-rtx 1.",
        "MATRIX_MULTIPLY ",
        "for compute capability 8.6, 8.9, 12.0",
        "header: TensorRT-RTX",
        "not run when it was built",
    ):
        assert part in text
    assert len(inspect_engine(copy, layers=True)) > 2 * len(text)


def test_float32_products_are_float32(built, tmp_path, monkeypatch):
    """TF32, which TensorRT allows by default, would keep 10 bits of 23."""
    import tensorrt_rtx as trt

    allowed = []

    def run(trt, builder, network, config, progress, gpu):
        allowed.append(config.get_flag(trt.BuilderFlag.TF32))
        return builder.build_serialized_network(network, config)

    monkeypatch.setattr(build_module, "run_builder", run)
    build_plan(built.engine, tmp_path / "x.plan", "label", SHAPES, rtx())
    assert allowed == [False]
    assert trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config().get_flag(trt.BuilderFlag.TF32)


def test_the_builder_tells_what_it_does_and_ctrl_c_stops_it(built, tmp_path):
    told = []
    build = rtx("8.9")

    def progress(phase, done, total):
        told.append((phase, done, total))

    build_plan(built.engine, tmp_path / "a.plan", "label", SHAPES, build, progress)
    assert {phase for phase, _, _ in told} >= {"Building engine"}
    assert all(0 <= done <= total for _, done, total in told)

    def interrupt(phase, done, total):
        if len(told) < 10**6:
            told.extend([("", 0, 0)] * 10**6)
            _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest-xdist ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            build_plan(built.engine, tmp_path / "b.plan", "label", SHAPES, build, interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "b.plan").exists()


# A GPU at hand


def stand_in(gain):
    """A TensorRT backend that runs the ONNX file beside the plan."""

    class StandIn:
        name = "a stand-in"

        def __init__(self, plan, manifest):
            self.real = OnnxRuntimeBackend(plan.with_suffix(".onnx"), None)

        def run(self, mixture):
            return gain * self.real.run(mixture)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    return StandIn


def test_a_plan_is_run_where_its_gpu_is(tracing, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "find_gpu", lambda: (RTX_4090, ""))
    checkpoint = tiny_checkpoint(tmp_path, kind="transformer")
    options = {"frames": FRAMES, "target": "gpu", "build": rtx("8.9")}
    monkeypatch.setattr(tensorrt_backend, "TensorRtBackend", stand_in(1.0))
    done = export_engine(checkpoint, tmp_path / "x", **options)
    assert done.manifest.plan.parity.executor == "a stand-in"
    assert read_manifest(done.plan).plan.parity.max_error < 2e-5
    before = done.manifest_path.read_text()
    monkeypatch.setattr(tensorrt_backend, "TensorRtBackend", stand_in(1.01))
    with pytest.raises(ExportError, match="the fp32 engine differs from PyTorch by .* nothing was written"):
        export_engine(checkpoint, tmp_path / "x", **options)
    assert done.manifest_path.read_text() == before


def test_too_little_workspace_is_one_line(built, tmp_path):
    build = plan_build(Asked("tensorrt-rtx", ("8.9",), workspace=1e-9), "fp16")
    with pytest.raises(
        ExportError, match=r"tensorrt-rtx .* built no plan \(.*[wW]orkspace.*\): use a larger --workspace"
    ):
        build_plan(built.engine, tmp_path / "x.plan", "label", SHAPES, build)


def test_a_manifest_too_long_for_a_plan_is_refused(built, tmp_path):
    with pytest.raises(ExportError, match="of 5000 characters in a plan: use fewer sub-.* shorter file name of the ch"):
        build_plan(built.engine, tmp_path / "x.plan", "m" * 5000, SHAPES, rtx())


def test_a_builder_that_fails_says_why(built, tmp_path, monkeypatch):
    import tensorrt_rtx as trt

    def build():
        build_plan(built.engine, tmp_path / "x.plan", "label", SHAPES, rtx())

    class Refusing:
        def __init__(self, logger):
            logger.log(trt.ILogger.Severity.ERROR, "no driver")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    class Failing:
        def __init__(self, logger):
            self.real = builder(logger)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def build_serialized_network(self, network, config):
            raise MemoryError("of the builder's thread")

    builder = trt.Builder
    monkeypatch.setattr(trt, "Builder", Refusing)
    with pytest.raises(ExportError, match=r"tensorrt-rtx 1\..* does not start \(no driver\)"):
        build()
    monkeypatch.setattr(trt, "Builder", Failing)
    with pytest.raises(MemoryError, match="of the builder's thread"):
        build()


def test_a_plan_for_another_gpu_is_shown_without_its_layers(copy, monkeypatch):
    from runtime.backends import plan_checks

    monkeypatch.setattr(plan_checks, "find_gpu", lambda index: (H200, ""))
    text = inspect_engine(copy)
    assert "layers not shown: " in text and "this GPU, NVIDIA H200, has 9.0" in text
    monkeypatch.setattr(
        plan_checks, "find_gpu", lambda index: (RTX_4090, "")
    )  # there is none: the plan cannot be opened
    assert "layers not shown: " in inspect_engine(copy)


def test_a_graph_that_cannot_be_parsed_names_its_nodes(built, tmp_path):
    graph = onnx.load(built.engine)
    broken = next(node for node in graph.graph.node if node.op_type == "MatMul")
    broken.op_type, broken.domain, broken.name = "NoSuchProduct", "elsewhere", "the_broken_one"
    graph.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    onnx.save(graph, tmp_path / "broken.onnx")
    with pytest.raises(ExportError, match=r"cannot parse broken\.onnx: NoSuchProduct the_broken_one: "):
        build_plan(tmp_path / "broken.onnx", tmp_path / "x.plan", "label", SHAPES, rtx())


def test_a_plan_for_other_targets_than_asked_is_refused(built, monkeypatch):
    asked = replace(rtx(), compute_capabilities=("8.9",))
    with pytest.raises(ExportError, match=r"names compute capabilities 8\.6, 8\.9, 12\.0, not 8\.9"):
        build_module.check_plan(built.plan, built.manifest.inside_plan(), asked)
    with pytest.raises(ExportError, match="does not contain its manifest"):
        build_module.check_plan(built.plan, "another", rtx())
    with pytest.raises(ExportError, match="full TensorRT returned a plan of TensorRT-RTX"):
        build_module.check_plan(built.plan, "", replace(rtx(), flavour="tensorrt"))
