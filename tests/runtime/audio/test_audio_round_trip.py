"""A file, separated: vocals + instrumental make the song again, at every sample type and rate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from fakes import separator_of

from runtime.audio import Form
from runtime.songs.separate import separate_file

TYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize(("container", "subtype"), [*(("WAV", name) for name in TYPES), ("FLAC", "PCM_24")])
def test_vocals_and_instrumental_make_the_song(tmp_path, container, subtype, rate):
    song = tmp_path / "song"
    mixture = np.random.default_rng(rate).uniform(-0.6, 0.6, (rate // 4, 2))
    soundfile.write(song, mixture, rate, format=container, subtype=subtype)
    targets = {stem: tmp_path / stem for stem in ("vocals", "instrumental")}
    report = separate_file(separator_of(gains=(0.37,)), song, targets)
    assert report.gain == 1.0 and report.form == Form(container, subtype)
    for target in targets.values():
        info = soundfile.info(target)
        assert (info.format, info.subtype, info.samplerate, info.frames) == (container, subtype, rate, rate // 4)
    bits = report.form.bits
    if bits is None:
        total = sum(soundfile.read(target)[0] for target in targets.values())
        assert np.abs(total - soundfile.read(song)[0]).max() <= 1e-6
    else:
        files = (*targets.values(), song)
        steps = [soundfile.read(each, dtype="int32")[0].astype(np.int64) >> (32 - bits) for each in files]
        assert np.abs(steps[0] + steps[1] - steps[2]).max() <= 1
