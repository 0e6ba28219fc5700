"""Text that may hold anything, as one line for a terminal."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """`text` without what would break out of its line in a terminal: names of files may hold anything.

    A line that goes on with two spaces is a list of ours, and stays one.
    """
    text = re.sub(r"\n(?!  )", r"\\n", text)
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
