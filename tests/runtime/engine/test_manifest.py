"""A manifest is complete, consistent and belongs to its engine, or it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import manifest_data, plan_data
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.manifest import Manifest, sha256_of
from runtime.engine.reading import manifest_path, read_manifest
from runtime.errors import ManifestError


def write_engine(folder: Path, content: bytes = b"an engine", **changes) -> Path:
    engine = folder / "x.onnx"
    engine.write_bytes(content)
    data = manifest_data()
    data["onnx"] = {"file": "x.onnx", "bytes": len(content), "sha256": sha256_of(engine)}
    manifest_path(engine).write_text(json.dumps({**data, **changes}))
    return engine


def paths(data, prefix=()):
    """The way to every key of nested objects."""
    for key, value in data.items():
        yield (*prefix, key)
        if isinstance(value, dict) and key != "versions":
            yield from paths(value, (*prefix, key))


def at(data: dict, path: tuple) -> dict:
    for key in path[:-1]:
        data = data[key]
    return data


def test_a_plan_has_a_copy_of_its_own_inside(tmp_path):
    data = plan_data()
    data["plan"]["memory"] = {"1": 2_000_000}  # not known before it is built
    manifest = Manifest.from_json(json.dumps(data), "x.json")
    inside = Manifest.from_json(manifest.inside_plan(), "inside")
    assert inside.plan == replace(manifest.plan, file=None, memory={}, parity=None) and inside.onnx is None
    assert Manifest.from_json(manifest.inside_onnx(), "inside") == replace(manifest, onnx=None, plan=None)
    with pytest.raises(ValueError, match="has no plan"):
        Manifest.from_json(json.dumps(manifest_data()), "x.json").inside_plan()


def test_plans_are_looked_up_by_their_own_entry(tmp_path):
    write_engine(tmp_path)
    plan = tmp_path / "x.plan"
    plan.write_bytes(b"plan")
    with pytest.raises(ManifestError, match=r"x\.json: does not describe a \.plan file: bsm-export --rebuild .*/x "):
        read_manifest(plan)
    data = plan_data()
    data["plan"]["file"]["sha256"] = sha256_of(plan)
    write_engine(tmp_path, plan=data["plan"])
    assert read_manifest(plan) == read_manifest(tmp_path / "x.onnx")
    plan.write_bytes(b"pla")
    with pytest.raises(ManifestError, match=r"has 3 bytes, .* says 4: it was cut short.* or bsm-export --rebuild"):
        read_manifest(plan)
    plan.write_bytes(b"PLAN")
    with pytest.raises(ManifestError, match=r"sha256.*, or bsm-export --rebuild .* again from x\.onnx"):
        read_manifest(plan)


def test_round_trip(tmp_path):
    manifest = read_manifest(write_engine(tmp_path))
    assert Manifest.from_json(manifest.to_json(), "again") == manifest
    assert manifest.chunk_samples == 4410


@pytest.mark.parametrize("path", list(paths(plan_data())), ids=".".join)
def test_every_key_is_required(path):
    data = plan_data()
    del at(data, path)[path[-1]]
    with pytest.raises(ManifestError):
        Manifest.from_json(json.dumps(data), "x.json")


@pytest.mark.parametrize("path", list(paths(plan_data())), ids=".".join)
def test_every_key_has_a_type(path):
    for wrong in ([["a list"]], {"an": ["object"]}, 1 if isinstance(at(plan_data(), path)[path[-1]], bool) else True):
        data = plan_data()
        at(data, path)[path[-1]] = wrong
        with pytest.raises(ManifestError):
            Manifest.from_json(json.dumps(data), "x.json")


def test_unknown_keys_are_refused():
    with pytest.raises(ManifestError, match=r"x\.json: key model\.bonus is unknown"):
        data = manifest_data()
        data["model"]["bonus"] = 1
        Manifest.from_json(json.dumps(data), "x.json")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "another", "is not the manifest of a bsmamba2 engine"),
        ("version", 99, "manifest version 99, this release reads version 6: export the engine again"),
        ("model.channels", 3, "model.channels is 1 or 2"),
        ("model.stems", [], "distinct names"),
        ("model.stems", ["../../etc/passwd"], "distinct names"),
        ("model.bands", [1024], "cover the bins"),
        ("model.bands", [1026, -1], "cover the bins"),
        ("model.bands", [], "cover the bins"),
        ("model.starts", [1], "cover the bins"),
        ("model.starts", [0, 5], "cover the bins"),
        ("model.rest", "vocals", "a name that no stem has"),
        ("model.rest", "../x", "a name that no stem has"),
        ("stft.win_length", 4096, "win_length is from"),
        ("stft.win_length", 600, "win_length is from"),
        ("msst", {"chunk_size": 100, "num_overlap": 4, "batch_size": 1}, "msst cuts chunks of the engine's length"),
        ("msst", {"chunk_size": 4410, "num_overlap": 0, "batch_size": 1}, "msst cuts chunks of the engine's length"),
        ("msst", {"chunk_size": 4410, "num_overlap": 101, "batch_size": 1}, "msst cuts chunks of the engine's length"),
        ("stft.hop_length", 0, "hop_length is from 1"),
        ("stft.hop_length", 2048, "hop_length is from 1"),
        ("stft.window", "boxcar", "Hann window"),
        ("stft.sample_rate", 10**12, "sample_rate is from"),
        ("frames.max", 5, "frames are a range"),
        ("frames", {"min": 2, "opt": 2, "max": 2}, "a chunk is longer than n_fft / 2"),
        ("batch.max", 0, "batch is a range"),
        ("input.shape", ["batch", 11, 1025, 2, 3], "input and output are those of its io"),
        ("output.name", "vocals", "input and output are those of its io"),
        ("probes", [{"name": "mask", "dtype": "float32", "shape": ["batch"]}], "probes are none or those of"),
        ("parity.max_error", float("nan"), "parity is within its tolerance"),
        ("parity.max_error", 0.9, "parity is within its tolerance"),
        ("precision", "int4", "precision is one of fp32, fp16, bf16"),
        ("io", "spectrogram", "io is one of spectrum, wave"),
        ("io", "wave", "input and output are those of its io"),
        ("scan", "sequential", "scan is one of chunked, unrolled, custom"),
        ("plan.flavour", "tensorflow", "plan.flavour is one of tensorrt, tensorrt-rtx"),
        ("plan.gpu", "NVIDIA L4", "plan.hardware and plan.gpu belong to full TensorRT"),
        ("plan.memory", {"-1": 5}, "plan.memory are bytes by batch size"),
        ("plan.memory", {"1": -5}, "plan.memory are bytes by batch size"),
        ("plan.compute_capabilities", [], "numbers such as 8.9"),
        ("plan.compute_capabilities", ["8.9; rm"], "numbers such as 8.9"),
        ("target", "npu", "target is one of cpu, gpu"),
    ],
)
def test_contradictions_are_refused(path, value, message):
    data = plan_data()
    keys = tuple(path.split("."))
    at(data, keys)[keys[-1]] = value
    with pytest.raises(ManifestError, match=message):
        Manifest.from_json(json.dumps(data), "x.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_is_refused_in_words(data):
    with pytest.raises(ManifestError, match="x.json"):
        Manifest.from_json(json.dumps(data), "x.json")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(tmp_path_factory, raw):
    engine = tmp_path_factory.mktemp("m") / "x.onnx"
    engine.write_bytes(b"engine")
    manifest_path(engine).write_bytes(raw)
    with pytest.raises(ManifestError):
        read_manifest(engine)


def test_missing_foreign_or_edited_engines_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="none.onnx: does not exist: expected NAME.onnx or NAME.plan"):
        read_manifest(tmp_path / "none.onnx")
    with pytest.raises(ManifestError, match="is a folder"):
        read_manifest(tmp_path)
    engine = write_engine(tmp_path)
    with pytest.raises(ManifestError, match="is a manifest: give the engine beside it"):
        read_manifest(manifest_path(engine))
    for content, message in (
        (b"an engine, edited", r"has 17 bytes, x\.json says 9: it was replaced, or x\.json belongs to another engine"),
        (b"an eng", r"has 6 bytes, x\.json says 9: it was cut short, or x\.json belongs to another engine"),
        (b"an angine", r"sha256 .*: it was changed, or x\.json belongs to another engine"),
    ):
        engine.write_bytes(content)
        with pytest.raises(ManifestError, match=rf"x\.onnx: .*{message}.*export the engine again"):
            read_manifest(engine)
    write_engine(tmp_path, onnx=None)
    with pytest.raises(ManifestError, match="does not describe a .onnx file"):
        read_manifest(engine)
    manifest_path(engine).write_text(" " * 1_000_001)
    with pytest.raises(ManifestError, match="larger than"):
        read_manifest(engine)
    with pytest.raises(ManifestError, match=r"tmp.*x: does not exist: give .*x\.onnx"):
        read_manifest(engine.with_suffix(""))
    manifest_path(engine).unlink()
    with pytest.raises(ManifestError, match=r"its manifest x\.json is missing: copy it beside the engine, or export"):
        read_manifest(engine)
