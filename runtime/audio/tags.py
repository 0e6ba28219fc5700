"""The words a file says of itself: title, artist and so on."""

from __future__ import annotations

from collections.abc import Mapping

import soundfile

Tags = dict[str, str]

# What libsndfile reads and writes in WAV, FLAC, OGG and MP3. Not the program that wrote the file: that is another now.
NAMES = ("title", "artist", "album", "tracknumber", "date", "genre", "comment", "copyright", "license")
LONGEST = 4096  # characters; a longer text is no title and is left out


def kept(found: Mapping[str, str]) -> Tags:
    """Those of `found` that go into the stems."""
    return {name: found[name] for name in NAMES if found.get(name) and len(found[name]) <= LONGEST}


def read_tags(file: soundfile.SoundFile) -> Tags:
    return kept(file.copy_metadata())


def write_tags(file: soundfile.SoundFile, tags: Tags) -> None:
    """Before the first sample is written."""
    for name, text in kept(tags).items():
        setattr(file, name, text.encode(errors="replace").decode().replace("\0", ""))
