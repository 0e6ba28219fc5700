"""What kind of file was given as a checkpoint, by its content, and the remedy if it is something else."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from bsmamba2.errors import CheckpointError

SAFETENSORS, TORCH = "safetensors", "torch"
HEAD = 4096  # bytes that are looked at
# How torch.save began before PyTorch 1.6: a pickled number.
TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"

EXPECTED = "expected a PyTorch checkpoint or a safetensors file"
SOUND = f"a sound or video file: {EXPECTED}"
UNPACK = "a compressed archive: unpack it and give the checkpoint inside"
JOIN = "join its parts into one file (safetensors.torch.load_file of each, then save_file of all tensors) and give that"
# Description and remedy of a file that is not a checkpoint -> signatures (offset, bytes), one of which it has.
OTHERS: dict[str, tuple[tuple[int, bytes], ...]] = {
    "a Git LFS pointer, not the file itself: run git lfs pull, or download the file": (
        (0, b"version https://git-lfs"),
    ),
    "a web page: download the file itself, not the page that shows it": (
        *((0, b"<!doctype html"), (0, b"<html"), (0, b"<head")),
    ),
    SOUND: (
        *((0, b"fLaC"), (0, b"OggS"), (0, b"ID3"), (0, b"caff"), (0, b".snd"), (0, b"\x1a\x45\xdf\xa3"), (4, b"ftyp")),
        *((8, kind) for kind in (b"WAVE", b"AVI ", b"AIFF", b"AIFC")),
        *((0, b"\xff" + second) for second in (b"\xfb", b"\xfa", b"\xf3", b"\xf2", b"\xfd", b"\xfc", b"\xf1", b"\xf9")),
    ),
    f"a TensorRT plan, already built from a checkpoint: bsm-run runs it; {EXPECTED}": (
        *((0, b"vtrt"), (0, b"ftrt"), (0, b"ptrt")),
    ),
    f"a NumPy array: {EXPECTED}": ((0, b"\x93NUMPY"),),
    f"an HDF5 file (Keras?): {EXPECTED}": ((0, b"\x89HDF"),),
    f"a GGUF file: {EXPECTED}": ((0, b"GGUF"),),
    UNPACK: ((0, b"\x1f\x8b"), (0, b"7z\xbc\xaf"), (0, b"Rar!"), (0, b"\xfd7zXZ"), (257, b"ustar")),
}


def kind_of(path: Path) -> str:
    """SAFETENSORS or TORCH. Raises CheckpointError with a description and a remedy for anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not head:
        raise CheckpointError(f"{path}: is an empty file: get it again")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for what, signs in OTHERS.items():
        if any(head[offset:].startswith(sign) or (not offset and text.startswith(sign)) for offset, sign in signs):
            raise CheckpointError(f"{path}: is {what}")
    if head[8:9] == b"{" and b"\0" in head[:8]:
        return SAFETENSORS
    if head[:2] == b"PK":
        return _of_zip(path)
    if head[:1] == b"\x80":
        if TORCH_LEGACY in head[:40]:
            return TORCH
        raise CheckpointError(
            f"{path}: is a plain pickle, not written by torch.save: load it where it was made and save its tensors "
            "with torch.save"
        )
    raise CheckpointError(f"{path}: is {_text_or_unknown(path, head)}")


def _of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return TORCH  # damaged: PyTorch reports how
    if any(name.split("/")[-1] == "data.pkl" for name in names):
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        raise CheckpointError(f"{path}: is an archive of NumPy arrays: {EXPECTED}")
    raise CheckpointError(f"{path}: is a zip archive: unpack it and give the checkpoint inside")


def _text_or_unknown(path: Path, head: bytes) -> str:
    # The first field of an ONNX model is a small version number; a name, text or graph follows.
    if len(head) > 2 and head[0] == 8 and 0 < head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42):
        return f"an ONNX model, maybe already exported: bsm-run runs it if {path.stem}.json lies beside it; {EXPECTED}"
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        return f"not a checkpoint, it starts with {head[:8]!r}: {EXPECTED}"
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        if "weight_map" in text or path.name.endswith(".index.json"):
            return f"the index of a checkpoint in several files: {JOIN}"
        return f"a JSON file: {EXPECTED}"
    if path.suffix.lower() in (".yaml", ".yml") or re.search(r"^model:", text, re.M):
        return "a configuration, not a checkpoint: give it with --config, beside --ckpt"
    return f"a text file: {EXPECTED}"


def part_of_several(path: Path) -> str | None:
    """The error for a file whose name says that it is one of several parts of a checkpoint, otherwise None."""
    part = re.search(r"-(\d{1,6})-of-(\d{1,6})(?=\.|$)", path.name)
    if part is None or int(part[2]) < 2:
        return None
    return f"is part {int(part[1])} of {int(part[2])} of a checkpoint: {JOIN}"
