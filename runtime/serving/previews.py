"""Compressed sound for the page's player: MP3 of 160 kbit/s.

MP3 because all browsers decode it and libsndfile writes it (Safari plays Ogg/Opus from 18.4 on only). At a constant bit
rate a byte of the file is a moment of the song, so a page can fetch the part that it plays. An MP3 begins with some
samples of silence; they are as many in all previews of a song, so these stay on one clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from runtime.audio import SongReader
from runtime.dsp.resampling import Resampler, resampled_length
from runtime.errors import AudioError

TYPE, SUFFIX = "audio/mpeg", ".mp3"
RATES = (32000, 44100, 48000)  # Hz: those of MPEG-1, which play everywhere
USUAL = 44100  # Hz, for songs of other rates
QUALITY = 0.5  # libsndfile's word for 160 kbit/s
BYTES_PER_SECOND = 20_000
PIECE = 1 << 14  # samples encoded at a time


def write_preview(song: SongReader, path: Path, told: Callable[[int], None]) -> int:
    """Read `song` to its end into an MP3 at `path`; returns its number of samples.

    `told` is called with the samples read so far, and may raise. Raises AudioError.
    """
    rate = song.sample_rate if song.sample_rate in RATES else USUAL
    form = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": QUALITY, "bitrate_mode": "CONSTANT"}
    done = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal done
        for block in song.blocks():
            done += block.shape[1]
            told(done)
            yield block.astype(np.float32, copy=False)

    try:
        with soundfile.SoundFile(path, "w", rate, song.channels, **form) as file:
            for block in _at_rate(counted(), song.sample_rate, rate, song.channels):
                for first in range(0, block.shape[1], PIECE):
                    file.write(np.ascontiguousarray(np.clip(block[:, first : first + PIECE].T, -1.0, 1.0)))
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise AudioError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    return done


def _at_rate(
    blocks: Iterator[NDArray[np.float32]], source: int, target: int, channels: int
) -> Iterator[NDArray[np.float32]]:
    """`blocks` [c, n] at `source` Hz, at `target` Hz."""
    resampler = Resampler(source, target, (channels,))
    samples = 0
    for block in blocks:
        samples += block.shape[1]
        yield resampler.put(block)
    yield resampler.finish(resampled_length(samples, source, target))
