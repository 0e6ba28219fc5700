"""The exported engine computes what the official network does, and a bad one is never written."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import golden_data
import numpy as np
import onnx
import pytest
import soundfile
import torch
from tiny import STFT, TINY, tiny_checkpoint

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.networks.model import BandSplitSeparator
from export import files
from export.engine import export_engine, only, smallest_frames
from export.errors import ExportError
from export.graph.bands import group_bands, runs
from export.graph.check_graph import check_graph
from export.graph.sliced import Sliced
from export.proof import verify as verify_module
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.stft import Stft
from runtime.engine.manifest import METADATA_KEY, VERSION, Manifest, manifest_path, read_manifest, sha256_of

TOLERANCE = 2e-5  # of the peak


@pytest.fixture
def tiny(tmp_path):
    return tiny_checkpoint(tmp_path, kind="transformer")  # traced faster


@pytest.mark.parametrize("name", golden_data.CASES)
def test_golden_networks_through_the_engine(golden_engine, name):
    path = golden_engine(name)
    stft, backend = Stft(2048, 441), OnnxRuntimeBackend(path, threads=None)
    stems = backend.run(stft.forward(golden_data.wave_in(name)))
    reference, frames = golden_data.spectrum_out(name)
    assert golden_data.relative_error(stems[:, :, frames], reference) <= TOLERANCE
    assert golden_data.relative_error(stft.inverse(stems), golden_data.wave_out(name)) <= TOLERANCE


def test_from_checkpoint_to_golden_wave_by_the_two_commands(golden_engine, tmp_path):
    from runtime.cli import app

    engine = golden_engine("a")
    soundfile.write(tmp_path / "wave.wav", golden_data.wave_in("a")[0].T, 44100, subtype="FLOAT")
    args = [
        str(engine),
        str(tmp_path / "wave.wav"),
        "--overlap",
        "0",
        "--subtype",
        "FLOAT",
        "-o",
        str(tmp_path / "sep"),
    ]
    assert exit_code(app, "bsm-run", args) == 0
    vocals, _ = soundfile.read(tmp_path / "sep" / "wave_vocals.wav", dtype="float32")
    assert golden_data.relative_error(vocals.T, golden_data.wave_out("a")[0, 0]) <= TOLERANCE


def test_the_manifest_describes_the_engine(golden_engine):
    path = golden_engine("a")
    manifest = read_manifest(path)
    assert manifest.model.parameters == 1_646_364
    assert manifest.model.stems == ["vocals"]
    assert manifest.frames.opt == 61 and manifest.chunk_samples == 26460
    assert manifest.checkpoint.sha256 == sha256_of(path.with_name("a.ckpt"))
    assert manifest.parity.max_error <= manifest.parity.tolerance == TOLERANCE
    assert manifest.builder.versions["torch"] == torch.__version__
    inside = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    copy = Manifest.from_json(inside[METADATA_KEY], "metadata_props")
    assert copy == replace(manifest, onnx=None, plan=None)


def test_the_graph_holds_nothing_of_the_machine_it_was_made_on(golden_engine):
    model = onnx.load(golden_engine("a"))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert b"site-packages" not in golden_engine("a").read_bytes()
    sizes = sum(np.prod(tensor.dims) * 4 for tensor in model.graph.initializer)
    assert golden_engine("a").stat().st_size < 1.1 * sizes


@pytest.mark.parametrize("kind", ["mamba2", "transformer"])
def test_any_batch_and_any_number_of_stems(tmp_path, kind):
    torch.manual_seed(1)
    config = replace(TINY, kind=kind, stems=("one", "two", "three"), channels=1, mask_depth=3)
    save_checkpoint(BandSplitSeparator(config), tmp_path / "x.safetensors")
    checkpoint = load_checkpoint(tmp_path / "x.safetensors")
    done = export_engine(checkpoint, tmp_path / "x", frames=only(95))  # more than a slice along the bands takes
    backend = OnnxRuntimeBackend(done.engine, threads=1)
    for batch in (1, 2, 3):
        mixture = np.random.default_rng(0).standard_normal((batch, 95, 17, 1, 2)).astype(np.float32)
        with torch.inference_mode():
            reference = checkpoint.model()(torch.from_numpy(mixture)).numpy()
        found = backend.run(mixture)
        assert found.shape == (batch, 3, 95, 17, 1, 2)
        assert golden_data.relative_error(found, reference) <= TOLERANCE


def test_grouped_bands_are_the_same_function():
    for name in ("a", "c"):
        model = golden_data.network(name).double()
        grouped = copy.deepcopy(model)
        group_bands(grouped)
        mixture = torch.from_numpy(Stft(2048, 441).forward(golden_data.wave_in(name))).double()
        with torch.inference_mode():
            reference = model(mixture)
            assert (grouped(mixture) - reference).abs().max() <= 1e-12 * reference.abs().max()
    assert runs([2, 2, 2, 5, 2, 8, 8]) == [(0, 3), (3, 1), (4, 1), (5, 2)]


def test_a_half_precision_engine_is_half_the_size_and_near_float32(tmp_path):
    torch.save(golden_data.state("c"), tmp_path / "c.ckpt")
    done = export_engine(load_checkpoint(tmp_path / "c.ckpt"), tmp_path / "c", frames=only(51), precision="fp16")
    assert done.manifest.precision == "fp16"
    stft, backend = Stft(2048, 441), OnnxRuntimeBackend(done.engine, threads=None)
    found = stft.inverse(backend.run(stft.forward(golden_data.wave_in("c"))))
    reference = golden_data.wave_out("c")
    assert 10 * np.log10(np.sum(reference**2) / np.sum((found - reference) ** 2)) >= 50
    assert done.engine.stat().st_size < 0.6 * 4 * done.manifest.model.parameters


def test_a_network_beyond_float16_is_not_exported(tiny, tmp_path):
    tiny.state["band_split.to_features.0.1.weight"] *= 1e6
    with pytest.raises(ExportError, match="NaN or Inf.*may leave the range of float16, try bf16: nothing was written"):
        export_engine(tiny, tmp_path / "x", frames=only(20), precision="fp16")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors"}


@pytest.mark.parametrize("sequences", [1, 89, 90, 91, 180])
def test_slices_cover_every_sequence_once(sequences):
    x = torch.arange(sequences * 6.0).reshape(sequences, 3, 2)
    for size in (1, 90):
        assert torch.equal(Sliced(torch.nn.ReLU(), size)(x), x)


def test_an_engine_that_differs_is_not_written(tiny, tmp_path, monkeypatch):
    honest = verify_module.pytorch_stems
    monkeypatch.setattr(verify_module, "pytorch_stems", lambda *args: honest(*args) * np.float32(1.001))
    before = b"an earlier engine"
    (tmp_path / "x.onnx").write_bytes(before)
    with pytest.raises(
        ExportError,
        match=r"the fp32 engine differs from PyTorch by .* of the peak .at most 2e-05.* nothing was written",
    ):
        export_engine(tiny, tmp_path / "x", frames=only(20))
    assert (tmp_path / "x.onnx").read_bytes() == before
    assert not (tmp_path / "x.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "tiny.safetensors"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: out * np.nan, "NaN or Inf"),
        (lambda out: out[:, :, ::-1], "differs from PyTorch"),
        (lambda out: np.repeat(out, 2, axis=1), "got shape"),
        (lambda out: out + 1e-3, "differs from PyTorch|out of a silent item"),
        (lambda out: out[::-1] if len(out) > 1 else out, "out of a silent item"),
    ],
)
def test_wrong_outputs_of_the_engine_are_caught(tiny, tmp_path, monkeypatch, damage, message):
    honest = OnnxRuntimeBackend.run
    monkeypatch.setattr(OnnxRuntimeBackend, "run", lambda self, mixture: damage(honest(self, mixture)))
    with pytest.raises(ExportError, match=message):
        export_engine(tiny, tmp_path / "x", frames=only(20))
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.safetensors"}


@pytest.mark.parametrize(
    ("earlier", "failure", "seen"),
    [
        (True, OSError(28, "No space left on device"), ExportError),
        (False, OSError(28, "No space left on device"), ExportError),
        (True, KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_engine_never_stands_without_its_manifest(tiny, tmp_path, monkeypatch, earlier, failure, seen):
    folder = tmp_path / "out"
    if earlier:
        export_engine(tiny, folder / "x", frames=only(20))
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if earlier else {}
    replace_file = Path.replace

    def no_manifest(self, target):
        if self.parent != folder and str(target).endswith("out/x.json") and not self.name.startswith("earlier"):
            raise failure
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", no_manifest)
    message = "out/x: cannot be written .No space left on device" if seen is ExportError else None
    with pytest.raises(seen, match=message):
        export_engine(tiny, folder / "x", frames=only(30))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_names_that_are_folders_are_refused_at_once(tiny, tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ExportError, match=r"x\.json: is a folder: choose another name with -o"):
        export_engine(tiny, tmp_path / "x", frames=only(20))


def test_a_checkpoint_of_strong_decays_exports(tmp_path):
    """Heads that forget at once, beside others that hardly forget: float32 must still tell them apart."""
    state = golden_data.state("a")
    for key, value in state.items():
        if key.endswith("dt_bias"):
            value += 3
        elif key.endswith("in_proj.weight"):
            value[-2:] *= 30
        elif key.endswith("A_log"):
            value += 1
    torch.save(state, tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    done = export_engine(checkpoint, tmp_path / "x", frames=only(61))
    mixture = Stft(2048, 441).forward(golden_data.wave_in("a"))
    with torch.inference_mode():
        exact = checkpoint.model().double().use_scan("sequential")(torch.from_numpy(mixture).double()).numpy()
    assert golden_data.relative_error(OnnxRuntimeBackend(done.engine, threads=None).run(mixture), exact) <= TOLERANCE


def test_a_crash_while_writing_leaves_nothing(tiny, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sha256_of", full)
    with pytest.raises(ExportError, match="No space left on device"):
        export_engine(tiny, tmp_path / "x", frames=only(20))
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
        ({"op": "Mod"}, "operators that none of our graphs should: Mod"),
        ({"opset": 18}, "graph uses opsets {'': 18}.*expected {'': 20}"),
        ({"dtype": onnx.TensorProto.DOUBLE}, "expected float32 mixture"),
        ({"batch": 1}, "expected float32 mixture"),
        ({"name": "vocals"}, "expected float32 stems"),
        ({"op": "NoSuchOp"}, "not valid ONNX"),
    ],
)
def test_graphs_that_break_the_contract_are_refused(change, message):
    check_graph(graph_of(), only(5), 17, 2, 1)
    with pytest.raises(ExportError, match=message):
        check_graph(graph_of(**change), only(5), 17, 2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"frames": only(smallest_frames(STFT) - 1)},
            "frames: expected 3, whose chunk is longer than n_fft / 2, to 100000",
        ),
        ({"frames": only(10**19)}, "expected 3, whose chunk"),
        (
            {"frames": only(20), "batch": only(0)},
            "a batch of 0: expected --batch-min <= --batch-opt",
        ),
        ({"frames": only(20), "precision": "int8"}, "--precision int8: expected fp32, fp16 or bf16"),
        ({"frames": only(20), "scan": "sequential"}, "--scan sequential: expected chunked, unrolled or custom"),
    ],
)
def test_impossible_options_are_refused(tiny, tmp_path, options, message):
    with pytest.raises(ExportError, match=message):
        export_engine(tiny, tmp_path / "x", **options)


def test_the_command(tiny, tmp_path, capsys):
    from export.cli import app

    args = ["--ckpt", str(tiny.path), "-o", str(tmp_path / "out" / "x.onnx"), "--seconds", "0.1", "--batch-max", "3"]
    assert exit_code(app, "bsm-export", args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"wrote {tmp_path / 'out' / 'x.onnx'} (")
    assert "largest error" in lines[-2] and "tolerance 2e-05" in lines[-2]
    manifest = read_manifest(tmp_path / "out" / "x.onnx")
    assert manifest.frames.opt == 81 and manifest.batch.max == 3
    assert json.loads(manifest_path(tmp_path / "out" / "x.onnx").read_text())["version"] == VERSION


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ckpt", "nowhere.ckpt"], "nowhere.ckpt: cannot be read (No such file or directory)"),
        (["--ckpt", "demo", "--frames", "61", "--seconds", "1"], "--frames and --seconds: give one of them"),
        (["--ckpt", "demo", "--seconds", "-1"], "--seconds -1.0: expected more than 0"),
        (["--ckpt", "demo", "--frames", "2"], "2 frames: expected 4, whose chunk"),
        (["--ckpt", "demo", "--weights", "best"], "expected 'raw' or 'ema'"),
        (["--ckpt", "demo", "--weights", "ema"], "use --weights raw"),
        (["--ckpt", "demo", "-o", "/"], "expected the name of an engine"),
        (["--ckpt", "demo", "-o", ".."], "expected the name of an engine"),
        (["--ckpt", "x" * 300], "File name too long"),
        (["--ckpt", "demo", "-o", "/proc/x/y"], "cannot be written"),
        (["--frobnicate"], "No such option"),
        ([], "expected one of --ckpt PATH, --rebuild NAME, --inspect NAME"),
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
