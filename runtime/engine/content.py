"""What kind of file was given as an engine: used if it does not match its manifest, or has none."""

from __future__ import annotations

import mmap
import zipfile
from pathlib import Path

HEAD = 1024  # bytes that are looked at
EXPECTED = "expected NAME.onnx or NAME.plan, written by bsm-export"
PRINTABLE = bytes(range(32, 127)) + b"\t\r\n\f"
# Signatures of sound and video files, by offset: FLAC, Ogg, MP3, CAF, AU, Matroska; MP4; WAV, AVI, AIFF.
SOUND = {
    0: (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"caff", b".snd", b"\x1aE\xdf\xa3"),
    4: (b"ftyp",),
    8: (b"WAVE", b"AVI ", b"AIFF", b"AIFC"),
}


def what_instead(path: Path) -> str | None:
    """A description and a remedy for a file that cannot be an engine; None if it may be one. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "is an empty file: copy or download it again"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: run git lfs pull, or download the file"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page: download the file itself, not the page that shows it"
    if any(head[offset:].startswith(signs) for offset, signs in SOUND.items()):
        return f"is a sound or video file, not an engine: {EXPECTED}"
    is_torch = head.startswith(b"PK") and (b"data.pkl" in head or _holds(path, "data.pkl"))
    if is_torch or head.startswith(b"\x80") or (head[8:9] == b"{" and b"\0" in head[:8]):  # a pickle, safetensors
        return f"is a checkpoint, not an engine: bsm-export --ckpt {path} makes one"
    if head.startswith((b"PK", b"\x93NUMPY")):
        kind = "NumPy arrays" if head.startswith(b"\x93") or _holds(path, ".npy") else "a zip archive"
        return f"holds {kind}, not an engine: {EXPECTED}"
    if not head.strip(PRINTABLE) and path.suffix.lower() not in (".onnx", ".plan"):
        return f"is a text file, not an engine: {EXPECTED}"
    return None


def _holds(path: Path, end: str) -> bool:
    """Whether a zip archive holds a file whose name ends so."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(end) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def mismatch(engine: Path, manifest: str, size_stated: int, key: str, copy: str) -> str:
    """The most likely reason why `engine` is not the file that the file `manifest` describes.

    `copy` is the copy that an ONNX file of that manifest contains under `key`. Raises OSError.
    """
    size = engine.stat().st_size
    sizes = f"has {size} bytes, {manifest} says {size_stated}"
    if size == size_stated:
        sizes = f"its sha256 is not the one in {manifest}"
    inside = onnx_metadata(engine, key) if is_onnx(engine) else None
    if inside == copy:
        return f"was changed after it was exported ({sizes})"
    if inside is not None:
        return f"{manifest} beside it is the manifest of another engine"
    was = "cut short" if size < size_stated else "replaced" if size > size_stated else "changed"
    return f"{sizes}: it was {was}, or {manifest} belongs to another engine"


def is_onnx(path: Path) -> bool:
    """Whether a file begins as an ONNX model: a small version number, then a name, a text or the graph."""
    with path.open("rb") as file:
        head = file.read(3)
    next_field = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    return len(head) == 3 and head[0] == 8 and 0 < head[1] < 32 and head[2] in next_field


def onnx_metadata(path: Path, key: str) -> str | None:
    """The value of `key` in the metadata_props of an ONNX file, which follow the graph; None without it.

    Reads without parsing the graph. Raises OSError.
    """
    entry = b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12"  # the fields of a StringStringEntryProto
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.rfind(entry)
        if at < 0:
            return None
        size, shift, at = 0, 0, at + len(entry)
        for byte in content[at : at + 10]:  # a protobuf varint: seven bits a byte, the last one without the eighth
            size |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        return content[at : at + size].decode("utf-8", errors="replace")
