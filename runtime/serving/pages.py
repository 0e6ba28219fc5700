"""The files of the page, read once: what is asked for is one of them or not there."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import Response

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


def read_page() -> dict[str, Response]:
    """An answer for each file, by its name."""
    headers = {"cache-control": "no-cache"}
    found = sorted(path for path in FOLDER.glob("*.*") if path.suffix in TYPES)
    return {path.name: Response(path.read_bytes(), headers=headers, media_type=TYPES[path.suffix]) for path in found}
