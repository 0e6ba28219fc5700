"""`--device openvino`: the engine runs in OpenVINO once its stems were compared with ONNX Runtime's, or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from halving import halving_engine
from openvino_there import NEEDS_OPENVINO

from runtime import EngineError, ManifestError, OptionError, cli, open_separator
from runtime.backends import openvino as module
from runtime.backends.openvino import OpenVinoBackend, reason
from runtime.backends.openvino_gate import allowed, sum_of_snr
from runtime.command import exit_code
from runtime.engine.cpu import usable_cpus
from runtime.engine.reading import manifest_path, read_manifest

pytestmark = NEEDS_OPENVINO
GAIN = np.random.default_rng(1).uniform(0, 1, (2, 1, 1, 1, 1))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(engine, **options) -> OpenVinoBackend:
    return OpenVinoBackend(engine, read_manifest(engine), **options)


def setting(backend: OpenVinoBackend, name: str) -> object:
    return backend._request.get_compiled_model().get_property(name)


@pytest.mark.parametrize("io", ["spectrum", "wave"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_batch_is_computed_chunk_by_chunk(tmp_path, io, batch):
    gain = GAIN if io == "spectrum" else GAIN[..., 0, 0]
    backend = opened(halving_engine(tmp_path / "two.onnx", gain, stems=("vocals", "drums"), io=io))
    mixture = np.random.default_rng(0).standard_normal(backend._manifest.input_shape(batch, 11), np.float32)
    np.testing.assert_allclose(backend.run(mixture), mixture[:, None] * gain.astype(np.float32), rtol=1e-6)
    with pytest.raises(EngineError, match="two.onnx takes float32, a batch of 1 to 8"):
        backend.run(mixture[..., 1:])


def test_a_song_on_the_command_line(engine, tmp_path, capsys):
    import soundfile

    song = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 2))
    soundfile.write(tmp_path / "song.wav", song, 44100, subtype="FLOAT")
    args = [str(engine), str(tmp_path / "song.wav"), "-o", str(tmp_path), "--device", "openvino"]
    assert exit_code(cli.app, "bsm-run", args) == 0
    said = capsys.readouterr()
    assert said.err.startswith("bsm-run: checked once: stems in openvino ")
    assert "\nopenvino " in said.out
    np.testing.assert_allclose(soundfile.read(tmp_path / "song_vocals.wav")[0], song / 2, atol=1e-6)
    assert exit_code(cli.app, "bsm-run", [*args, "--overwrite"]) == 0
    assert capsys.readouterr().err == ""
    assert exit_code(cli.app, "bsm-run", [*args, "--device", "cpu", "--precision-hint", "bf16"]) == 2
    assert capsys.readouterr().err == (
        "bsm-run: --precision-hint bf16: must be f32, f16, bf16, with --device openvino only\n"
    )


def test_it_computes_in_float32_with_the_threads_asked_for(engine, monkeypatch):
    """OpenVINO's own default, on a CPU that has it, is bfloat16. It takes no more threads than it has CPUs."""
    monkeypatch.setattr(module, "default_threads", lambda: 1)
    backend = opened(engine)
    assert str(setting(backend, "INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert setting(backend, "INFERENCE_NUM_THREADS") == 1
    assert setting(opened(engine, threads=2), "INFERENCE_NUM_THREADS") == min(2, usable_cpus() or 2)
    with pytest.raises(OptionError, match="^--threads 0: must be between 1 and 1024$"):
        opened(engine, threads=0)


def test_what_was_compiled_and_the_verdict_are_kept(engine, cache, monkeypatch):
    assert opened(engine).notes[0].startswith("checked once: ")
    (compiled,) = [path for path in cache.rglob("*") if path.is_file()]
    monkeypatch.setattr(module, "expected_stems", lambda *args: pytest.fail("it was checked again"))
    again = opened(engine)
    assert again.notes == []
    mixture = np.ones(again._manifest.input_shape(1, 11), np.float32)
    np.testing.assert_allclose(again.run(mixture), 0.5 * mixture[:, None])
    assert [path for path in cache.rglob("*") if path.is_file()] == [compiled]


@pytest.mark.parametrize("change", ["engine", "version", "processor"])
def test_a_verdict_is_of_one_engine_on_one_machine(engine, tmp_path, monkeypatch, change):
    opened(engine)
    if change == "engine":
        halving_engine(engine, 0.25)
    elif change == "version":
        real = module.load_openvino()
        monkeypatch.setattr(module, "load_openvino", lambda: SimpleNamespace(Core=real.Core, __version__="2099.1-x"))
    else:
        monkeypatch.setattr(OpenVinoBackend, "_about", lambda self: ["another CPU"])
    assert opened(engine).notes[0].startswith("checked once: ")


WRONG = {
    "doubled": lambda stems: 2 * stems,
    "a sample late": lambda stems: np.roll(stems, 1, axis=-1),
    "stems swapped": lambda stems: stems[:, ::-1],
    "channels swapped": lambda stems: stems[:, :, ::-1],
    "silent": lambda stems: 0 * stems,
    "a little wrong": lambda stems: stems * np.float32(1 + 3e-5),
    "NaN": lambda stems: np.nan * stems,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_stems_are_refused_at_each_opening(tmp_path, monkeypatch, wrong):
    engine = halving_engine(tmp_path / "two.onnx", GAIN[..., 0, 0], stems=("vocals", "drums"), io="wave")
    right = OpenVinoBackend._outputs

    def outputs(self, mixture):
        return {name: WRONG[wrong](stems) for name, stems in right(self, mixture).items()}

    monkeypatch.setattr(OpenVinoBackend, "_outputs", outputs)
    for _ in range(2):
        with pytest.raises(EngineError) as error:
            open_separator(engine, device="openvino")
        line = str(error.value)
        assert "\n" not in line
        assert line.startswith(f"{engine}: ")
        assert line.endswith(": use --device cpu")


def test_the_difference_recorded_at_the_export_counts(engine):
    """A tenth of the tolerance is left to OpenVINO, which is exact here."""
    manifest = read_manifest(engine)
    nearly = replace(manifest.parity, max_error=1.8e-5)
    worse = replace(manifest.parity, max_error=1.8e-5, snr_db=89.0)
    with pytest.raises(ManifestError, match="the manifest beside it is not the one it was exported with"):
        OpenVinoBackend(engine, replace(manifest, parity=worse))
    assert allowed(nearly, "f32") == (2e-5, 90.0)
    assert allowed(nearly, "bf16") == (5e-2, 35.0)
    assert sum_of_snr(100.0, 100.0) == pytest.approx(100 - 6.02, abs=0.01)
    assert sum_of_snr(None, 80.0) == pytest.approx(80.0)
    assert sum_of_snr(None, None) == np.inf


def test_an_edited_manifest_is_refused_also_after_the_engine_has_passed(engine):
    opened(engine)
    data = json.loads(manifest_path(engine).read_text())
    data["stft"]["sample_rate"] = 48000
    manifest_path(engine).write_text(json.dumps(data))
    with pytest.raises(ManifestError, match="the manifest beside it is not the one it was exported with"):
        opened(engine)


def test_without_a_place_to_keep_anything_it_runs_and_says_so(engine, cache):
    cache.write_text("a file")
    for _ in range(2):
        checked, kept = opened(engine).notes
        assert checked.startswith("checked once: ")
        assert kept.startswith(
            "the next start compiles and checks the engine again, as what is compiled cannot be kept: "
        )
        assert kept.endswith("set BSM_CACHE to a folder of yours")


def test_what_openvino_cannot_write_is_not_kept(engine, monkeypatch):
    def refused(self, compiled, kept):
        return right(self, SimpleNamespace(export_model=lambda: compiled.get_property("NO_SUCH_PROPERTY")), kept)

    right = OpenVinoBackend._keep
    monkeypatch.setattr(OpenVinoBackend, "_keep", refused)
    checked, kept = opened(engine).notes
    assert checked.startswith("checked once: ")
    assert kept.startswith("the next start compiles and checks the engine again")


@pytest.mark.parametrize(
    "damaged", [lambda content: content[:-1], lambda content: content[:-9] + bytes(9), lambda _: b""]
)
def test_what_was_kept_and_has_changed_is_made_again(engine, cache, damaged):
    opened(engine)
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    kept.write_bytes(damaged(kept.read_bytes()))
    assert opened(engine).notes[0].startswith("checked once: ")
    assert opened(engine).notes == []


def test_what_another_driver_has_compiled_is_made_again(engine, cache):
    opened(engine)
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    kept.write_bytes(hashlib.sha256(b"foreign").digest() + b"foreign")
    assert opened(engine).notes[0].startswith("checked once: ")


def test_an_engine_that_openvino_cannot_read_is_one_line(engine, monkeypatch):
    monkeypatch.setattr(module, "expected_stems", lambda *args: [])  # otherwise ONNX Runtime refuses it first
    described = read_manifest(engine)
    engine.write_bytes(b"not an engine at all")
    with pytest.raises(EngineError, match=r"x\.onnx: OpenVINO cannot run it on CPU \(.*\): use --device cpu$") as error:
        OpenVinoBackend(engine, described)
    assert "\n" not in str(error.value)


class Double:
    """OpenVINO on another machine."""

    available_devices = ("CPU", "NPU.0")

    def get_property(self, processor, name):
        if name == "FULL_DEVICE_NAME":
            raise RuntimeError("Exception from plugin.cpp:112:\nUnsupported configuration key: FULL_DEVICE_NAME\n\n")
        return {"CPU": ["FP32", "INT8"], "NPU": ["FP16", "INT8"]}[processor]


@pytest.mark.parametrize(
    ("device", "hint", "message"),
    [
        ("openvino", "bf16", r"^--precision-hint bf16: --device openvino:CPU computes no bfloat16 here .*hint f32$"),
        ("openvino:NPU", None, "^--precision-hint f32: --device openvino:NPU computes no float32 here .*hint f16$"),
        ("openvino:NPU", "f16", "^--device openvino:NPU: does not say what it is .Unsupported configuration key"),
        ("openvino:GPU", None, "^--device openvino:GPU: OpenVINO finds no such processor here, only CPU, NPU.0: "),
    ],
)
def test_what_a_machine_lacks_is_one_line(engine, monkeypatch, device, hint, message):
    double = SimpleNamespace(Core=Double, __version__="2026.1-x")
    monkeypatch.setattr(module, "load_openvino", lambda: double)
    with pytest.raises((EngineError, OptionError), match=message):
        open_separator(engine, device=device, precision_hint=hint)


def test_what_it_does_not_run_is_said(engine):
    bf16 = replace(read_manifest(engine), precision="bf16")
    with pytest.raises(EngineError, match="a bfloat16 engine does not run in OpenVINO.* --precision fp32"):
        OpenVinoBackend(engine, bf16)
    for processor, what in (("GPU", "a GPU"), ("NPU", "an NPU")):
        with pytest.raises(OptionError, match=f"--threads 2: the engine runs on {what}, and these are CPU threads"):
            open_separator(engine, device=f"openvino:{processor}", threads=2)


def test_the_last_line_of_openvino_says_why():
    error = RuntimeError("Exception from src/core.cpp:84:\nCheck 'x' failed:\nonnx: Could not open the file\n\n")
    assert reason(error) == "onnx: Could not open the file"
    assert reason(RuntimeError()) == "RuntimeError"
