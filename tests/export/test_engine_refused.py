"""A bad engine is never written, and what was there before stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import FRAMES, STFT

from export import files
from export.engine import export_engine, only, smallest_frames
from export.errors import ExportError
from export.graph.check_graph import check_graph
from export.proof import verify as verify_module
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.engine.manifest import Range, Tensor


def test_a_network_beyond_float16_is_not_exported(tiny, tracing, tmp_path):
    tiny.state["band_split.to_features.0.1.weight"] *= 1e6
    with pytest.raises(ExportError, match="NaN or Inf.*float16.*bf16.*nothing was written"):
        export_engine(tiny, tmp_path / "x", frames=FRAMES, precision="fp16")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors"}


def test_an_engine_that_differs_is_not_written(tiny, tracing, tmp_path, monkeypatch):
    honest = verify_module.pytorch_stems
    monkeypatch.setattr(verify_module, "pytorch_stems", lambda *args: honest(*args) * np.float32(1.001))
    before = b"an earlier engine"
    (tmp_path / "x.onnx").write_bytes(before)
    with pytest.raises(
        ExportError,
        match=r"fp32 engine differs from PyTorch by .*at most 2e-05.* nothing was written",
    ):
        export_engine(tiny, tmp_path / "x", frames=FRAMES)
    assert (tmp_path / "x.onnx").read_bytes() == before
    assert not (tmp_path / "x.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "tiny.safetensors"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: out * np.nan, "NaN or Inf"),
        (lambda out: out[:, :, ::-1], "differs from PyTorch"),
        (lambda out: np.repeat(out, 2, axis=1), "got shape"),
        (lambda out: out + 1e-3, "differs from PyTorch|for a silent item"),
        (lambda out: out[::-1] if len(out) > 1 else out, "for a silent item"),
    ],
)
def test_wrong_outputs_of_the_engine_are_caught(tiny, tracing, tmp_path, monkeypatch, damage, message):
    honest = OnnxRuntimeBackend.run
    monkeypatch.setattr(OnnxRuntimeBackend, "run", lambda self, mixture: damage(honest(self, mixture)))
    with pytest.raises(ExportError, match=message):
        export_engine(tiny, tmp_path / "x", frames=FRAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors"}


@pytest.mark.parametrize(
    ("earlier", "failure", "seen"),
    [
        (True, OSError(28, "No space left on device"), ExportError),
        (False, OSError(28, "No space left on device"), ExportError),
        (True, KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_engine_never_stands_without_its_manifest(tiny, tracing, tmp_path, monkeypatch, earlier, failure, seen):
    folder = tmp_path / "out"
    if earlier:
        export_engine(tiny, folder / "x", frames=FRAMES)
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if earlier else {}
    replace_file = Path.replace

    def no_manifest(self, target):
        if self.parent != folder and str(target).endswith("out/x.json") and not self.name.startswith("earlier"):
            raise failure
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", no_manifest)
    message = "out/x: cannot be written .No space left on device" if seen is ExportError else None
    with pytest.raises(seen, match=message):
        export_engine(tiny, folder / "x", frames=FRAMES, target="gpu")  # another one
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_names_that_are_folders_are_refused_at_once(tiny, tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ExportError, match=r"x\.json: is a folder: choose another name with -o"):
        export_engine(tiny, tmp_path / "x", frames=FRAMES)


def test_a_crash_while_writing_leaves_nothing(tiny, tracing, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sha256_of", full)
    with pytest.raises(ExportError, match="No space left on device"):
        export_engine(tiny, tmp_path / "x", frames=FRAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors"}


def graph_of(op: str = "Mul", *, opset: int = 20, dtype=onnx.TensorProto.FLOAT, batch="batch", name="stems"):
    shape = [batch, 5, 17, 2, 2]
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node(op, ["mixture", "mixture"], ["flat"]),
                onnx.helper.make_node("Unsqueeze", ["flat", "axis"], [name]),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("mixture", dtype, shape)],
            [onnx.helper.make_tensor_value_info(name, dtype, [shape[0], 1, *shape[1:]])],
            [onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "Mod"}, "unexpected operators: Mod"),
        ({"opset": 18}, "graph uses opsets {'': 18}.*expected {'': 20}"),
        ({"dtype": onnx.TensorProto.DOUBLE}, "expected float32 mixture"),
        ({"batch": 1}, "expected float32 mixture"),
        ({"name": "vocals"}, "expected float32 stems"),
        ({"op": "NoSuchOp"}, "not valid ONNX"),
    ],
)
def test_graphs_that_break_the_contract_are_refused(tmp_path, change, message):
    path = tmp_path / "x.onnx"
    mixture = Tensor("mixture", "float32", ["batch", 5, 17, 2, 2])
    stems = Tensor("stems", "float32", ["batch", 1, 5, 17, 2, 2])
    onnx.save(graph_of(), path)
    check_graph(path, mixture, [stems])
    onnx.save(graph_of(**change), path)
    with pytest.raises(ExportError, match=message):
        check_graph(path, mixture, [stems])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": only(smallest_frames(STFT) - 1)}, "--frames 2: must be between 3 and 100000 .*half an STFT window"),
        ({"frames": only(10**19)}, "--frames 10000000000000000000: must be between 3 and 100000"),
        ({"frames": Range(30, 20, 40)}, "--frames 30:20:40: .*ascending order"),
        ({"frames": only(20), "batch": only(0)}, "--batch-min 0: must be between 1 and 64"),
        ({"frames": only(20), "batch": Range(1, 1, 65)}, "--batch-max 65: must be between 1 and 64"),
        ({"frames": only(20), "batch": Range(4, 2, 8)}, "--batch-min 4, --batch-opt 2, --batch-max 8: .*ascending"),
        ({"frames": only(20), "precision": "int8"}, "--precision int8: must be fp32, fp16 or bf16"),
        ({"frames": only(20), "scan": "sequential"}, "--scan sequential: must be chunked, unrolled, custom or plugin"),
    ],
)
def test_impossible_options_are_refused(tiny, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        export_engine(tiny, tmp_path / "x", **options)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ckpt", "nowhere.ckpt"], "nowhere.ckpt: cannot be read (No such file or directory)"),
        (["--ckpt", "demo", "--frames", "61", "--seconds", "1"], "--frames and --seconds: give only one"),
        (["--ckpt", "demo", "--seconds", "-1"], "--seconds -1: must be between 0.03 and 600"),
        (["--ckpt", "demo", "--seconds", "0.01"], "--seconds 0.01: must be between 0.03 and 600"),
        (["--ckpt", "demo", "--seconds", "nan"], "--seconds nan: must be between"),
        (["--ckpt", "demo", "--frames", "2"], "--frames 2: must be between 4 and 100000"),
        (["--ckpt", "demo", "--weights", "best"], "no weights called 'best': expected raw"),
        (["--ckpt", "demo", "--weights", "ema"], "use --weights raw"),
        (["--ckpt", "demo", "-o", "/"], "/: is a folder: give a name in it"),
        (["--ckpt", "demo", "-o", ".."], "..: is a folder: give a name in it"),
        (["--ckpt", "x" * 300], "File name too long"),
        (["--ckpt", "demo", "-o", "/proc/x/y"], "cannot be written"),
        (["--frobnicate"], "No such option"),
        (["demo"], "demo: give the checkpoint with --ckpt: bsm-export --ckpt demo"),
        ([], "give one of --ckpt PATH, --rebuild NAME, --inspect NAME, --triton DIR, --list"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(args, message, capsys, tmp_path, monkeypatch):
    from bsmamba2.errors import BsmambaError
    from export.cli import app

    monkeypatch.chdir(tmp_path)
    assert exit_code(app, "bsm-export", args, mistakes=(BsmambaError,)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1 and error.startswith("bsm-export: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("more", "noted"), [([], True), (["--trt"], False), (["--precision", "fp16"], False)])
def test_bf16_without_a_plan_says_at_once_what_will_run_it(more, noted, capsys, tmp_path):
    from bsmamba2.errors import BsmambaError
    from export.cli import app

    args = ["--ckpt", str(tmp_path / "none.ckpt"), "--precision", "bf16", *more]
    assert exit_code(app, "bsm-export", args, mistakes=(BsmambaError,)) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert ("bf16" in first and "CPU" in first and "--trt" in first and len(others) == 1) == noted
