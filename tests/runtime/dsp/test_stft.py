"""The numpy transform is torch's, at any size, and inverts itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dsp.stft import Stft


def torch_stft(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """[c, samples] -> [t, f, c, 2]"""
    out = torch.stft(
        torch.from_numpy(wave), n_fft, hop, window=torch.hann_window(n_fft), center=True, return_complex=True
    )
    return torch.view_as_real(out).permute(2, 1, 0, 3).numpy()


def torch_istft(spectrum: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    complexes = torch.view_as_complex(torch.from_numpy(spectrum).permute(2, 1, 0, 3).contiguous())
    return torch.istft(complexes, n_fft, hop, window=torch.hann_window(n_fft), center=True).numpy()


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


def test_too_short_for_reflection():
    with pytest.raises(ValueError, match="32 samples: an STFT of n_fft 64 needs more than 32"):
        Stft(64, 20).forward(noise(2, 32))
