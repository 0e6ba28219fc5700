"""Synthetic songs with known stems, generated from a seed, for training and for the demo. Needs only NumPy."""

from bsmamba2.synthesis.song import Song, make_song

__all__ = ["Song", "make_song"]
