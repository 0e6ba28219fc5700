"""Songs whose stems are known, made from a number: material to train on, and the demo's song. NumPy only."""

from bsmamba2.synthesis.song import Song, make_song

__all__ = ["Song", "make_song"]
