"""Several views of a chunk: what the network is shown, and the mean of what it gives."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import separator_of
from hypothesis import given
from hypothesis import strategies as st
from songs import song as song_file

from runtime.dsp.views import UNCHANGED, View, mean_of, views_of
from runtime.errors import OptionError

RATE = 44100
VIEWS = st.builds(View, st.booleans(), st.booleans(), st.integers(0, 20))


def noise(channels=2, samples=30000, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


@given(view=VIEWS, stems=st.integers(1, 3))
def test_a_view_is_changed_back(view, stems):
    wave = noise(samples=50)
    back = view.back(np.stack([view.of(wave)] * stems))
    assert back.shape == (stems, 2, 50 - view.late)
    np.testing.assert_array_equal(back, np.stack([wave[:, : 50 - view.late]] * stems))


@given(views=st.lists(VIEWS, min_size=1, max_size=5))
def test_the_mean_of_what_was_left_alone_is_what_it_was(views):
    wave = noise(samples=50)
    views = [UNCHANGED, *views]
    mean = mean_of(views, [view.of(wave)[None] for view in views])
    np.testing.assert_allclose(mean, wave[None], atol=1e-6)


def test_views_are_as_it_is_first_then_all_others_once():
    assert views_of(False, 1, 441, 2) == (UNCHANGED,)
    assert views_of(True, 1, 441, 2) == (UNCHANGED, View(swapped=True))
    assert views_of(True, 1, 441, 1) == (UNCHANGED, View(inverted=True))
    views = views_of(True, 4, 441, 2)
    assert len(set(views)) == 8 and views[0] == UNCHANGED
    assert {view.late for view in views} == {0, 110, 220, 331}


@pytest.mark.parametrize("shifts", [0, -1, 17])
def test_shifts_have_limits(shifts):
    with pytest.raises(OptionError, match=f"^--shifts {shifts}: must be between 1 and 16$"):
        separator_of(shifts=shifts)


@pytest.mark.parametrize("options", [{"tta": True}, {"shifts": 3}, {"tta": True, "shifts": 2}])
@pytest.mark.parametrize(("channels", "width"), [(2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_that_sees_all_views_alike_gives_what_it_gave(options, channels, width, batch):
    song = noise(channels)
    plain = separator_of(channels=width).separate(song, RATE)
    several = separator_of(channels=width, batch=batch, **options).separate(song, RATE)
    for name, wave in plain.items():
        np.testing.assert_allclose(several[name], wave, atol=1e-5)


def test_what_the_network_does_to_one_channel_only_is_shared_by_both():
    def left_only(mixture):
        out = np.zeros_like(mixture)
        out[..., 0, :] = mixture[..., 0, :]  # [b, t, f, c, 2]
        return out[:, None]

    song = noise()
    vocals = separator_of(function=left_only).separate(song, RATE)["vocals"]
    assert not vocals[1].any()
    vocals = separator_of(function=left_only, tta=True).separate(song, RATE)["vocals"]
    np.testing.assert_allclose(vocals, song / 2, atol=1e-5)


def test_progress_counts_every_view():
    seen = []
    separator_of(tta=True, shifts=2, batch=3).separate(
        noise(), RATE, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1][0] == seen[-1][1] and seen[-1][1] % 4 == 0


def test_the_command_takes_them(run, capsys):
    song_file("a.wav", samples=30000)
    assert run("a.wav", "--tta", "--shifts", "2") == 0, capsys.readouterr().err
