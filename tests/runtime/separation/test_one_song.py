"""One song at a time: a separator in use, broken off, closed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fakes import separator_of
from songs import blocks_of, noise

from runtime import EngineError, OptionError


def test_a_second_song_is_refused_until_the_first_is_done():
    separator = separator_of()
    song = noise(1, 30000)
    separator.stream([song], 44100, 1)  # not begun: nothing is in use
    stream = separator.stream(blocks_of(song, [5000]), 44100, 1)
    next(stream)
    with pytest.raises(OptionError, match="the separator is in use: it separates one song at a time"):
        separator.separate(song, 44100)
    with pytest.raises(OptionError, match="in use"):
        next(separator.stream([song], 44100, 1))
    stream.close()
    first = separator.separate(song, 44100)
    np.testing.assert_allclose(first["vocals"], 0.5 * song, atol=1e-5)


def test_threads_get_their_own_song_or_a_refusal():
    entered, release = threading.Event(), threading.Event()

    def slow(mixture):
        entered.set()
        assert release.wait(10)
        return 0.5 * mixture[:, None]

    separator = separator_of(function=slow)
    song, results = noise(2, 1000), []
    thread = threading.Thread(target=lambda: results.append(separator.separate(song, 44100)))
    thread.start()
    try:
        assert entered.wait(10)
        with pytest.raises(OptionError, match="open a separator for each thread"):
            separator.separate(noise(2, 1000, seed=1), 44100)
    finally:
        release.set()
        thread.join()
    np.testing.assert_allclose(results[0]["vocals"], 0.5 * song, atol=1e-5)


def test_an_error_frees_the_separator():
    broken = separator_of(function=lambda mixture: mixture)
    song = noise(2, 1000)
    for _ in range(2):
        with pytest.raises(EngineError, match="returned"):
            broken.separate(song, 44100)

    def failing():
        yield song
        raise RuntimeError("the source broke")

    separator = separator_of()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the source broke"):
            list(separator.stream(failing(), 44100, 2))
    assert separator.separate(song, 44100)["vocals"].shape == song.shape


class Closings:
    def __init__(self, separator):
        self.count = 0
        separator.backend.close = self

    def __call__(self):
        self.count += 1


def test_closing_gives_the_engine_back_once():
    with separator_of() as separator:
        closings = Closings(separator)
        separator.separate(noise(1, 100), 44100)
        assert closings.count == 0
    separator.close()
    assert closings.count == 1
    with pytest.raises(OptionError, match="the separator is closed"):
        separator.separate(noise(1, 100), 44100)


def test_closing_waits_for_the_song_on_its_way():
    separator = separator_of()
    closings = Closings(separator)
    stream = separator.stream(blocks_of(noise(1, 30000), [5000]), 44100, 1)
    next(stream)
    separator.close()
    assert closings.count == 0
    with pytest.raises(OptionError, match="closed while it separated a song"):
        next(stream)
    assert closings.count == 1


def test_an_abandoned_stream_frees_the_engine():
    separator = separator_of()
    closings = Closings(separator)
    stream = separator.stream(blocks_of(noise(1, 30000), [5000]), 44100, 1)
    next(stream)
    separator.close()
    del stream
    assert closings.count == 1
