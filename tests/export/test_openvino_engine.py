"""Exported networks of every form in OpenVINO give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest
from openvino_there import NEEDS_OPENVINO
from tiny import FRAMES, LENGTHS, TINY, tiny_checkpoint

from export.checks import bench_cli, parity_cli
from export.engine import export_engine
from runtime import EngineError, open_separator
from runtime.backends import open_backend
from runtime.command import exit_code
from runtime.dsp.difference import difference
from runtime.engine.reading import read_manifest

pytestmark = NEEDS_OPENVINO


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))


FORMS = {
    "mamba2": {},
    "mamba2, waveforms, for GPUs": {"io": "wave", "target": "gpu"},
    "transformer, waveforms": {"kind": "transformer", "io": "wave"},
    "transformer, for GPUs": {"kind": "transformer", "target": "gpu"},
    "mamba2, any length": {"frames": LENGTHS},
    "mamba2, waveforms of any length": {"frames": LENGTHS, "io": "wave"},
    "mamba2, float16": {"precision": "fp16"},
}


def exported(folder, kind="mamba2", frames=FRAMES, **options):
    return export_engine(tiny_checkpoint(folder, kind=kind), folder / "x", frames=frames, **options).engine


QUICK = ("mamba2", "mamba2, waveforms, for GPUs", "transformer, for GPUs")


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=() if form in QUICK else pytest.mark.slow) for form in FORMS]
)
def test_forms(tracing, tmp_path, form):
    engine = exported(tmp_path, **FORMS[form])
    song = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32)
    found = {}
    for device in ("cpu", "openvino"):
        with open_separator(engine, device=device, threads=1) as separator:
            found[device] = separator.separate(song, TINY.stft.sample_rate)["vocals"]
            notes = separator.backend.notes
    assert len([note for note in notes if note.startswith("checked once: ")]) == 1
    precision = FORMS[form].get("precision", "fp32")
    assert difference(found["openvino"], found["cpu"]).within(precision)


def test_lengths_other_than_the_usual(tracing, tmp_path):
    engine = exported(tmp_path, frames=LENGTHS)
    manifest = read_manifest(engine)
    backends = [open_backend(engine, manifest, 1, device) for device in ("cpu", "openvino")]
    for frames in (LENGTHS.min, 123, LENGTHS.max):
        mixture = np.random.default_rng(frames).standard_normal(manifest.input_shape(2, frames), np.float32)
        expected, found = (backend.run(mixture) for backend in backends)
        assert difference(found, expected).within("fp32")


def test_the_function_of_the_custom_scan(tracing, tmp_path):
    engine = exported(tmp_path, scan="custom", target="gpu")
    with pytest.raises(
        EngineError,
        match=r"OpenVINO cannot run it on CPU \(No conversion rule found for .*SSDScan\): use --device cpu$",
    ):
        open_separator(engine, device="openvino")


def test_stage_by_stage_against_pytorch(tracing, tmp_path, capsys):
    engine = exported(tmp_path, probe=True, reference=True)
    assert exit_code(parity_cli.app, "bsm-parity", [str(engine), "--device", "openvino", "--threads", "1"]) == 0
    said = capsys.readouterr().out
    assert "openvino " in said
    assert "layer 1" in said


def test_it_is_measured(tracing, tmp_path, capsys):
    engine = exported(tmp_path)
    options = ["--rounds", "1", "--warmup", "0", "--no-products", "--threads", "1"]
    args = [str(engine), *options, "--device", "openvino", "--precision-hint", "f32"]
    assert exit_code(bench_cli.app, "bsm-bench", args) == 0
    assert "openvino " in capsys.readouterr().out
