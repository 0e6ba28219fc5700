"""What people give instead of an engine is named, with what to do about it; so are engines and manifests mixed up."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from fakes import manifest_data
from onnx import TensorProto, helper

from runtime.engine.manifest import METADATA_KEY, Manifest, sha256_of
from runtime.engine.reading import manifest_path, read_manifest
from runtime.errors import ManifestError


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "x")
    return out.getvalue()


def arrays() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.zeros(3))
    return out.getvalue()


KINDS = {
    "PyTorch": (zipped("archive/data.pkl"), "is a checkpoint, not an engine: bsm-export --ckpt .* makes one"),
    "PyTorch before 1.6": (pickle.dumps(1, protocol=2), "is a checkpoint, not an engine: bsm-export --ckpt"),
    "safetensors": (b"\x02\0\0\0\0\0\0\0{}", "is a checkpoint, not an engine: bsm-export --ckpt"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
    "page": (b"\r\n<!DOCTYPE html>", "web page.*download the file itself"),
    "wav": (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
    "flac": (b"fLaC\0", "sound"),
    "mp4": (b"\0\0\0\x20ftypM4A ", "sound"),
    "reference": (arrays(), "NumPy arrays"),
    "zip": (zipped("x.txt"), "zip archive"),
    "empty": (b"", "empty file"),
}


@pytest.mark.parametrize("suffix", [".onnx", ".plan", ".ckpt", ""])
@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_an_engine_is_named(tmp_path: Path, kind: str, suffix: str, with_manifest: bool) -> None:
    content, message = KINDS[kind]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    if with_manifest:
        manifest_path(path).write_text(json.dumps(manifest_data()))
    with pytest.raises(ManifestError, match=rf"x{suffix}: .*{message}") as caught:
        read_manifest(path)
    assert "manifest" not in str(caught.value).split(": ", 1)[1]


def engine(folder: Path, name: str, dim: int, described: bool = True) -> Path:
    """A small ONNX file that carries its manifest, and the manifest beside it."""
    data = manifest_data()
    data["model"]["dim"] = dim
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    model = helper.make_model(graph, producer_name="bsmamba2")
    manifest = Manifest.from_json(json.dumps(data), "x")
    if described:
        helper.set_model_props(model, {METADATA_KEY: manifest.inside_onnx(), "other": "y" * dim})
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    data["onnx"] = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    manifest_path(path).write_text(json.dumps(data))
    return path


def test_a_manifest_of_another_engine_is_told_from_a_cut_or_changed_engine(tmp_path: Path) -> None:
    a, b = engine(tmp_path, "a", 8), engine(tmp_path, "b", 200)
    assert read_manifest(a).model.dim == 8 and read_manifest(b).model.dim == 200
    own = manifest_path(a).read_bytes()
    manifest_path(a).write_bytes(manifest_path(b).read_bytes())
    with pytest.raises(ManifestError, match=r"a\.onnx: a\.json beside it is the manifest of another engine") as caught:
        read_manifest(a)
    assert "cut" not in str(caught.value)
    manifest_path(a).write_bytes(own)
    whole = a.read_bytes()
    a.write_bytes(whole.replace(b"Identity", b"Identitx"))
    with pytest.raises(ManifestError, match=r"a\.onnx: was changed after it was exported"):
        read_manifest(a)
    a.write_bytes(whole[:40])
    with pytest.raises(ManifestError, match=r"cut short, or a\.json belongs to another engine"):
        read_manifest(a)


def test_an_onnx_model_of_others_is_not_asked_for_its_manifest(tmp_path: Path) -> None:
    foreign, own = engine(tmp_path, "foreign", 8, described=False), engine(tmp_path, "own", 8)
    wrong = ((foreign, "an ONNX model that bsm-export did not write"), (own, "its manifest .* is missing"))
    for path, message in wrong:
        manifest_path(path).unlink()
        with pytest.raises(ManifestError, match=message):
            read_manifest(path)


def test_text_is_named_where_no_engine_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("model: {dim: 3}")
    with pytest.raises(ManifestError, match="model.yaml: is a text file, not an engine"):
        read_manifest(tmp_path / "model.yaml")


def test_a_manifest_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = engine(tmp_path, "a", 8)
    manifest_path(path).write_text(manifest_path(path).read_text(), encoding="utf-8-sig")
    assert read_manifest(path).model.dim == 8
    manifest_path(path).write_text(manifest_path(path).read_text(encoding="utf-8-sig"), encoding="utf-16")
    with pytest.raises(ManifestError, match=r"a\.json: is not UTF-8 text"):
        read_manifest(path)
