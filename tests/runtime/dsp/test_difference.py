"""The measure behind the parity record sees what it must, and never compares nothing."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.dsp.difference import difference
from runtime.errors import EngineError, OptionError
from runtime.evaluation.metrics import usdr

REFERENCE = np.random.default_rng(0).standard_normal((2, 2, 100)).astype(np.float32)


def test_figures_of_a_known_error():
    found = REFERENCE.copy()
    found[0, 1, 7] += 0.5
    result = difference(found, REFERENCE)
    peak = np.abs(REFERENCE).max()
    assert result.max_error == pytest.approx(0.5 / peak, rel=1e-5)
    assert result.rms_error == pytest.approx(0.5 / np.sqrt(400) / peak, rel=1e-5)
    assert result.snr_db == pytest.approx(10 * np.log10((REFERENCE.astype(float) ** 2).sum() / 0.25), rel=1e-4)
    assert difference(REFERENCE, REFERENCE).snr_db is None


@pytest.mark.parametrize(
    "wrong",
    [2 * REFERENCE, 0 * REFERENCE, REFERENCE[::-1], REFERENCE[:, ::-1], np.roll(REFERENCE, 1, axis=-1)],
    ids=["doubled", "silent", "stems swapped", "channels swapped", "shifted by a sample"],
)
def test_wrong_outputs_are_far(wrong):
    assert difference(wrong, REFERENCE).max_error > 0.1


@pytest.mark.parametrize(
    ("found", "reference", "message"),
    [
        (REFERENCE[:1], REFERENCE, "got shape"),
        (REFERENCE[:0], REFERENCE[:0], "got shape"),
        (REFERENCE * np.nan, REFERENCE, "NaN or Inf"),
        (REFERENCE * np.inf, REFERENCE, "NaN or Inf"),
        (REFERENCE * 0, REFERENCE * 0, "the reference is silent"),
    ],
)
def test_comparing_nothing_is_an_error(found, reference, message):
    with pytest.raises(EngineError, match=message):
        difference(found, reference)


def test_sdr():
    truth = REFERENCE[0]
    assert usdr(truth, truth + 0.1 * truth) == pytest.approx(20, abs=0.01)
    assert usdr(truth, np.zeros_like(truth)) == pytest.approx(0, abs=0.01)
    with pytest.raises(OptionError):
        usdr(truth, truth[:, 1:])
