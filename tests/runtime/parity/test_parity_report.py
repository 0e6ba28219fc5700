"""The report says in words and pictures what the comparison came to, in one file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from fakes import manifest_data, reference_for

from runtime.backends.fake import FakeBackend
from runtime.engine.manifest import Manifest
from runtime.parity.replay import replay
from runtime.parity.report import Comparison, as_html, as_text
from runtime.parity.sdr_change import SdrChange

pytestmark = pytest.mark.seconds

MANIFEST = Manifest.from_json(json.dumps(manifest_data(stems=("vocals", "drums"))), "a test")
REFERENCE = reference_for(MANIFEST)
SDR = [SdrChange("vocals", "fp32", 0.5, 7.0, 7.001), SdrChange("drums", "fp32", 0.5, None, 5.0)]


def compared(factor: float = 1.0, sdr: tuple[SdrChange, ...] = ()) -> tuple[Comparison, np.ndarray]:
    backend = FakeBackend(function=lambda mixture: REFERENCE["stems"] * np.float32(factor))
    stages, drawn = replay(backend, MANIFEST, REFERENCE)
    return Comparison("engines/<x>.onnx", "fake", "x.npz", MANIFEST, stages, list(sdr)), drawn.found


def html_of(comparison: Comparison, found: np.ndarray) -> str:
    return as_html(comparison, REFERENCE["spectrogram"], REFERENCE["stems"], found)


def test_text_of_a_pass():
    comparison, _ = compared(sdr=SDR)
    assert comparison.passed
    text = as_text(comparison)
    assert text.splitlines()[-1] == (
        "passed: all 4 stages and the SDR of vocals within tolerance; the SDR of drums was not compared: add --ckpt"
    )
    assert re.search(r"^masked spectrogram +0.0e\+00 +0.0e\+00 +no error +2e-05, 90 dB +ok +batch 0, stem", text, re.M)
    assert re.search(r"^vocals +0\.500 +7\.000 +7\.001 +\+0\.0010 +ok$", text, re.M)
    assert re.search(r"^drums +0\.500 +- +5\.000 +- +not compared$", text, re.M)


def test_text_of_a_failure():
    comparison, _ = compared(2)
    assert not comparison.passed
    last = "FAILED: mask (recovered), masked spectrogram, waveform are not within tolerance"
    assert as_text(comparison).splitlines()[-1] == last
    comparison, _ = compared(np.nan)
    assert re.search(
        r"^masked spectrogram +\d+ NaN/Inf +- +- .* FAILED +first: batch 0, stem vo", as_text(comparison), re.M
    )


def test_an_sdr_that_changed_fails_alone():
    comparison, _ = compared(sdr=(replace(SDR[0], engine=6.9),))
    assert not comparison.passed
    assert as_text(comparison).endswith("FAILED: the SDR of vocals is not within tolerance")


@pytest.mark.parametrize("factor", [1.0, 2.0, np.nan])
def test_one_file_with_a_picture_of_every_stem(factor):
    pytest.importorskip("matplotlib")
    comparison, found = compared(factor, SDR)
    html = html_of(comparison, found)
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,', html)) == 3
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing is loaded from elsewhere
    assert "engines/&lt;x&gt;.onnx" in html and "<x>" not in html
    assert comparison.summary in html and ('class="bad"' in html) == (factor != 1)
    for stage in comparison.stages:
        assert html.count(stage.name) >= 2  # its row, and what it is
