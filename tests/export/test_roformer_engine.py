"""Engines of the whole family compute what the original codes computed."""

from __future__ import annotations

import golden_roformer
import numpy as np
import pytest
import soundfile
import torch
from golden_data import arrays, relative_error
from golden_roformer import CASES, spectrum_out

from export.engine import export_engine, only
from runtime import open_separator
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.command import exit_code
from runtime.dsp.stft import Stft
from runtime.engine.info import describe_engine
from runtime.engine.manifest import manifest_path, read_manifest

TOLERANCE = 2e-5  # of the peak, from the waveform by NumPy's STFT in float32
# One case of each part also in half precision and for GPUs.
IN_HALF = ("mel60_2stems_md3_skip_dc_match_d16_L3", "bs_pope_d24_L2", "bs_linear_bands36_d24")
FOR_GPU = ("bs_value_residual_d24_L3", "mel40_pypi041_d12_L2")
FORMS = [
    *((name, "fp32", "cpu") for name in CASES),
    *((name, "fp16", "cpu") for name in IN_HALF),
    *((name, "fp32", "gpu") for name in FOR_GPU),
    ("mel60_stereo_d24_L2", "bf16", "gpu"),
]


@pytest.mark.parametrize(("name", "precision", "target"), FORMS)
def test_golden_networks_through_the_engine(tracing, tmp_path, name, precision, target):
    read = golden_roformer.checkpoint(name, tmp_path)
    frames = golden_roformer.facts(name)["frames"]
    done = export_engine(read, tmp_path / "x", frames=only(frames), precision=precision, target=target)
    assert (done.manifest.model.starts != []) == (golden_roformer.facts(name)["kind"] == "mel")
    if precision != "fp32":  # which the export itself has compared with PyTorch
        return
    stft, backend = Stft.of(done.manifest.stft), OnnxRuntimeBackend(done.engine, threads=None)
    stems = backend.run(stft.forward(arrays(name)["wave_in"]))
    reference, at = spectrum_out(name)
    assert relative_error(stems[:, :, at], reference) <= (5 * TOLERANCE if "nfft4096" in name else TOLERANCE)
    waves = stft.inverse(stems)
    assert relative_error(waves, arrays(name)["wave_out"][..., : waves.shape[-1]]) <= golden_roformer.FROM_WAVE


def test_from_checkpoint_and_yaml_to_stems_by_the_two_commands(tracing, tmp_path, capsys):
    from export.cli import app as export_app
    from runtime.cli import app as run_app

    name = "mel60_2stems_md3_skip_dc_match_d16_L3"
    golden_roformer.checkpoint(name, tmp_path)
    given = ["--ckpt", str(tmp_path / f"{name}.ckpt"), "--config", str(tmp_path / f"{name}.yaml")]
    settings = ["--set", "audio.chunk_size=9702", "--set", "inference.num_overlap=2"]
    assert exit_code(export_app, "bsm-export", [*given, *settings, "-o", str(tmp_path / "mel")]) == 0
    engine = tmp_path / "mel.onnx"
    manifest = read_manifest(engine)
    assert (manifest.frames.opt, manifest.chunk_samples, manifest.msst.num_overlap) == (23, 9702, 2)
    assert "Mel-Band RoFormer" in describe_engine(engine)
    capsys.readouterr()

    wave = arrays(name)["wave_in"][0, :, :9702]
    soundfile.write(tmp_path / "song.wav", wave.T, 44100, subtype="FLOAT")
    args = [str(engine), str(tmp_path / "song.wav"), "--subtype", "FLOAT", "-o", str(tmp_path / "out")]
    assert exit_code(run_app, "bsm-run", [*args, "--stems", "stem 1"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["song_stem 1.wav"]
    found, _ = soundfile.read(tmp_path / "out" / "song_stem 1.wav", dtype="float32")
    with open_separator(engine) as separator:
        expected = separator.separate(wave, 44100)["stem 1"]
    np.testing.assert_array_equal(found.T, expected)

    assert exit_code(run_app, "bsm-run", [*args, "--procedure", "msst", "--overwrite"]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["song_stem 0.wav", "song_stem 1.wav"]  # two stems without vocals leave no rest


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
        np.testing.assert_array_equal(separator.separate(song, 44100)["vocals"], stems["vocals"])

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
