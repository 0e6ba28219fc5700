"""The comparison stage by stage lets a right engine pass, and rejects every wrong one by the stage that shows it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import manifest_data, reference_for

from runtime.backends.fake import FakeBackend
from runtime.dsp.stft import Stft
from runtime.engine.manifest import Manifest, Range, probe_tensors
from runtime.errors import EngineError
from runtime.parity.replay import recovered_mask, replay
from runtime.parity.stages import FEATURES, STEMS, compare

AFTER_MASK = ["masked spectrogram", "waveform"]


def described(**model) -> Manifest:
    data = manifest_data(stems=("vocals", "drums"))
    data["model"] |= {"bands": [25, 200, 800], "depth": 2, **model}
    return Manifest.from_json(json.dumps(data), "a test")


MANIFEST = described()
PROBED = replace(MANIFEST, probes=probe_tensors(MANIFEST.model, 11))
REFERENCE = reference_for(MANIFEST)
BANDS = slice(25, 225)  # the bins of the second sub-band


class ProbedBackend(FakeBackend):
    """Gives what the reference holds, but for `wrong`."""

    def __init__(self, **wrong: np.ndarray) -> None:
        super().__init__()
        self.outputs = {name: REFERENCE[name] for name in ("stems", *(each.name for each in PROBED.probes))} | wrong

    def run_probes(self, mixture: np.ndarray) -> dict[str, np.ndarray]:
        return self.outputs


def stages_of(damage=lambda stems: stems, reference=REFERENCE, manifest=MANIFEST):
    backend = FakeBackend(function=lambda mixture: damage(np.repeat(REFERENCE["stems"], len(mixture), axis=0)))
    return {stage.name: stage for stage in replay(backend, manifest, reference)[0]}


def failed(stages) -> list[str]:
    return [name for name, stage in stages.items() if not stage.passed]


def shifted(stems):
    """By one sample, as a mistake in the padding would."""
    stft = Stft(2048, 441)
    return stft.forward(np.roll(stft.inverse(stems), 1, axis=-1))


def with_wrong_band(stems):
    out = stems.copy()
    out[..., BANDS, :, :] = stems[..., BANDS, ::-1, :]
    return out


def test_a_right_engine_passes():
    stages = stages_of()
    assert list(stages) == ["STFT", "mask (recovered)", *AFTER_MASK]
    assert not failed(stages)
    assert stages["masked spectrogram"].difference.max_error == 0


def test_probes_are_stages_of_their_own():
    stages = {stage.name: stage for stage in replay(ProbedBackend(), PROBED, REFERENCE)[0]}
    assert list(stages) == ["STFT", "band features", "layer 1", "layer 2", "mask", *AFTER_MASK]
    assert not failed(stages)
    wrong = REFERENCE["layer_2"].copy()
    wrong[0, 3, 1, 5] += 0.01
    stages = {stage.name: stage for stage in replay(ProbedBackend(layer_2=wrong), PROBED, REFERENCE)[0]}
    assert failed(stages) == ["layer 2"]
    assert stages["layer 2"].worst == "batch 0, frame 3 (0.030 s), band 1 (538 to 4823 Hz), feature 5"


@pytest.mark.parametrize(
    "damage",
    [
        lambda stems: 2 * stems,
        lambda stems: 0 * stems,
        lambda stems: stems[:, ::-1],
        lambda stems: stems[..., ::-1, :],
        lambda stems: stems[..., ::-1],
        lambda stems: -stems,
        shifted,
        with_wrong_band,
    ],
    ids=[
        "doubled",
        "silent",
        "stems swapped",
        "channels swapped",
        "real and imaginary swapped",
        "inverted",
        "shifted by a sample",
        "one band wrong",
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_wrong_engines_fail_from_the_mask_on(damage, precision):
    stages = stages_of(damage, manifest=replace(MANIFEST, precision=precision))
    assert failed(stages) == ["mask (recovered)", *AFTER_MASK]


@pytest.mark.parametrize(
    ("precision", "gain"), [("fp32", 1 + 1e-5), ("fp16", 1 + 3e-3), ("bf16", 1 + 1.5e-2), ("bf16", 1 - 1.5e-2)]
)
def test_each_precision_has_its_own_tolerance(precision, gain):
    manifest = replace(MANIFEST, precision=precision)
    assert not failed(stages_of(lambda stems: np.float32(gain) * stems, manifest=manifest))
    ten_times = np.float32(1 + 10 * (gain - 1))
    assert len(failed(stages_of(lambda stems: ten_times * stems, manifest=manifest))) == 3


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_counted_and_found(number):
    def damage(stems):
        out = stems.copy()
        out[0, 1, 4, 100, 0, 1] = out[0, 1, 9, 3, 1, 0] = number
        return out

    stages = stages_of(damage)
    assert failed(stages) == ["mask (recovered)", *AFTER_MASK]
    stage = stages["masked spectrogram"]
    assert stage.not_finite == 2 and stage.difference is None
    assert stage.worst == "batch 0, stem drums, frame 4 (0.040 s), bin 100 (2153 Hz), channel 0 (left), imaginary"


def test_the_largest_error_is_named():
    def damage(stems):
        out = stems.copy()
        out[0, 0, 7, 1000, 1, 0] += np.abs(stems).max()
        return out

    stages = stages_of(damage)
    assert stages["masked spectrogram"].difference.max_error == pytest.approx(1)
    where = "batch 0, stem vocals, frame 7 (0.070 s), bin 1000 (21533 Hz), channel 1 (right), real"
    assert stages["masked spectrogram"].worst == where
    assert stages["waveform"].worst.startswith("batch 0, stem vocals, channel 1 (right), sample ")


def test_the_stft_answers_for_itself_alone():
    arrays = REFERENCE.arrays | {"waveform": np.roll(REFERENCE["waveform"], 1, axis=-1)}
    stages = stages_of(reference=replace(REFERENCE, arrays=arrays), manifest=replace(MANIFEST, precision="bf16"))
    assert failed(stages) == ["STFT"]
    assert stages["STFT"].precision == "fp32"


def test_an_engine_of_larger_batches_is_given_its_least():
    manifest = replace(MANIFEST, batch=replace(MANIFEST.batch, min=3, opt=3))
    assert not failed(stages_of(manifest=manifest))

    def last_item_wrong(stems):
        stems[2] *= 2
        return stems

    assert stages_of(last_item_wrong, manifest=manifest)["masked spectrogram"].worst.startswith("batch 2, ")


def test_a_mask_is_recovered_where_the_mixture_is_audible():
    mixture = np.zeros((1, 2, 3, 1, 2), np.float32)
    mixture[0, 0, :, 0, 0] = [1, 2e-3, 5e-4]
    stems = np.float32(0.25) * mixture[:, None]
    mask, audible = recovered_mask(stems, mixture)
    assert audible.shape == mask.shape == stems.shape
    assert audible[0, 0, 0, :, 0, 0].tolist() == [True, True, False] and not audible[0, 0, 1].any()
    np.testing.assert_allclose(mask[audible], np.tile([0.25, 0], 2), atol=1e-7)


@pytest.mark.parametrize("name", ["waveform", "stems", "mask"])
def test_a_silent_reference_is_nothing_to_compare_with(name):
    silent = {name: 0 * REFERENCE[name]} | ({"spectrogram": 0 * REFERENCE["spectrogram"]} if name == "waveform" else {})
    with pytest.raises(EngineError, match="the reference is silent"):
        stages_of(reference=replace(REFERENCE, arrays=REFERENCE.arrays | silent))


def test_other_shapes_and_no_numbers_are_errors():
    with pytest.raises(EngineError, match=r"the engine gives \(1, 1, 11, 1025, 2, 2\), expected \(1, 2, 11"):
        stages_of(lambda stems: stems[:, :1])
    with pytest.raises(EngineError, match=r"layer 1: got shape \(1, 11, 3, 8\), expected \(1, 11, 3, 4\)"):
        arrays = REFERENCE.arrays | {"layer_1": REFERENCE["layer_1"][..., :4]}
        replay(ProbedBackend(), PROBED, replace(REFERENCE, arrays=arrays))
    nothing = np.zeros((1, 0, 3, 8), np.float32)
    with pytest.raises(EngineError, match="layer 1: parity: got shape"):
        compare("layer 1", FEATURES, nothing, nothing, "fp32", MANIFEST)
    stems = REFERENCE["stems"]
    with pytest.raises(EngineError, match="mask: parity: got shape"):
        compare("mask", STEMS, stems, stems, "fp32", MANIFEST, np.zeros(stems.shape, bool))


def test_a_manifest_with_probes_needs_a_backend_that_gives_them():
    with pytest.raises(EngineError, match="fake gives no intermediate results: use the ONNX engine"):
        replay(FakeBackend((0.5, 0.5)), PROBED, REFERENCE)


WAVE = Manifest.from_json(
    json.dumps(
        manifest_data(stems=("vocals", "drums"), io="wave") | {"model": json.loads(MANIFEST.to_json())["model"]}
    ),
    "a test",
)


def test_an_engine_with_waveforms_is_compared_by_its_stems():
    backend = FakeBackend(function=lambda mixture: np.repeat(REFERENCE["stem_waveforms"], len(mixture), axis=0))
    for manifest in (WAVE, replace(WAVE, batch=Range(3, 3, 8))):
        stages, drawn = replay(backend, manifest, REFERENCE)
        assert [stage.name for stage in stages] == ["waveform"] and stages[0].passed
        assert drawn.reference.shape == REFERENCE["stems"].shape
        np.testing.assert_array_equal(drawn.found[:1], drawn.reference)
    assert [shape[0] for shape in backend.shapes] == [1, 3]


@pytest.mark.parametrize("damage", [lambda x: 2 * x, lambda x: 0 * x, lambda x: x * np.nan, lambda x: np.roll(x, 1)])
def test_wrong_waveforms_fail(damage):
    backend = FakeBackend(function=lambda mixture: damage(REFERENCE["stem_waveforms"]))
    stages, _ = replay(backend, WAVE, REFERENCE)
    assert not stages[0].passed


def test_probes_of_an_engine_with_waveforms_show_its_own_transforms():
    probed = replace(WAVE, probes=probe_tensors(WAVE.model, 11, "wave"))

    class Backend(FakeBackend):
        outputs = {name: REFERENCE[name] for name in ("spectrogram", "mask", "band_features", "layer_1", "layer_2")} | {
            "stems": REFERENCE["stem_waveforms"],
            "masked_spectrogram": REFERENCE["stems"],
        }

        def run_probes(self, mixture):
            np.testing.assert_array_equal(mixture, REFERENCE["waveform"])
            return self.outputs

    assert {each.name for each in probed.probes} == set(Backend.outputs) - {"stems"}
    stages, drawn = replay(Backend(), probed, REFERENCE)
    assert [stage.name for stage in stages] == ["STFT", "band features", "layer 1", "layer 2", "mask", *AFTER_MASK]
    assert all(stage.passed for stage in stages) and drawn.found is REFERENCE["stems"]
    Backend.outputs = Backend.outputs | {"spectrogram": 1.001 * REFERENCE["spectrogram"]}
    stages, _ = replay(Backend(), probed, REFERENCE)
    assert [stage.name for stage in stages if not stage.passed] == ["STFT"]
