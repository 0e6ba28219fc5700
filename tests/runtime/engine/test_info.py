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
    return dict(re.fullmatch(r"  (\S+(?: \S+)*): +(\S.*)", line).groups() for line in lines)


def test_an_engine_by_the_labels_of_the_field(tmp_path):
    found = described(tmp_path, manifest_data())
    assert list(found) == [
        *("task", "network", "source", "STFT", "chunk", "batch", "precision", "target", "input"),
        *("scan", "parity", "files", "built by"),
    ]
    task = found["task"]
    assert task.startswith("separates vocals, instrumental (the song minus vocals); 44.1 kHz stereo")
    assert found["network"] == "BSMamba2, 1,000 parameters (depth 1, dim 8, 1 sub-band)"
    assert found["source"] == "x.ckpt (state_dict), raw weights, sha256 000000000000..."
    assert found["STFT"].startswith("n_fft 2048 (46.4 ms), hop 441 (10.0 ms)")
    assert (found["chunk"], found["batch"]) == ("0.10 s (11 frames)", "1 to 8, optimum 1")
    assert (found["precision"], found["scan"]) == ("fp32", "chunked") and found["target"].startswith("cpu ")
    assert found["parity"].startswith("ONNX: ")
    assert all(each in found["parity"] for each in ("1.0e-06 of the peak", "SNR 120 dB", "tolerance 2e-05"))
    assert found["files"] == "x.onnx (0.0 MB), x.json (manifest)"


def test_other_networks_and_forms(tmp_path):
    data = manifest_data(stems=("drums", "bass", "other"), channels=1, sample_rate=48000)
    data["model"]["kind"] = "transformer"
    data |= {"precision": "bf16", "target": "gpu", "frames": {"min": 11, "opt": 21, "max": 41}}
    data["input"]["shape"][1] = data["output"]["shape"][2] = "frames"
    found = described(tmp_path, data)
    assert found["task"].startswith("separates drums, bass, other; 48 kHz mono")
    assert found["network"].startswith("BS-RoFormer") and "scan" not in found
    assert found["chunk"] == "0.09 to 0.37 s, optimum 0.18 s (11 to 41 frames)"
    assert found["precision"].startswith("bf16") and found["target"].startswith("gpu ")


@pytest.mark.parametrize("ran", [True, False])
def test_a_plan_says_where_it_runs_and_whether_it_did(tmp_path, ran):
    data = plan_data()
    if not ran:
        data["plan"]["parity"] = None
    data["plan"]["memory"] = {"10": 9_130_000_000, "1": 2_290_000_000}
    found = described(tmp_path, data, ".plan")
    assert "x.plan (0.0 MB, tensorrt-rtx 1.7.1.116, compute capability 8.9, 12.0)" in found["files"]
    assert found["parity"].endswith("plan: not run yet") != ran
    assert found["GPU memory"] == "2.29 GB at batch 1, 9.13 GB at batch 10 for intermediate results"


@pytest.mark.parametrize(
    ("hardware", "gpus"),
    [
        ("same-gpu", "NVIDIA Double only"),
        ("same-compute-capability", "compute capability 8.9, 12.0"),
        ("ampere-plus", "compute capability 8.0 or later"),
    ],
)
def test_a_plan_of_full_tensorrt_says_which_gpus_run_it(tmp_path, hardware, gpus):
    data = plan_data("tensorrt")
    data["plan"] |= {"hardware": hardware, "version_compatible": hardware != "same-gpu"}
    later = " or later of this major version" if hardware != "same-gpu" else ""
    assert f"(0.0 MB, tensorrt 1.7.1.116{later}, {gpus})" in described(tmp_path, data, ".plan")["files"]


def test_how_msst_cuts_songs_is_said_if_it_is_known(tmp_path):
    data = manifest_data(frames=801)
    data["msst"] = {"chunk_size": 352800, "num_overlap": 4, "batch_size": 1}
    assert described(tmp_path, data)["MSST"] == "chunks of 8.00 s, num_overlap 4, batch_size 1"


def test_an_engine_that_is_not_its_manifest_s_is_refused(tmp_path):
    described(tmp_path, manifest_data())
    (tmp_path / "x.onnx").write_bytes(b"dat0")
    with pytest.raises(ManifestError, match="sha256 .* x.json"):
        describe_engine(tmp_path / "x.onnx")
