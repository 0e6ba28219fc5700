"""Songs in and stems out: sound files read and written in blocks, through libsndfile and, where installed, ffmpeg."""

from runtime.audio.form import FORMATS, SUBTYPES, Form, form_for
from runtime.audio.reader import MAX_LEVEL, MAX_RATE, MIN_RATE, SongReader, open_song
from runtime.audio.song import Song, read_song, resample
from runtime.audio.stems import StemWriters
from runtime.audio.tags import Tags
from runtime.audio.writer import CLIP, SongWriter, check_form

__all__ = [
    "CLIP",
    "FORMATS",
    "MAX_LEVEL",
    "MAX_RATE",
    "MIN_RATE",
    "SUBTYPES",
    "Form",
    "Song",
    "SongReader",
    "SongWriter",
    "StemWriters",
    "Tags",
    "check_form",
    "form_for",
    "open_song",
    "read_song",
    "resample",
]
