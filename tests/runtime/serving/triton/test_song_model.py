"""`SongModel`: what Triton's Python backend runs, around a double of Triton."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import triton_double
from fakes import manifest_data, separator_of
from triton_double import TRITONSERVER_RESPONSE_COMPLETE_FINAL, InferenceRequest, Request

from runtime.engine.manifest import Manifest
from runtime.errors import OptionError
from runtime.serving.triton.models import song_config
from runtime.serving.triton.song_model import SongModel, options_of

RATE = 44100


@pytest.fixture
def network(monkeypatch):
    """Halves; its errors and threads are empty at first."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton_double)
    monkeypatch.setattr(InferenceRequest, "networks", {"vocals_network": lambda mixture: 0.5 * mixture[:, None]})
    monkeypatch.setattr(InferenceRequest, "threads", set())
    monkeypatch.setattr(triton_double.Logger, "errors", [])
    return InferenceRequest.networks


def config_of(io="spectrum", **parameters) -> dict:
    manifest = Manifest.from_json(json.dumps(manifest_data(io=io)), "made")
    config = song_config("vocals", manifest, 1)
    values = {each["key"]: each["value"] for each in config["parameters"]}
    return config | {"parameters": values | {key: {"string_value": value} for key, value in parameters.items()}}


def model(folder, io="spectrum", **parameters) -> SongModel:
    (folder / "1").mkdir()
    (folder / "1" / "manifest.json").write_text(json.dumps(manifest_data(io=io)))
    made = SongModel()
    config = json.dumps(config_of(io, **parameters))
    made.initialize({"model_repository": str(folder), "model_version": "1", "model_config": config})
    return made


def request(song, stems=("vocals", "instrumental"), rate=RATE, **options) -> Request:
    return Request({"AUDIO": song, "SAMPLE_RATE": np.array([rate], np.int32)}, list(stems), **options)


def joined(asked: Request) -> dict[str, np.ndarray]:
    names = asked.sent[0].tensors
    return {name: np.concatenate([each.tensors[name].values for each in asked.sent], axis=1) for name in names}


@pytest.fixture
def song():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30_000)).astype(np.float32)


@pytest.mark.parametrize("io", ["spectrum", "wave"])
def test_a_song_is_separated_as_by_the_runtime(tmp_path, network, song, io):
    served = model(tmp_path, io)
    asked = request(song)
    served.execute([asked])
    served.finalize()
    assert len(asked.sent) > 1 and asked.flags == [TRITONSERVER_RESPONSE_COMPLETE_FINAL]
    expected = separator_of(io=io).separate(song, RATE)
    got = joined(asked)
    assert list(got) == ["vocals", "instrumental"]
    for stem, wave in expected.items():
        np.testing.assert_array_equal(got[stem], wave)


def test_only_the_stems_that_are_asked_for(tmp_path, network, song):
    asked = request(song, ["instrumental"])
    model(tmp_path).execute([asked])
    assert list(joined(asked)) == ["instrumental"]


def test_chunks_are_under_way_in_threads_of_their_own(tmp_path, network, song):
    model(tmp_path, depth="2").execute([request(song)])
    assert 1 <= len(InferenceRequest.threads) <= 2


def test_the_options_of_its_configuration_are_used(tmp_path, network, song):
    asked = request(song)
    model(tmp_path, overlap="0.5").execute([asked])
    np.testing.assert_array_equal(joined(asked)["vocals"], separator_of(overlap=0.5).separate(song, RATE)["vocals"])


@pytest.mark.parametrize("parameters", [{"overlpa": "0.5"}, {"threads": "many"}, {"tta": "yes"}, {"depth": "0"}])
def test_a_parameter_it_does_not_know_is_named(parameters):
    with pytest.raises(OptionError, match=f"config.pbtxt .*{next(iter(parameters))}"):
        options_of(config_of(**parameters))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 5}, "sample rate 5"),
        ({"song": np.zeros((3, 9), np.float32)}, "3 channels"),
        ({"song": np.full((2, 9), np.nan, np.float32)}, "NaN"),
        ({"song": np.zeros((2, 0), np.float32)}, "no samples"),
        ({"stems": ["drums"]}, "stems none"),
    ],
)
def test_a_wrong_request_is_answered_and_the_next_one_separated(tmp_path, network, song, change, message):
    wrong = request(**({"song": song} | change))
    right = request(song)
    model(tmp_path).execute([wrong, right])
    assert message in wrong.sent[-1].error().message() and wrong.flags == [TRITONSERVER_RESPONSE_COMPLETE_FINAL]
    assert joined(right)["vocals"].shape == song.shape
    assert not triton_double.Logger.errors


def test_a_network_that_is_not_there_is_named(tmp_path, network, song):
    network.clear()
    asked = request(song)
    model(tmp_path).execute([asked])
    assert asked.sent[-1].error().message() == "vocals_network: model vocals_network is not ready"


def test_an_error_of_the_code_is_logged_and_answered(tmp_path, network, song):
    def broken(mixture):
        raise ZeroDivisionError("by design")

    network["vocals_network"] = broken
    asked = request(song)
    model(tmp_path).execute([asked])
    assert "internal error" in asked.sent[-1].error().message()
    assert "by design" in triton_double.Logger.errors[0]


def test_a_client_that_is_gone_costs_no_more_chunks(tmp_path, network, song):
    whole, cut = request(song), request(song, cancel_after=1)
    model(tmp_path).execute([whole, cut])
    assert len(cut.sent) == 1 < len(whole.sent) and cut.flags
