"""What a song that was sent is called: for show and for downloads only, never as the name of a file here."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 120  # characters of a name
HIDDEN = ("C", "Zl", "Zp")  # Unicode: control, format (text direction among them), line and paragraph separators
REFUSED = re.compile(r'[<>:"/\\|?*]')  # by one system or another


def song_name(given: str) -> str:
    """The file name a client gave, without folders and what a name or a page could be spoilt with; never empty."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", given))[-1]
    name = "".join(char for char in name if not unicodedata.category(char).startswith(HIDDEN))
    name = REFUSED.sub("_", name).strip().lstrip(".")
    if len(name) > LONGEST:
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[: LONGEST - 10]}.{suffix}" if dot and len(suffix) < 9 else name[:LONGEST]
    return name or "song"


def base_name(name: str) -> str:
    """A song's name without its suffix."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and 0 < len(suffix) < 9 else name


def stem_name(name: str, stem: str, suffix: str) -> str:
    """What a stem of the song `name` is called where it is saved, as `bsm-run` calls it."""
    return f"{base_name(name)}_{stem}{suffix}"
