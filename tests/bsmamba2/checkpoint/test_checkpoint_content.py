"""What people give instead of a checkpoint is named, with what to do about it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import golden_data
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.errors import CheckpointError, ConfigError


def numpy_file(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays) if arrays else np.save(out, np.zeros(3))
    return out.getvalue()


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "x")
    return out.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
KINDS = {
    "pointer": (POINTER, "Git LFS pointer.*git lfs pull"),
    "page": (b"\n<!DOCTYPE html>\n<html>", "web page.*download the file itself"),
    "bare page": (b"<HTML><body>", "web page"),
    "empty": (b"", "empty file"),
    "wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "sound"),
    "aiff": (b"FORM\x00\x00\x00\x24AIFFCOMM", "sound"),
    "mp3": (b"\xff\xfb\x90\x64\x00\x00", "sound"),
    "tagged mp3": (b"ID3\x04\x00", "sound"),
    "m4a": (b"\x00\x00\x00\x20ftypM4A ", "sound"),
    "onnx": (b"\x08\x0a\x12\x07pytorch", "ONNX model.*bsm-run"),
    "plan": (b"vtrt\x00\x00\x00\x00", "TensorRT plan.*bsm-run"),
    "pickle": (pickle.dumps({"a": 1}), "plain pickle.*torch.save"),
    "old pickle": (pickle.dumps({"a": 1}, protocol=2), "plain pickle.*torch.save"),
    "npy": (numpy_file(), "NumPy"),
    "npz": (numpy_file(x=np.zeros(3)), "NumPy"),
    "zip": (zipped("readme.txt"), "zip archive: unpack"),
    "gz": (b"\x1f\x8b\x08\x00", "compressed archive: unpack"),
    "index": (b'{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}', "several files: join"),
    "json": (b'{"a": 1}', "JSON file"),
    "yaml": (b"audio: {}\nmodel:\n  dim: 32\n", "configuration.*--config"),
    "text": (b"not a checkpoint at all", "text file"),
    "noise": (bytes(range(40, 250, 7)), "not a checkpoint"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_checkpoint_is_named(tmp_path: Path, kind: str) -> None:
    content, message = KINDS[kind]
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"model.ckpt: is .*{message}") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
@pytest.mark.parametrize("part", [1, 2])
def test_one_part_of_several_is_called_that(tmp_path: Path, suffix: str, part: int) -> None:
    entries = list(golden_data.state("a").items())
    tensors = dict(entries[:100] if part == 1 else entries[100:])
    path = tmp_path / f"model-{part:05}-of-00002.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(tensors, path)
    with pytest.raises(CheckpointError, match=f"is part {part} of 2.*join"):
        load_checkpoint(path)
    whole = tmp_path / "model-00001-of-00001.ckpt"
    torch.save(golden_data.state("a"), whole)
    assert load_checkpoint(whole).config.dim == 32


def test_entries_that_are_not_tensors_are_named_by_what_they_are(tmp_path: Path) -> None:
    for odd, message in ((np.zeros(32), "NumPy array"), ("text", "type str"), (Path("x"), "type pathlib")):
        torch.save({**golden_data.state("a"), "final_norm.gamma": odd}, tmp_path / "x.ckpt")
        with pytest.raises(CheckpointError, match=f"'final_norm.gamma' is .*{message}.*: expected tensors"):
            load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_a_yaml_in_another_encoding_is_to_be_saved_as_utf_8(tmp_path: Path, encoding: str) -> None:
    torch.save(golden_data.state("a"), tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_bytes("# für Gesang\nmodel: {dim: 32}\n".encode(encoding))
    with pytest.raises(ConfigError, match="x.yaml: .*save it as UTF-8"):
        load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("model: {dim: 32}\n", encoding="utf-8-sig")
    assert load_checkpoint(tmp_path / "x.ckpt", tmp_path / "x.yaml").config.dim == 32
