"""`bsm-parity` on an engine as `bsm-export --probe --reference` writes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from test_imports import python_without
from tiny import STFT, TINY, tiny_checkpoint

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.errors import BsmambaError
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.stft import inverse, spectrogram
from export.checks.parity_cli import app
from export.engine import export_engine, only
from export.errors import ExportError
from export.plan.choose import Asked
from export.plan.rebuild import rebuild_engine
from export.proof.reference import reference_of
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.signal import signal_wave
from runtime.dsp.stft import Stft
from runtime.engine.reading import manifest_path, read_manifest
from runtime.errors import EngineError

FRAMES = 40


@pytest.fixture(scope="module")
def exported(tracing, tmp_path_factory):
    """The files of a tiny engine of two stems with probes, its reference and its checkpoint."""
    from export.cli import app as export_app

    folder = tmp_path_factory.mktemp("probed")
    checkpoint = tiny_checkpoint(folder, kind="transformer", depth=2, stems=("vocals", "drums"))
    args = ["--ckpt", str(checkpoint.path), "--frames", str(FRAMES), "-o", str(folder / "x"), "--probe", "--reference"]
    assert exit_code(export_app, "bsm-export", args) == 0
    return folder


@pytest.fixture
def parity(exported, tmp_path, monkeypatch, capsys):
    """`bsm-parity x.onnx ...` in a folder that holds the engine, without the reference: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name in ("x.onnx", "x.json"):
        shutil.copy(exported / name, name)

    def run(*args):
        code = exit_code(app, "bsm-parity", ["x.onnx", *map(str, args)], mistakes=(BsmambaError,))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def song(tmp_path):
    """A song of several chunks after a second of silence, and the folder of its true vocals."""
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * STFT.sample_rate, 2)).astype(np.float32)
    audio[: STFT.sample_rate] = 0
    soundfile.write(tmp_path / "song.wav", audio, STFT.sample_rate, subtype="FLOAT")
    (tmp_path / "true").mkdir()
    soundfile.write(tmp_path / "true" / "vocals.flac", 0.5 * audio, STFT.sample_rate)
    return tmp_path / "song.wav"


def stages(out: str) -> list[str]:
    return [line.split("  ")[0] for line in out.splitlines() if "dB  " in line and not line.startswith("stage")]


def test_the_reference_beside_the_engine(parity, exported, tmp_path):
    shutil.copy(exported / "x.npz", tmp_path)
    code, out, _ = parity()
    assert code == 0
    names = ["STFT", "band features", "layer 1", "layer 2", "mask", "masked spectrogram", "waveform"]
    assert stages(out) == names
    assert out.splitlines()[-1] == "passed: all 7 stages within tolerance"


def test_pytorch_asked_now_says_the_same(parity, exported):
    _, recorded, _ = parity("--reference", exported / "x.npz")
    code, computed, _ = parity("--ckpt", exported / "tiny.safetensors")
    assert code == 0 and "against PyTorch with tiny.safetensors on the test signal" in computed
    assert recorded.splitlines()[2:] == computed.splitlines()[2:]


def test_a_song_before_and_after(parity, exported, song):
    code, out, _ = parity("--ckpt", exported / "tiny.safetensors", "--audio", song, "--stems", song.parent / "true")
    assert code == 0
    assert "song.wav, its loudest chunk, from 1." in out
    (row,) = (line.split() for line in out.splitlines() if line.startswith("vocals"))
    assert row[-1] == "ok" and abs(float(row[4])) <= 0.001 and row[2] == row[3]
    code, out, _ = parity("--reference", exported / "x.npz", "--audio", song, "--stems", song.parent / "true")
    assert code == 0 and "not compared" in out


def test_a_wrong_engine_is_exit_1(parity, exported, monkeypatch):
    honest = OnnxRuntimeBackend.run_probes

    def louder_layer(self, mixture):
        found = honest(self, mixture)
        return found | {"layer_2": found["layer_2"] * np.float32(1.001)}

    monkeypatch.setattr(OnnxRuntimeBackend, "run_probes", louder_layer)
    code, out, err = parity("--reference", exported / "x.npz")
    assert code == 1 and err == ""
    assert out.splitlines()[-1] == "FAILED: layer 2 is not within tolerance"


def test_the_report_is_one_file(parity, exported, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = parity("--reference", exported / "x.npz", "--report", "out.html")
    assert code == 0 and out.endswith("wrote out.html\n")
    html = (tmp_path / "out.html").read_text()
    assert "passed: all 7 stages within tolerance" in html and html.count("data:image/png") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "x.json", "out.html"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "x.onnx: nothing to compare with (x.npz is not there): give --reference or --ckpt"),
        (["--reference", "none.npz"], "none.npz: does not exist: bsm-export --reference writes one"),
        (["--reference", "a.npz", "--ckpt", "demo"], "--reference and --ckpt: give only one of them"),
        (["--ckpt", "none.ckpt"], "none.ckpt: cannot be read"),
        (["--ckpt", "demo"], "demo: is of checkpoint"),
        (["--config", "a.yaml"], "--config: needs --ckpt"),
        (["--audio", "song.wav"], "--audio song.wav: needs --ckpt, to compare on this song, or --stems DIR"),
        (["--stems", "true"], "--stems true: needs --audio SONG"),
        (["--ckpt", "demo", "--audio", "song.wav", "--stems", "none"], "--stems none: not a folder"),
        (["--ckpt", "demo", "--audio", "none.wav"], "none.wav: does not exist"),
        (["--ckpt", "demo", "--report", "none/out.html"], "--report none/out.html: must be the name of a file"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(parity, song, args, message):
    pytest.importorskip("matplotlib")
    code, out, err = parity(*args)
    assert code == 2 and out == ""
    assert message in err and err.count("\n") == 1 and err.startswith("bsm-parity: ")


def test_a_checkpoint_read_as_another_network_is_refused(parity, exported, tmp_path):
    (tmp_path / "other.yaml").write_text("model:\n  stereo: true\naudio:\n  sample_rate: 16000\n")
    code, _, err = parity("--ckpt", exported / "tiny.safetensors", "--config", "other.yaml")
    assert code == 2 and "read as another network than the engine's" in err


def test_a_song_of_silence_is_nothing_to_compare_with(parity, exported, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros((4000, 2)), STFT.sample_rate)
    code, _, err = parity("--ckpt", exported / "tiny.safetensors", "--audio", "silence.wav")
    assert code == 2 and "STFT: parity: the reference is silent" in err


def test_pytorch_is_needed_for_a_checkpoint_only(exported):
    engine, reference = str(exported / "x.onnx"), str(exported / "x.npz")
    code = "sys.argv[1:] = {}\nfrom export.checks.parity_cli import main\nmain()"
    done = python_without("torch", "onnx", "safetensors", code=code.format([engine, "--reference", reference]))
    assert done.returncode == 0 and "passed" in done.stdout, done.stderr
    done = python_without("torch", code=code.format([engine, "--ckpt", "demo"]))
    assert done.returncode == 2
    assert done.stderr == "bsm-parity: --ckpt: torch is not installed: pip install 'bsmamba2[export]'\n"


def test_the_engine_says_what_it_gives(exported):
    manifest = read_manifest(exported / "x.onnx")
    assert [tensor.name for tensor in manifest.probes] == ["mask", "band_features", "layer_1", "layer_2"]
    assert manifest.probes[0].shape == ["batch", 2, FRAMES, 17, 2, 2]
    assert manifest.probes[1].shape == ["batch", FRAMES, 4, 8]
    backend = OnnxRuntimeBackend(exported / "x.onnx", threads=1)
    mixture = np.random.default_rng(0).standard_normal((3, FRAMES, 17, 2, 2)).astype(np.float32)
    found = backend.run_probes(mixture)
    assert list(found) == ["stems", "mask", "band_features", "layer_1", "layer_2"]
    assert all(array.dtype == np.float32 and len(array) == 3 for array in found.values())
    np.testing.assert_array_equal(found["stems"], backend.run(mixture))
    with pytest.raises(EngineError, match=r"has stems, mask, .* its manifest says stems: export the engine again"):
        backend.require(manifest.input, manifest.output, manifest.inside_onnx())


def test_half_precision_probes_are_float32_and_frames_may_vary(tracing, tmp_path):
    from runtime.engine.manifest import Range

    checkpoint = tiny_checkpoint(tmp_path, kind="transformer")
    done = export_engine(
        checkpoint, tmp_path / "x", frames=Range(20, 30, 40), precision="fp16", probe=True, reference=True
    )
    assert done.reference == tmp_path / "x.npz"
    assert done.manifest.probes[-1].shape == ["batch", "frames", 4, 8]
    assert exit_code(app, "bsm-parity", [str(done.engine)]) == 0


def test_an_engine_with_waveforms_is_compared_by_its_own_stages(tracing, tmp_path, capsys):
    from export.cli import app as export_app

    pytest.importorskip("matplotlib")
    checkpoint = tiny_checkpoint(tmp_path, kind="transformer", depth=2, stems=("vocals", "drums"))
    given = ["--ckpt", str(checkpoint.path), "--frames", str(FRAMES), "--io", "wave", "--reference"]
    names = ["STFT", "band features", "layer 1", "layer 2", "mask", "masked spectrogram", "waveform"]
    for options, expected in ((["--probe"], names), ([], ["waveform"])):
        assert exit_code(export_app, "bsm-export", [*given, *options, "-o", str(tmp_path / "x")]) == 0
        capsys.readouterr()
        report = ["--report", str(tmp_path / "out.html")]
        assert exit_code(app, "bsm-parity", [str(tmp_path / "x.onnx"), *report], mistakes=(BsmambaError,)) == 0
        assert stages(capsys.readouterr().out) == expected
        assert (tmp_path / "out.html").read_text().count("data:image/png") == 3


def test_a_plan_gives_no_probes(exported, tmp_path):
    checkpoint = load_checkpoint(exported / "tiny.safetensors")
    with pytest.raises(ExportError, match="--probe: a TensorRT plan has no intermediate outputs: leave out"):
        export_engine(checkpoint, tmp_path / "x", frames=only(FRAMES), probe=True, build=object())
    with pytest.raises(ExportError, match="was exported with --probe, but a TensorRT plan has no intermediate"):
        rebuild_engine(exported / "x", Asked())


def test_probes_cannot_be_edited_away(exported, tmp_path):
    for name in ("x.onnx", "x.json"):
        shutil.copy(exported / name, tmp_path)
    path = manifest_path(tmp_path / "x.onnx")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"probes": []}))
    code = exit_code(app, "bsm-parity", [str(tmp_path / "x.onnx"), "--reference", str(exported / "x.npz")])
    assert code == 2


@pytest.mark.parametrize("kind", ["mamba2", "transformer", "mamba2-roformer"])
def test_the_reference_is_pytorch_s_own_way(tmp_path, kind):
    torch.manual_seed(0)
    save_checkpoint(BandSplitSeparator(replace(TINY, kind=kind, stems=("a", "b"))), tmp_path / "x.safetensors")
    checkpoint = load_checkpoint(tmp_path / "x.safetensors")
    wave = signal_wave(STFT, 2, FRAMES)
    reference = reference_of(checkpoint.model(), checkpoint, wave)
    with torch.inference_mode():
        stems = checkpoint.model()(torch.from_numpy(reference["spectrogram"])).numpy()
    np.testing.assert_array_equal(reference["stems"], stems)
    ours = Stft(STFT.n_fft, STFT.hop_length)
    np.testing.assert_allclose(ours.forward(wave), reference["spectrogram"], atol=1e-5)
    np.testing.assert_allclose(ours.inverse(stems), reference["stem_waveforms"], atol=1e-6)
    np.testing.assert_allclose(inverse(spectrogram(torch.from_numpy(wave), STFT)[:, None], STFT)[:, 0], wave, atol=1e-6)
