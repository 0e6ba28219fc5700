"""The STFT and its inverse as graphs give what `runtime.dsp.stft` gives, which is what torch.stft and istft give."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from bsmamba2.config import StftConfig
from bsmamba2.networks.stft import spectrogram
from export.graph.assembly import Assembly
from export.graph.check_graph import ALLOWED
from export.graph.fourier import forward_factors, radices_of
from export.graph.waves import add_inverse, add_stft
from runtime.dsp.difference import difference
from runtime.dsp.signal import signal_wave
from runtime.dsp.stft import Stft

BATCH, STEMS, CHANNELS = 2, 3, 2
LEAST_DB = 110.0
# n_fft, hop_length, win_length, normalized, frames
TRANSFORMS = [
    (2048, 441, 2048, False, 20),
    (2048, 512, 2048, True, 6),
    (2048, 882, 2048, False, 9),
    (4096, 1024, 4096, False, 5),
    (4096, 882, 3000, False, 7),
    (2048, 600, 1801, True, 3),
    (32, 10, 32, False, 70),
    (34, 17, 34, False, 12),  # n_fft is twice a prime number
    (16, 1, 7, False, 10),
]


def graphs(n_fft, hop, win, normalized, frames):
    """A session from `mixture` and `masked` to `spectrogram` and `stems`; `frames` is None if they are dynamic."""
    stft = StftConfig(n_fft=n_fft, hop_length=hop, win_length=win, normalized=normalized)
    graph = Assembly()
    made = add_stft(graph, stft, "mixture", CHANNELS)
    add_inverse(graph, stft, "masked", STEMS, CHANNELS, "stems", frames)
    length, samples = ("frames", "samples") if frames is None else (frames, hop * (frames - 1))

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    model = graph.model(
        [value("mixture", CHANNELS, samples), value("masked", STEMS, length, stft.bins, CHANNELS, 2)],
        [value(made, length, stft.bins, CHANNELS, 2), value("stems", STEMS, CHANNELS, samples)],
    )
    onnx.checker.check_model(model, full_check=True)  # with shapes
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("n_fft", "hop", "win", "normalized", "frames"), TRANSFORMS)
def test_both_directions_are_those_of_the_runtime(n_fft, hop, win, normalized, frames, dynamic):
    session = graphs(n_fft, hop, win, normalized, None if dynamic else frames)
    stft = Stft(n_fft, hop, win, normalized)
    for t in (frames, frames + 3) if dynamic else (frames,):
        wave, masked = random(BATCH, CHANNELS, hop * (t - 1)), random(BATCH, STEMS, t, n_fft // 2 + 1, CHANNELS, 2)
        spectra, stems = session.run(None, {"mixture": wave, "masked": masked})
        assert difference(spectra, stft.forward(wave)).snr_db > LEAST_DB
        assert difference(stems, stft.inverse(masked)).snr_db > LEAST_DB


def test_the_imaginary_parts_of_the_first_and_last_bin_have_no_effect():
    session = graphs(2048, 441, 2048, False, 5)
    masked = random(BATCH, STEMS, 5, 1025, CHANNELS, 2)
    odd = masked.copy()
    odd[:, :, :, [0, -1], :, 1] = 1e6
    wave = random(BATCH, CHANNELS, 4 * 441)
    (before,), (after,) = (session.run(["stems"], {"mixture": wave, "masked": each}) for each in (masked, odd))
    assert np.abs(after - before).max() < 1e-6 * np.abs(before).max()


def test_silence_stays_silence():
    session = graphs(2048, 441, 2048, False, 5)
    given = {"mixture": np.zeros((1, 2, 1764), np.float32), "masked": np.zeros((1, STEMS, 5, 1025, 2, 2), np.float32)}
    assert not any(out.any() for out in session.run(None, given))


def test_samples_that_are_no_multiple_of_the_hop_are_refused():
    session = graphs(2048, 441, 2048, False, None)
    given = {"mixture": random(1, CHANNELS, 4 * 441 + 1), "masked": random(1, STEMS, 5, 1025, CHANNELS, 2)}
    with pytest.raises(Exception, match="cannot be reshaped"):
        session.run(None, given)


@pytest.mark.parametrize(
    ("n_fft", "radices"), [(2048, [16, 8, 16]), (4096, [16, 16, 16]), (512, [8, 8, 8]), (34, [17, 2]), (16, [4, 2, 2])]
)
def test_the_factors_are_few(n_fft, radices):
    assert radices_of(n_fft) == radices
    assert sum(factors.size for factors in forward_factors(n_fft)) < 100 * n_fft


def test_the_spectrogram_is_at_least_as_exact_as_that_of_pytorch():
    """Networks can be sensitive to errors in quiet bins."""
    stft, frames = StftConfig(), 40
    wave = signal_wave(stft, CHANNELS, frames)
    given = {"mixture": wave, "masked": np.zeros((1, STEMS, frames, stft.bins, CHANNELS, 2), np.float32)}
    found, _ = graphs(stft.n_fft, stft.hop_length, stft.win_length, False, frames).run(None, given)
    exact = spectrogram(torch.from_numpy(wave).double(), stft).numpy()
    pytorch = spectrogram(torch.from_numpy(wave), stft).numpy()
    assert np.square(found - exact).sum() <= np.square(pytorch - exact).sum()
