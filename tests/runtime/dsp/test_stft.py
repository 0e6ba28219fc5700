"""The numpy transform is torch's, at any size, and inverts itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dsp.stft import Stft


def torch_options(n_fft: int, hop: int, win_length: int | None = None, normalized: bool = False) -> dict[str, Any]:
    window = torch.hann_window(win_length or n_fft)
    lengths = {"n_fft": n_fft, "hop_length": hop, "win_length": win_length}
    return {**lengths, "window": window, "center": True, "normalized": normalized}


def torch_stft(wave: np.ndarray, *options: Any) -> np.ndarray:
    """[c, samples] -> [t, f, c, 2]"""
    out = torch.stft(torch.from_numpy(wave), **torch_options(*options), return_complex=True)
    return torch.view_as_real(out).permute(2, 1, 0, 3).numpy()


def torch_istft(spectrum: np.ndarray, *options: Any) -> np.ndarray:
    complexes = torch.view_as_complex(torch.from_numpy(spectrum).permute(2, 1, 0, 3).contiguous())
    return torch.istft(complexes, **torch_options(*options)).numpy()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("samples", [1025, 26460, 88200, 100001])
def test_equals_torch_at_the_published_size(samples):
    stft, wave = Stft(2048, 441), noise(2, samples)
    spectrum = stft.forward(wave)
    expected = torch_stft(wave, 2048, 441)
    assert spectrum.shape == expected.shape == (stft.frames(samples), 1025, 2, 2)
    assert spectrum.dtype == np.float32
    assert np.abs(spectrum - expected).max() <= 1e-6 * np.abs(expected).max()

    changed = spectrum * noise(*spectrum.shape, seed=1)  # not the transform of any wave
    back, expected = stft.inverse(changed), torch_istft(changed, 2048, 441)
    assert back.shape == expected.shape == (2, 441 * (stft.frames(samples) - 1))
    assert np.abs(back - expected).max() <= 2e-6 * np.abs(expected).max()


@settings(deadline=None, max_examples=60)
@given(
    half=st.integers(4, 40),
    hop_share=st.floats(0.05, 1.0),
    channels=st.integers(1, 3),
    extra=st.integers(1, 300),
    seed=st.integers(0, 99),
)
def test_equals_torch_and_inverts_at_any_size(half, hop_share, channels, extra, seed):
    n_fft, hop = 2 * half, max(1, round(half * hop_share))
    stft, wave = Stft(n_fft, hop), noise(channels, half + extra, seed=seed)
    spectrum = stft.forward(wave)
    np.testing.assert_allclose(spectrum, torch_stft(wave, n_fft, hop), atol=1e-4)
    back = stft.inverse(spectrum)
    kept = hop * (stft.frames(wave.shape[1]) - 1)
    assert back.shape == (channels, kept)
    # The flanks of the last window alone weigh little: rounding counts more there.
    np.testing.assert_allclose(back[:, : max(0, kept - half)], wave[:, : max(0, kept - half)], atol=1e-4)


def test_leading_axes_are_independent():
    stft, waves = Stft(64, 20), noise(3, 2, 200)
    spectra = stft.forward(waves)
    for wave, spectrum in zip(waves, spectra, strict=True):
        np.testing.assert_array_equal(stft.forward(wave), spectrum)
    stems = noise(3, 4, *spectra.shape[1:])
    back = stft.inverse(stems)
    assert back.shape == (3, 4, 2, 200)
    np.testing.assert_array_equal(stft.inverse(stems[1, 2]), back[1, 2])


@pytest.mark.parametrize("options", [(512, 100, 300), (512, 128, None, True), (400, 90, 250, True), (96, 48)])
def test_equals_torch_with_every_option(options):
    stft, wave = Stft(*options), noise(2, 9001)
    spectrum, expected = stft.forward(wave), torch_stft(wave, *options)
    assert np.abs(spectrum - expected).max() <= 1e-6 * np.abs(expected).max()
    changed = spectrum * noise(*spectrum.shape, seed=1)
    inner = slice(options[0], -options[0])  # where one flank of a window stands alone, little weight enlarges rounding
    back, expected = stft.inverse(changed)[:, inner], torch_istft(changed, *options)[:, inner]
    assert np.abs(back - expected).max() <= 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("n_fft, hop, samples", [(2048, 441, 100001), (64, 20, 5000), (64, 1, 3000), (30, 15, 16)])
@pytest.mark.parametrize("count", [1, 3])
def test_results_do_not_depend_on_the_number_of_threads(n_fft, hop, samples, count):
    alone, waves = Stft(n_fft, hop, threads=1), noise(count, 2, samples)
    spectra = alone.forward(waves)
    changed = spectra * noise(*spectra.shape, seed=1)
    for threads in (2, 3, 8):
        shared = Stft(n_fft, hop, threads=threads)
        np.testing.assert_array_equal(shared.forward(waves), spectra)
        np.testing.assert_array_equal(shared.inverse(changed), alone.inverse(changed))


def test_threads_end_with_the_call():
    before = threading.active_count()
    Stft(64, 16, threads=4).forward(noise(2, 20000))
    assert threading.active_count() == before


def test_an_error_in_another_thread_is_the_callers(monkeypatch):
    stft, failed = Stft(64, 16, threads=2), threading.Event()

    def fails_elsewhere(*_):
        if threading.current_thread() is threading.main_thread():
            failed.wait(10)  # so that the other thread gets a run
            return
        failed.set()
        raise MemoryError("no room")

    monkeypatch.setattr(stft, "_transform", fails_elsewhere)
    with pytest.raises(MemoryError, match="no room"):
        stft.forward(noise(2, 20000))


@pytest.mark.filterwarnings("error")
def test_the_callers_errstate_holds_in_threads():
    stft = Stft(64, 16, threads=4)
    spectrum = stft.forward(noise(2, 20000))
    spectrum[::50] = np.inf
    with np.errstate(all="ignore"):
        assert not np.isfinite(stft.inverse(spectrum)).all()


def test_too_short_for_reflection():
    with pytest.raises(ValueError, match="32 samples: an STFT of n_fft 64 needs more than 32"):
        Stft(64, 20).forward(noise(2, 32))
