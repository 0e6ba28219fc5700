"""Engines of the whole family compute what the original codes computed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import bad_server
import golden_roformer
import numpy as np
import pytest
import soundfile
import torch
import yaml
from golden_data import arrays, relative_error
from golden_roformer import CASES, spectrum_out
from msst import demix

from bsmamba2.checkpoint import load, load_checkpoint
from bsmamba2.networks.stft import inverse, spectrogram
from export import cli as export_cli
from export import listing, named
from export.engine import export_engine, only
from export.graph.to_onnx import prepared
from runtime import cli as run_cli
from runtime import open_separator
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.stft import Stft
from runtime.engine.info import describe_engine
from runtime.engine.manifest import Msst
from runtime.engine.reading import manifest_path, read_manifest

TOLERANCE = 2e-5  # of the peak, from the waveform by NumPy's STFT in float32
# Tracing takes most of a minute on two cores for two cases: those with the most unusual parts here, the others in
# `make test-slow`.
FORMS = [
    ("bs_value_residual_d24_L3", "fp32", "cpu"),
    ("mel60_2stems_md3_skip_dc_match_d16_L3", "fp32", "cpu"),
]
SLOW_FORMS = [
    *((name, "fp32", "cpu") for name in CASES if all(name != form[0] for form in FORMS)),
    *(
        (name, precision, "gpu")
        for name in ("bs_value_residual_d24_L3", "bs_pope_d24_L2")
        for precision in ("fp16", "bf16")
    ),
    ("mel60_stereo_d24_L2", "fp16", "gpu"),
    ("bs_linear_bands36_d24", "fp16", "cpu"),
    ("mel40_pypi041_d12_L2", "fp32", "gpu"),
]


@pytest.mark.parametrize("name", CASES)
def test_golden_networks_in_the_form_that_is_exported(tmp_path, name):
    """Sub-bands in groups, tables of positions: the same function before it is traced."""
    read = golden_roformer.checkpoint(name, tmp_path)
    frames = golden_roformer.facts(name)["frames"]
    form = prepared(read.model(), only(frames), target="gpu")
    mixture = spectrogram(torch.from_numpy(arrays(name)["wave_in"]).double(), read.config.stft).float()
    with torch.inference_mode():
        stems = form(mixture).numpy()
    reference, at = spectrum_out(name)
    assert relative_error(stems[:, :, at], reference) <= golden_roformer.TOLERANCE


@pytest.mark.parametrize(
    ("name", "precision", "target"), [*FORMS, *(pytest.param(*form, marks=pytest.mark.slow) for form in SLOW_FORMS)]
)
def test_golden_networks_through_the_engine(tracing, tmp_path, name, precision, target):
    read = golden_roformer.checkpoint(name, tmp_path)
    frames = golden_roformer.facts(name)["frames"]
    done = export_engine(read, tmp_path / "x", frames=only(frames), precision=precision, target=target)
    assert (done.manifest.model.starts != []) == (golden_roformer.facts(name)["kind"] == "mel")
    if precision != "fp32":  # which the export itself has compared with PyTorch
        return
    stft, backend = Stft.of(done.manifest.stft), OnnxRuntimeBackend(done.engine, threads=None)
    wave = arrays(name)["wave_in"]
    mixture = spectrogram(torch.from_numpy(wave).double(), read.config.stft).float().numpy()
    reference, at = spectrum_out(name)
    assert relative_error(backend.run(mixture)[:, :, at], reference) <= TOLERANCE
    waves = stft.inverse(backend.run(stft.forward(wave)))
    assert relative_error(waves, arrays(name)["wave_out"][..., : waves.shape[-1]]) <= golden_roformer.FROM_WAVE


def test_from_checkpoint_and_yaml_to_stems_by_the_two_commands(tracing, tmp_path, capsys):
    name = "mel60_2stems_md3_skip_dc_match_d16_L3"
    golden_roformer.checkpoint(name, tmp_path)
    given = ["--ckpt", str(tmp_path / f"{name}.ckpt"), "--config", str(tmp_path / f"{name}.yaml")]
    settings = ["--set", "audio.chunk_size=9702", "--set", "inference.num_overlap=2"]
    assert exit_code(export_cli.app, "bsm-export", [*given, *settings, "-o", str(tmp_path / "mel")]) == 0
    engine = tmp_path / "mel.onnx"
    manifest = read_manifest(engine)
    assert (manifest.frames.opt, manifest.chunk_samples, manifest.msst.num_overlap) == (23, 9702, 2)
    assert "Mel-Band RoFormer" in describe_engine(engine)
    capsys.readouterr()

    wave = arrays(name)["wave_in"][0, :, :9702]
    soundfile.write(tmp_path / "song.wav", wave.T, 44100, subtype="FLOAT")
    args = [str(engine), str(tmp_path / "song.wav"), "--subtype", "FLOAT", "-o", str(tmp_path / "out")]
    assert exit_code(run_cli.app, "bsm-run", [*args, "--stems", "stem 1"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["song_stem 1.wav"]
    found, _ = soundfile.read(tmp_path / "out" / "song_stem 1.wav", dtype="float32")
    with open_separator(engine) as separator:
        expected = separator.separate(wave, 44100)["stem 1"]
    np.testing.assert_array_equal(found.T, expected)


def test_songs_are_cut_as_msst_does_around_the_network_in_pytorch(tracing, tmp_path):
    """A song of several chunks, file to file: within 1e-4 of the peak."""
    name = "mel60_2stems_md3_skip_dc_match_d16_L3"
    content = golden_roformer.configuration(name)
    content |= {"audio": {"chunk_size": 9702}, "inference": {"num_overlap": 4, "batch_size": 2}}
    golden_roformer.checkpoint(name, tmp_path)
    (tmp_path / "msst.yaml").write_text(yaml.safe_dump(content))
    read = load_checkpoint(tmp_path / f"{name}.ckpt", tmp_path / "msst.yaml")
    done = export_engine(read, tmp_path / "mel", frames=only(23))
    assert done.manifest.msst == Msst(9702, 4, 2)
    song = np.tile(arrays(name)["wave_in"][0], 3)[:, :25_000]
    soundfile.write(tmp_path / "song.wav", song.T, 44100, subtype="FLOAT")
    args = [str(done.engine), str(tmp_path / "song.wav"), "--subtype", "FLOAT", "-o", str(tmp_path / "out")]
    assert exit_code(run_cli.app, "bsm-run", [*args, "--procedure", "msst"]) == 0

    model, stft = read.model(), read.config.stft

    def network(chunk):
        with torch.inference_mode():
            return inverse(model(spectrogram(torch.from_numpy(chunk[None]).float(), stft)), stft)[0].numpy()

    expected = demix(song, network, 9702, 4, 2)
    for i, stem in enumerate(("stem 0", "stem 1")):  # without vocals, two stems leave no rest
        found, _ = soundfile.read(tmp_path / "out" / f"song_{stem}.wav", dtype="float32")
        assert relative_error(found.T, expected[i].astype(np.float32)) <= 1e-4
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_session_by_name_from_the_list_to_the_stems(tracing, tmp_path, monkeypatch, capsys):
    """`--list`, then a checkpoint from a server on this machine, then a song."""
    name = "bs_pope_d24_L2"
    golden_roformer.checkpoint(name, tmp_path)
    file = (tmp_path / f"{name}.ckpt").read_bytes()
    content = golden_roformer.configuration(name)
    content["model"]["freqs_per_bands"] = "16x2 9x5 10x16 1x20"
    content["training"] = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}
    content |= {"audio": {"chunk_size": 4992}, "inference": {"num_overlap": 2}}
    monkeypatch.setitem(bad_server.WAYS, "file", lambda to: bad_server.send(to, file))
    server = bad_server.Server()
    digest = hashlib.sha256(file).hexdigest()
    entry = server.entry("file", name="a-singer", bytes=len(file), sha256=digest, known=content)
    for module, attribute, value in (
        (listing, "entries", lambda: (entry,)),
        (named, "find", lambda name: entry if name == entry.name else None),
        (load, "entry_of", lambda path: entry),
    ):
        monkeypatch.setattr(module, attribute, value)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    assert exit_code(export_cli.app, "bsm-export", ["--list"]) == 0
    assert "a-singer" in capsys.readouterr().out
    assert exit_code(export_cli.app, "bsm-export", ["--ckpt", "a-singer"]) == 0
    out, err = capsys.readouterr()
    assert "licence: CC-BY-NC-SA-4.0" in err
    assert "configuration from the catalogue, where this file is a-singer" in out
    assert "wrote engines/a-singer.onnx" in out
    server.close()  # from here on nothing is downloaded
    soundfile.write(tmp_path / "song.wav", arrays(name)["wave_in"][0].T, 44100, subtype="FLOAT")
    for extra in ([], ["--procedure", "msst", "--overwrite"]):
        assert exit_code(run_cli.app, "bsm-run", ["engines/a-singer.onnx", "song.wav", *extra]) == 0
        assert {path.name for path in Path("separated").iterdir()} == {"song_vocals.wav", "song_other.wav"}
    vocals, other, song = (
        soundfile.read(path, dtype="float32")[0]
        for path in ("separated/song_vocals.wav", "separated/song_other.wav", "song.wav")
    )
    np.testing.assert_allclose(vocals + other, song, atol=1e-6)
    assert exit_code(export_cli.app, "bsm-export", ["--ckpt", "a-singer", "--offline", "-o", "again"]) == 0


def test_weights_too_large_for_a_file_go_beside_it(tracing, tmp_path, monkeypatch):
    from export.graph import save

    monkeypatch.setattr(save.save, "__defaults__", (100_000,))
    read = golden_roformer.checkpoint("bs_pope_d24_L2", tmp_path)
    done = export_engine(read, tmp_path / "x", frames=only(40))
    data = tmp_path / "x.onnx.data"
    assert done.engine.stat().st_size < 400_000 < data.stat().st_size
    assert done.manifest.onnx_data.bytes == data.stat().st_size and "x.onnx.data" in describe_engine(done.engine)
    song = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0)).numpy()
    with open_separator(done.engine) as separator:
        stems = separator.separate(song, 44100)
    monkeypatch.undo()
    inside = export_engine(read, tmp_path / "y", frames=only(40))
    assert not (tmp_path / "y.onnx.data").exists()
    with open_separator(inside.engine) as separator:
        np.testing.assert_array_equal(separator.separate(song, 44100)["stem 0"], stems["stem 0"])

    content = data.read_bytes()
    for change, message in ((content[:-1], "was cut short"), (content[:-1] + b"x", "is not the file of this engine")):
        data.write_bytes(change)
        with pytest.raises(Exception, match=message):
            open_separator(done.engine)
    data.unlink()
    with pytest.raises(Exception, match=r"its weights, x\.onnx\.data, are missing: copy this file beside it"):
        open_separator(done.engine)
    # An engine without such a file replaces one that had it.
    export_engine(read, tmp_path / "x", frames=only(40))
    assert not data.exists() and read_manifest(manifest_path(done.engine).with_suffix(".onnx")).onnx_data is None
