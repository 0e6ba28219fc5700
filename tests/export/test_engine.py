"""The exported engine computes what the official network does, and a bad one is never written."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import golden_data
import numpy as np
import onnx
import pytest
import soundfile
import torch
from tiny import TINY

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.networks.model import BandSplitSeparator
from export.engine import export_engine, only
from export.graph.bands import group_bands, groups_of
from export.graph.sliced import Sliced
from runtime import open_separator
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.stft import Stft
from runtime.engine.manifest import METADATA_KEY, VERSION, Manifest, sha256_of
from runtime.engine.reading import manifest_path, read_manifest

TOLERANCE = 2e-5  # of the peak


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


def test_the_published_procedure_is_chunk_by_chunk(golden_engine):
    """--overlap 0 with a real network: the stems of a chunk do not depend on the rest of the song."""
    song = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3 * 22050)).astype(np.float32)
    separator = open_separator(golden_engine("c"), overlap=0.0)
    whole = separator.separate(song, 44100)["vocals"]
    for i in range(3):
        here = slice(i * 22050, (i + 1) * 22050)
        alone = separator.separate(song[:, here], 44100)["vocals"]
        assert np.abs(alone - whole[:, here]).max() <= 1e-6
    overlapped = open_separator(golden_engine("c"), overlap=0.5).separate(song, 44100)["vocals"]
    assert np.abs(overlapped - whole).max() > 1e-4


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
def test_any_batch_and_any_number_of_stems(tracing, tmp_path, kind):
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


@pytest.mark.seconds
def test_grouped_bands_are_the_same_function():
    for name in ("a", "c"):
        model = golden_data.network(name).double()
        grouped = copy.deepcopy(model)
        group_bands(grouped)
        mixture = torch.from_numpy(Stft(2048, 441).forward(golden_data.wave_in(name))).double()
        with torch.inference_mode():
            reference = model(mixture)
            assert (grouped(mixture) - reference).abs().max() <= 1e-12 * reference.abs().max()
    stft = replace(TINY.stft, n_fft=56, win_length=56)
    apart = replace(TINY, bands=(2, 2, 2, 5, 2, 8, 8), stft=stft)
    assert groups_of(apart) == [(0, 3, 2), (3, 1, 5), (4, 1, 2), (5, 2, 8)]
    overlapping = replace(apart, bands=(5, 6, 7, 9, 9, 12), starts=(0, 4, 6, 8, 12, 17))
    assert groups_of(overlapping) == [(0, 2, 6), (2, 3, 9), (5, 1, 12)]


def test_a_half_precision_engine_is_half_the_size_and_near_float32(tracing, tmp_path):
    torch.save(golden_data.state("c"), tmp_path / "c.ckpt")
    done = export_engine(load_checkpoint(tmp_path / "c.ckpt"), tmp_path / "c", frames=only(51), precision="fp16")
    assert done.manifest.precision == "fp16"
    stft, backend = Stft(2048, 441), OnnxRuntimeBackend(done.engine, threads=None)
    found = stft.inverse(backend.run(stft.forward(golden_data.wave_in("c"))))
    reference = golden_data.wave_out("c")
    assert 10 * np.log10(np.sum(reference**2) / np.sum((found - reference) ** 2)) >= 50
    assert done.engine.stat().st_size < 0.6 * 4 * done.manifest.model.parameters


@pytest.mark.parametrize("sequences", [1, 89, 90, 91, 180])
def test_slices_cover_every_sequence_once(sequences):
    x = torch.arange(sequences * 6.0).reshape(sequences, 3, 2)
    for size in (1, 90):
        assert torch.equal(Sliced(torch.nn.ReLU(), size)(x), x)


def test_a_checkpoint_of_strong_decays_exports(tracing, tmp_path):
    """Heads that forget at once, beside others that hardly forget: float32 must still tell them apart."""
    state = golden_data.state("c")
    for key, value in state.items():
        if key.endswith("dt_bias"):
            value += 3
        elif key.endswith("in_proj.weight"):
            value[-2:] *= 30
        elif key.endswith("A_log"):
            value += 1
    torch.save(state, tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    done = export_engine(checkpoint, tmp_path / "x", frames=only(51))
    mixture = Stft(2048, 441).forward(golden_data.wave_in("c"))
    with torch.inference_mode():
        exact = checkpoint.model().double().use_scan("sequential")(torch.from_numpy(mixture).double()).numpy()
    assert golden_data.relative_error(OnnxRuntimeBackend(done.engine, threads=None).run(mixture), exact) <= TOLERANCE


def test_the_command(tiny, tracing, tmp_path, capsys):
    from export.cli import app

    args = [
        "--ckpt",
        str(tiny.path),
        "-o",
        str(tmp_path / "out" / "x.onnx"),
        "--seconds",
        "0.08625",
        "--batch-max",
        "3",
    ]
    assert exit_code(app, "bsm-export", args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"wrote {tmp_path / 'out' / 'x.onnx'} (")
    assert "largest error" in lines[-2] and "tolerance 2e-05" in lines[-2]
    manifest = read_manifest(tmp_path / "out" / "x.onnx")
    assert manifest.frames.opt == 70 and manifest.batch.max == 3
    assert json.loads(manifest_path(tmp_path / "out" / "x.onnx").read_text())["version"] == VERSION
