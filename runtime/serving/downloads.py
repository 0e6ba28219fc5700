"""Stems and previews on their way out: parts of files, the right types and names, all stems in one archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from starlette.responses import FileResponse, Response, StreamingResponse

PIECE = 1 << 20  # bytes read at a time
MOST_RANGES = 8  # of a request
PRIVATE = {"cache-control": "private, no-cache"}  # kept by the browser, but asked for again: a job may be removed


def file_answer(path: Path, kind: str, name: str, download: bool) -> Response:
    """The file at `path`, of the media type `kind`, to be saved as `name`."""
    how = "attachment" if download else "inline"
    return FileResponse(path, media_type=kind, filename=name, content_disposition_type=how, headers=PRIVATE)


def archive_answer(files: dict[str, Path], name: str) -> Response:
    """The files, by their names in the archive, not compressed: sound would not become smaller."""
    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}"}
    return StreamingResponse(_archive(files), media_type="application/zip", headers=headers)


class _Written(io.RawIOBase):
    """What an archive writes, to be taken piece by piece."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def _archive(files: dict[str, Path]) -> Iterator[bytes]:
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for name, path in files.items():
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=entry.file_size >= 1 << 31) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield written.take()
    yield written.take()
