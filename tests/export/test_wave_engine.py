"""Engines with waveforms in and out compute what those with spectrograms do, with the STFT around them."""

from __future__ import annotations

import json
from contextlib import closing

import golden_data
import golden_roformer
import numpy as np
import onnx
import pytest
from official_files import lightning_file
from tiny import FRAMES, LENGTHS, TINY, tiny_checkpoint

from bsmamba2.checkpoint import load_checkpoint
from export.cli import app
from export.engine import export_engine, only
from export.errors import ExportError
from export.graph.check_graph import ALLOWED
from export.graph.nodes import nodes_of
from export.proof.blockwise import BlockwiseBackend
from export.proof.pytorch import pytorch_stems
from runtime import open_separator
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.difference import difference
from runtime.dsp.stft import Stft
from runtime.engine.info import describe_engine
from runtime.engine.reading import read_manifest
from runtime.errors import EngineError

LEAST_DB = 110.0
QUICK = ("a", "mel64_mono_nfft4096_md1_d16")
SLOW = [name for name in (*golden_data.CASES, *golden_roformer.CASES) if name not in QUICK]


def golden(name, folder):
    """The checkpoint of a golden case, and its input [b, c, samples]."""
    if name in golden_roformer.CASES:
        return golden_roformer.checkpoint(name, folder), golden_data.arrays(name)["wave_in"]
    lightning_file(folder / f"{name}.ckpt", name)
    return load_checkpoint(folder / f"{name}.ckpt"), golden_data.wave_in(name)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_golden_networks_in_both_forms(tracing, tmp_path, name):
    """From song to stems through the runtime.

    Where a network is sensitive to errors in quiet bins, PyTorch's own STFT in float32 makes as large a difference.
    """
    checkpoint, wave = golden(name, tmp_path)
    hop, rate = checkpoint.config.stft.hop_length, checkpoint.config.stft.sample_rate
    frames = 1 + wave.shape[-1] // hop
    song, stems = wave[0, :, : hop * (frames - 1)].astype(np.float32), {}
    for io in ("spectrum", "wave"):
        done = export_engine(checkpoint, tmp_path / io, frames=only(frames), io=io)
        with open_separator(done.engine, overlap=0.0) as separator:
            found = separator.separate(song, rate)
            stems[io] = np.stack([found[stem] for stem in done.manifest.stems])
            assert (separator.times.seconds["stft"] == 0) == (io == "wave")
    found, least = difference(stems["wave"], stems["spectrum"]).snr_db, LEAST_DB
    if found < least:
        pytorch = pytorch_stems(checkpoint.model(), song[None], "wave")[0]
        least = difference(pytorch, stems["spectrum"]).snr_db - 3
    assert found >= least


@pytest.fixture(scope="module")
def engines(tracing, tmp_path_factory):
    """One tiny network in both forms, that with waveforms also for GPUs, probed and of any length."""
    folder = tmp_path_factory.mktemp("waves")
    checkpoint = tiny_checkpoint(folder, kind="transformer")
    forms = {
        "spectrum": {"frames": FRAMES},
        "wave": {"frames": FRAMES, "io": "wave"},
        "gpu": {"frames": FRAMES, "io": "wave", "target": "gpu"},
        "probed": {"frames": FRAMES, "io": "wave", "probe": True, "reference": True},
        "lengths": {"frames": LENGTHS, "io": "wave"},
        "fp16": {"frames": FRAMES, "io": "wave", "precision": "fp16", "target": "gpu"},
        "bf16": {"frames": FRAMES, "io": "wave", "precision": "bf16", "target": "gpu"},
    }
    return {name: export_engine(checkpoint, folder / name, **options) for name, options in forms.items()}


def samples(frames):
    return TINY.stft.hop_length * (frames - 1)


def wave_of(frames, batch=2):
    return np.random.default_rng(1).uniform(-0.5, 0.5, (batch, 2, samples(frames))).astype(np.float32)


def test_the_manifest_and_the_graph_say_what_goes_in_and_out(engines):
    manifest = read_manifest(engines["wave"].engine)
    assert (manifest.io, manifest.frames.opt, manifest.chunk_samples) == ("wave", FRAMES.opt, samples(FRAMES.opt))
    assert manifest.input.shape == ["batch", 2, samples(FRAMES.opt)]
    assert manifest.output.shape == ["batch", 1, 2, samples(FRAMES.opt)]
    assert manifest.parity.inputs.endswith("70 frames, waveforms")
    graph = onnx.load(engines["wave"].engine)
    assert {node.op_type for node in nodes_of(graph.graph.node)} <= ALLOWED
    assert "waveforms in and out (STFT and its inverse inside)" in describe_engine(engines["wave"].engine)
    assert read_manifest(engines["lengths"].engine).input.shape == ["batch", 2, "samples"]
    assert read_manifest(engines["spectrum"].engine).io == "spectrum"


@pytest.mark.parametrize("name", ["wave", "gpu", "probed", "lengths"])
def test_every_form_gives_the_same_waveforms(engines, name):
    frames = FRAMES.opt
    spectrum = OnnxRuntimeBackend(engines["spectrum"].engine, threads=None)
    stft, wave = Stft.of(engines["spectrum"].manifest.stft), wave_of(frames)
    expected = stft.inverse(spectrum.run(stft.forward(wave)))
    engine = engines[name].engine
    assert difference(OnnxRuntimeBackend(engine, threads=None).run(wave), expected).snr_db >= LEAST_DB
    with closing(BlockwiseBackend(engine)) as blocks:
        assert difference(blocks.run(wave), expected).snr_db >= LEAST_DB


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_the_transforms_are_float32_at_any_precision(engines, name):
    graph = onnx.load(engines[name].engine).graph
    inside = [each for each in graph.initializer if each.name.startswith(("stft.", "istft."))]
    assert {each.data_type for each in inside} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    assert sum(each.name.endswith("_factors") for each in inside) == 6


def test_a_length_that_is_no_multiple_of_the_hop_is_refused(engines):
    engine = engines["lengths"].engine
    backend = OnnxRuntimeBackend(engine, threads=None, manifest=read_manifest(engine))
    assert backend.run(wave_of(30)).shape == (2, 1, 2, samples(30))
    with pytest.raises(EngineError, match=r"lengths\.onnx takes float32.*20 to 641 frames.*in steps of 10 samples"):
        backend.run(wave_of(30)[..., :-1])
    with pytest.raises(EngineError, match="20 to 641 frames"):
        backend.run(wave_of(19))


def test_songs_of_any_length(engines):
    """Several chunks and groups, the last one smaller."""
    song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5 * samples(FRAMES.opt) + 77)).astype(np.float32)
    separated = {}
    for form in ("spectrum", "wave"):
        with open_separator(engines[form].engine, batch=3) as separator:
            separated[form] = separator.separate(song, TINY.stft.sample_rate)["vocals"]
    assert difference(separated["wave"], separated["spectrum"]).snr_db >= LEAST_DB


@pytest.mark.parametrize(
    ("options", "io"), [([], "spectrum"), (["--target", "gpu"], "wave"), (["--io", "wave"], "wave")]
)
def test_the_default_is_that_of_the_target(monkeypatch, tmp_path, options, io):
    given = {}

    def export(*args, **options):
        given.update(options)
        raise ExportError("not here")

    monkeypatch.setattr("export.engine.export_engine", export)
    args = ["--ckpt", "demo-roformer", "-o", str(tmp_path / "x"), *options]
    assert exit_code(app, "bsm-export", args) == 2
    assert given["io"] == io


def test_an_unknown_form_is_refused(tmp_path, capsys):
    args = ["--ckpt", "demo-roformer", "-o", str(tmp_path / "x"), "--io", "sound"]
    assert exit_code(app, "bsm-export", args) == 2
    assert "--io sound: must be spectrum or wave" in capsys.readouterr().err


def test_a_manifest_of_the_other_form_is_refused(engines, tmp_path):
    for name in ("wave.onnx", "wave.json"):
        (tmp_path / name).write_bytes((engines["wave"].engine.parent / name).read_bytes())
    data = json.loads((tmp_path / "wave.json").read_text())
    spectrum = json.loads(engines["spectrum"].manifest.to_json())
    data |= {key: spectrum[key] for key in ("io", "input", "output")}
    (tmp_path / "wave.json").write_text(json.dumps(data))
    with pytest.raises(EngineError, match="has mixture tensor.*but its manifest says mixture"):
        open_separator(tmp_path / "wave.onnx")


def test_an_engine_that_differs_is_not_written(tracing, tmp_path, monkeypatch):
    """The proof compares waveforms: one sample later is another engine."""
    from export.proof import verify

    honest = verify.pytorch_stems
    monkeypatch.setattr(verify, "pytorch_stems", lambda *args: np.roll(honest(*args), 1, axis=-1))
    checkpoint = tiny_checkpoint(tmp_path, kind="transformer")
    with pytest.raises(ExportError, match="differs from PyTorch"):
        export_engine(checkpoint, tmp_path / "x", frames=FRAMES, io="wave")
    assert not (tmp_path / "x.onnx").exists()
