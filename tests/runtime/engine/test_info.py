"""An engine in words: true of its manifest, and nothing else than the manifest is needed."""

from __future__ import annotations

import json
import re

import pytest
from fakes import manifest_data, plan_data

from runtime.engine.info import describe_engine
from runtime.engine.manifest import sha256_of
from runtime.errors import ManifestError


def described(folder, data, suffix=".onnx"):
    """The lines about an engine with this manifest, by their first words."""
    engine = folder / f"x{suffix}"
    engine.write_bytes(b"data")
    file = {"file": engine.name, "bytes": 4, "sha256": sha256_of(engine)}
    if suffix == ".onnx":
        data["onnx"] = file
    else:
        data["plan"]["file"] = file
    engine.with_suffix(".json").write_text(json.dumps(data))
    head, *lines = describe_engine(engine).split("\n")
    assert head == str(engine)
    return dict(re.fullmatch(r"  (\S+(?: \S+)*) {2,}(\S.*)", line).groups() for line in lines)


def test_an_engine_in_words(tmp_path):
    words = described(tmp_path, manifest_data())
    assert words["it does"] == (
        "separates vocals from stereo songs at 44.1 kHz; the song minus the vocals is the instrumental; "
        "others are converted"
    )
    assert words["network"] == "BSMamba2, 1,000 parameters: 1 layers of 8 features on 1 frequency bands"
    assert words["works on"] == "chunks of 0.10 s, 1 to 8 at a time, best 1"
    assert words["computes in"] == "32-bit floats"
    assert words["onnx"].startswith("x.onnx, 0.0 MB; differs from PyTorch by 1.0e-06 of the peak at most (120 dB SNR")
    assert "plan" not in words and words["more in"] == str(tmp_path / "x.json")


def test_other_networks_and_forms(tmp_path):
    data = manifest_data(stems=("drums", "bass", "other"), channels=1, sample_rate=48000)
    data["model"]["kind"] = "transformer"
    data |= {"precision": "bf16", "target": "gpu", "frames": {"min": 11, "opt": 21, "max": 41}}
    data["input"]["shape"][1] = data["output"]["shape"][2] = "frames"
    words = described(tmp_path, data)
    assert words["it does"] == "separates drums, bass and other from mono songs at 48 kHz; others are converted"
    assert words["network"].startswith("BS-RoFormer") and "its scan" not in words
    assert words["works on"].startswith("chunks of 0.18 s (0.09 to 0.37 s are possible)")
    assert "bf16" in words["computes in"] and words["laid out for"].startswith("GPUs")


@pytest.mark.parametrize("ran", [True, False])
def test_a_plan_says_where_it_runs_and_whether_it_did(tmp_path, ran):
    data = plan_data()
    if not ran:
        data["plan"]["parity"] = None
    plan = described(tmp_path, data, ".plan")["plan"]
    assert "for tensorrt-rtx 1.7.1.116 on NVIDIA GPUs of compute capability 8.9, 12.0; " in plan
    assert plan.endswith("it was not run yet") != ran


def test_an_engine_that_is_not_its_manifest_s_is_refused(tmp_path):
    described(tmp_path, manifest_data())
    (tmp_path / "x.onnx").write_bytes(b"dat0")
    with pytest.raises(ManifestError, match="is not the file x.json describes"):
        describe_engine(tmp_path / "x.onnx")
