"""Reports as one self-contained HTML file of tables and pictures, which loads nothing from the internet."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.audio.part import Part, put_in_place
from runtime.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .8rem 0; } th, td { padding: .3rem .8rem; text-align: right; }
th { border-bottom: 2px solid #8c959f; vertical-align: bottom; } td { border-bottom: 1px solid #d8dee4; }
th:first-child, td:first-child, .text { text-align: left; }
td:not(:first-child, .text) { white-space: nowrap; } td { font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figure img { max-width: 100%; } figcaption, .note { color: #57606a; font-size: .9rem; }
.good { color: #116329; font-weight: 600; } .bad { color: #b42318; font-weight: 600; }
"""


class Markup(str):
    """Text that is HTML already; other text is escaped."""

    __slots__ = ()


def _escaped(text: object) -> str:
    return text if isinstance(text, Markup) else html.escape(str(text))


def page(title: str, summary: str, parts: Iterable[Markup]) -> str:
    """The document: a heading, one paragraph with the result, then `parts`."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_escaped(title)}</title>'
    body = "\n".join([f"<h1>{_escaped(title)}</h1>", f"<p>{_escaped(summary)}</p>", *parts])
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def heading(text: str) -> Markup:
    return Markup(f"<h2>{_escaped(text)}</h2>")


def paragraph(text: str) -> Markup:
    return Markup(f"<p>{_escaped(text)}</p>")


def verdict(good: bool, text: str) -> Markup:
    """Text in green or red, for a cell or a summary."""
    return Markup(f'<span class="{"good" if good else "bad"}">{_escaped(text)}</span>')


def table(header: Sequence[str], rows: Iterable[Sequence[object]], text: Collection[int] = ()) -> Markup:
    """The first column and those numbered in `text` are left-aligned, the others right-aligned."""

    def line(kind: str, cells: Sequence[object]) -> str:
        marks = (' class="text"' if i in text else "" for i in range(len(cells)))
        return "".join(f"<{kind}{mark}>{_escaped(cell)}</{kind}>" for mark, cell in zip(marks, cells, strict=True))

    top = line("th", header)
    lines = (line("td", row) for row in rows)
    return Markup(f"<table><tr>{top}</tr>" + "".join(f"<tr>{cells}</tr>" for cells in lines) + "</table>")


def picture(figure: Figure, caption: str, alt: str) -> Markup:
    """A matplotlib figure as a PNG inside the page."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(png.getvalue()).decode()
    return Markup(
        f'<figure><img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_escaped(caption)}</figcaption></figure>"
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, `width` by `height` inches. Raises OptionError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("pictures need matplotlib: pip install 'bsmamba2[report]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def check_output(option: str, path: Path | None) -> None:
    """Raises OptionError for a file that could not be written at the end, before minutes of work."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise OptionError(f"{option} {path}: must be the name of a file in an existing folder")


def write_whole(path: Path, content: str | bytes, existing: str = "replace") -> bool:
    """Write a file that is never seen incomplete; `existing` is as in `part.put_in_place`.

    Returns whether the file was written. Raises AudioError.
    """
    part = Part(path)
    try:
        part.write(content.encode() if isinstance(content, str) else content)
        part.check()
        part.finish()
        return bool(put_in_place([part], existing))
    finally:
        part.discard()
