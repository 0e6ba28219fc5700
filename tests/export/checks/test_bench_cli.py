"""`bsm-bench`: a tiny engine from end to end, what is refused, and where an engine's matrix products come from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from fakes import manifest_data
from onnx import helper, numpy_helper
from scripted import outcome
from tiny import LENGTHS, tiny_checkpoint

from bsmamba2.checkpoint import load_checkpoint
from export.checks import bench_cli
from export.checks import products as products_module
from export.checks.bench_cli import Sizes, app
from export.checks.products import ProductsSession, products_of, profile
from export.engine import export_engine
from runtime.bench.results import Product
from runtime.command import exit_code
from runtime.engine.manifest import Manifest, Range
from runtime.errors import EngineError, OptionError


@pytest.fixture(scope="module")
def engines(tracing, tmp_path_factory):
    """A folder with x.onnx, of any length, its twin, the checkpoint of both and one of another network."""
    folder = tmp_path_factory.mktemp("engines")
    tiny_checkpoint(folder, kind="mamba2").path.rename(folder / "another.safetensors")
    checkpoint = tiny_checkpoint(folder, kind="transformer")  # traced faster
    done = export_engine(checkpoint, folder / "x", frames=LENGTHS, batch=Range(1, 2, 4))
    for path in (done.engine, done.manifest_path):
        (folder / f"twin{path.suffix}").write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def run(engines, monkeypatch):
    monkeypatch.chdir(engines)
    return lambda *args: exit_code(app, "bsm-bench", list(args))


@pytest.fixture
def timed(monkeypatch):
    """Makes every measurement give seconds that are written down, by kind of contender."""

    def script(**seconds):
        def measure(entries, **settings):
            return [
                outcome(each.contender.name, [seconds[each.kind]] * 2, each.kind, work=each.contender.work)
                for each in entries
            ]

        monkeypatch.setattr(bench_cli, "measure", measure)

    return script


def test_a_tiny_engine_from_end_to_end(run, tmp_path, capfd):
    pytest.importorskip("matplotlib")
    figures, page = tmp_path / "bench.json", tmp_path / "bench.html"
    code = run(
        *("x.onnx", "twin.onnx", "--ckpt", "tiny.safetensors", "--rounds", "2", "--warmup", "1", "--threads", "1"),
        *("--batch", "1,2", "--json", str(figures), "--report", str(page)),
    )
    captured = capfd.readouterr()
    assert code == 0 and captured.err == ""
    assert captured.out.count("2 chunks of 401 frames") == 3 and f"wrote {page}" in captured.out
    data = json.loads(figures.read_text())
    assert [each["name"] for each in data["contenders"]] == ["x.onnx", "twin.onnx", "torch"]
    for each in data["contenders"]:
        assert len(each["measured"]["run_seconds"]) == 3
        assert [point["batch"] for point in each["measured"]["sweep"]] == [2, 1]
    engine, torch = data["contenders"][0]["measured"], data["contenders"][2]["measured"]
    assert engine["executor"].startswith("onnxruntime") and torch["executor"].startswith("torch")
    assert engine["stage_seconds"]["engine"] > 0 and torch["stage_seconds"] is None
    assert 0 < engine["peak_memory_bytes"] < torch["peak_memory_bytes"]
    products = engine["products"]
    assert products["flops"] == sum(each["count"] * each["flops"] for each in products["each"]) > 0
    assert page.read_text().startswith("<!doctype html>")
    assert not [path for path in tmp_path.iterdir() if path not in (figures, page)]


def test_faster_than_required_or_exit_1(run, timed, capsys):
    timed(engine=1.0, torch=2.0)
    required = ("x.onnx", "--ckpt", "tiny.safetensors", "--require-faster-than", "torch")
    assert run(*required) == 0
    assert capsys.readouterr().out.endswith("x.onnx is faster than torch: 2 times as fast (2 to 2 by round)\n")
    timed(engine=2.0, torch=1.0)
    assert run(*required) == 1
    out = capsys.readouterr().out
    assert out.endswith("x.onnx is not faster than torch: only 0.5 times as fast (0.5 to 0.5 by round)\n")


def test_sizes_are_the_engine_s_own_unless_given(run, monkeypatch):
    seen = {}

    def measure(entries, **settings):
        seen.update({each.contender.name: each for each in entries})
        raise OptionError("seen enough")

    monkeypatch.setattr(bench_cli, "measure", measure)
    run("x.onnx", "x.onnx")
    assert list(seen) == ["x.onnx", "x.onnx (2)"]
    work = seen["x.onnx"].contender.work
    assert (work.frames, work.batch) == (401, 2) and work.seconds == pytest.approx(2 * 400 * 10 / 8000)
    run("x.onnx", "--frames", "100", "--batch", "4")
    assert seen["x.onnx"].contender.work.frames == 100 and not seen["x.onnx"].sweep
    run("x.onnx", "--frames", "641,401,20", "--batch", "1,4")
    swept = [(work.frames, work.batch) for work in seen["x.onnx"].sweep]
    assert swept == [(401, 2), (20, 2), (641, 2), (401, 1), (401, 4)]


def test_all_do_the_work_of_an_engine_with_waveforms(run, tracing, engines, capsys, monkeypatch):
    """From waveforms to waveforms: the STFT is measured inside of one engine, around the other and in PyTorch."""
    checkpoint = load_checkpoint(engines / "tiny.safetensors")
    export_engine(checkpoint, engines / "wave", frames=LENGTHS, batch=Range(1, 2, 4), io="wave")
    measured = {}

    def measure(entries, **settings):
        for each in entries:
            session = each.contender.open()
            assert session.run(each.contender.work) > 0
            measured[each.contender.name] = each.contender.work
        return [outcome(each.contender.name, [1.0], each.kind, work=each.contender.work) for each in entries]

    monkeypatch.setattr(bench_cli, "measure", measure)
    assert run("x.onnx", "wave.onnx", "--ckpt", "tiny.safetensors", "--no-products") == 0
    assert [(name, work.io) for name, work in measured.items()] == [
        ("x.onnx", "wave"),
        ("wave.onnx", "wave"),
        ("torch", "wave"),
    ]
    assert capsys.readouterr().out.count("2 chunks of 401 frames (1 s of audio) as waveforms") == 3
    assert run("x.onnx", "--no-products") == 0
    assert measured["x.onnx"].io == "spectrum"


def test_an_engine_of_fixed_length_takes_that_only():
    manifest = Manifest.from_json(json.dumps(manifest_data(frames=11)), "a test")
    Sizes([11], [1, 8], "spectrum").check(Path("x.onnx"), manifest)
    with pytest.raises(OptionError, match="--frames 12: x.onnx takes 11 frames"):
        Sizes([11, 12], [], "spectrum").check(Path("x.onnx"), manifest)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.onnx"], "none.onnx: does not exist"),
        (["x.onnx", "--frames", "40,642"], "--frames 642: x.onnx takes 20 to 641 frames"),
        (["x.onnx", "--batch", "5"], "--batch 5: x.onnx takes 1 to 4 chunks per run"),
        (["x.onnx", "--batch", "1;2"], "--batch 1;2: must be a number, or several such as 1,2,4"),
        (["x.onnx", "--batch", "0"], "--batch 0: must be a number"),
        (["x.onnx", "--rounds", "0"], "--rounds 0: must be between 1 and"),
        (["x.onnx", "--compile"], "--compile: needs --ckpt"),
        (
            ["x.onnx", "--require-faster-than", "y.onnx"],
            "than y.onnx: needs another engine, or --ckpt",
        ),
        (["tiny.safetensors"], "tiny.safetensors: is a checkpoint, not an engine: bsm-export --ckpt"),
        (["x.onnx", "--require-faster-than", "torch"], "--require-faster-than torch: needs --ckpt"),
        (["x.onnx", "twin.onnx", "--require-faster-than", "x.onnx"], "--require-faster-than x.onnx: must be twin.onnx"),
        (["x.onnx", "--json", "no/where.json"], "--json no/where.json: must be the name of a file "),
        (["x.onnx", "--report", "."], "--report .: must be the name of a file"),
        (["x.onnx", "--device", "tpu"], "x.onnx: --device tpu: must be auto"),
        (["x.onnx", "--ckpt", "none.ckpt"], "torch: none.ckpt: "),
        (["x.onnx", "--ckpt", "another.safetensors"], "is not the network of x.onnx (mamba2, dim"),
        ([], "Missing argument"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run, capfd, args, message):
    assert run(*args) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("bsm-bench: ")


@pytest.mark.parametrize(
    ("missing", "args", "message"),
    [
        ("torch", ["--ckpt", "x.ckpt"], "--ckpt: torch is not installed: pip install 'bsmamba2[export]'"),
        ("matplotlib", ["--report", "x.html"], "pictures need matplotlib: pip install 'bsmamba2[report]'"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(run, capsys, monkeypatch, missing, args, message):
    for name in [missing, *(name for name in sys.modules if name.startswith(f"{missing}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert run("x.onnx", *args) == 2
    assert capsys.readouterr().err == f"bsm-bench: {message}\n"


def test_engines_are_measured_where_there_is_nothing_of_an_export(engines):
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'safetensors', 'yaml'): sys.modules[name] = None\n"
        f"sys.argv[1:] = [{str(engines / 'x.onnx')!r}, '--rounds', '1', '--warmup', '0']\n"
        "from export.checks.bench_cli import main\n"
        "main()"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "x.onnx: not measured: onnx is not installed: pip install 'bsmamba2[export]'" in done.stdout


def graph(nodes, inputs, weights, out) -> bytes:
    """A model of `nodes`; `inputs` and `out` are shapes by name, `weights` arrays by name."""
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    outs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in out.items()]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    body = helper.make_graph(nodes, "g", values, outs, tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def random(*shape) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def found(model: bytes, folder, **inputs) -> dict[Product, int]:
    return dict(products_of(profile(model, inputs, 1, folder)))


def test_a_product_with_a_weight(tmp_path):
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 3, 8]}, {"w": random(8, 5)}, {"y": None})
    products = found(model, tmp_path, x=random(2, 3, 8))
    assert products == {Product((2, 3, 8), (8, 5), True, "float"): 1}
    assert next(iter(products)).flops == 2 * (2 * 3 * 8 * 5)
    assert not list(tmp_path.iterdir())


def test_a_product_of_two_inputs_one_of_them_transposed(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "t"], ["y"]),
    ]
    products = found(
        graph(nodes, {"a": [4, 3, 8], "b": [4, 5, 8]}, {}, {"y": None}), tmp_path, a=random(4, 3, 8), b=random(4, 5, 8)
    )
    assert products == {Product((4, 3, 8), (4, 8, 5), False, "float"): 1}


def test_a_product_with_a_bias(tmp_path):
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    model = graph([node], {"x": [3, 8]}, {"w": random(5, 8), "b": random(5)}, {"y": None})
    assert found(model, tmp_path, x=random(3, 8)) == {Product((3, 8), (8, 5), True, "float"): 1}


def test_products_inside_of_a_scan_count_once_an_iteration(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["b"])],
        "body",
        [helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [3, 8])],
        [helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [3, 5])],
    )
    node = helper.make_node("Scan", ["x"], ["y"], num_scan_inputs=1, body=inner)
    model = graph([node], {"x": [6, 3, 8]}, {"w": random(8, 5)}, {"y": None})
    assert found(model, tmp_path, x=random(6, 3, 8)) == {Product((3, 8), (8, 5), True, "float"): 6}


def test_a_graph_without_products_has_no_limit(tmp_path):
    model = graph([helper.make_node("Neg", ["x"], ["y"])], {"x": [3]}, {}, {"y": None})
    with pytest.raises(EngineError, match="no matrix products"):
        found(model, tmp_path, x=random(3))


def test_products_alone_add_up_by_their_count(monkeypatch):
    shapes = {Product((3, 8), (8, 5), True, "float"): 4, Product((2, 3, 8), (2, 8, 5), False, "float16"): 1}
    session = ProductsSession(Counter(shapes), 1)
    session.run(None)
    assert {each.product: each.count for each in session.each()} == shapes
    assert all(each.seconds > 0 for each in session.each())
    monkeypatch.setattr(products_module, "seconds_alone", lambda product, threads: 0.5)
    assert session.run(None) == 2.5
