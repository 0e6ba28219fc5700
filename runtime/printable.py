"""Text for a terminal: one line, whatever it contains; numbers of things."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """`text` with line breaks and control characters escaped: names of files may contain any.

    Line breaks before two spaces are those of our own lists, and stay.
    """
    text = re.sub(r"\n(?!  )", r"\\n", text)
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def counted(number: int, thing: str) -> str:
    """Such as "1 folder", "2 folders"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:300]
