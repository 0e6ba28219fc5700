"""A training as a yaml file describes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsmamba2.errors import ConfigError
from bsmamba2.training.settings import RECIPES, read_settings, settings_of


def test_the_papers_recipe_is_the_papers() -> None:
    settings = read_settings("bsmamba2")
    assert settings.model.kind == "mamba2" and len(settings.model.bands) == 62
    assert (settings.model.dim, settings.model.depth) == (256, 6)
    data, loop = settings.data, settings.training
    assert (data.seconds, data.gain, data.silence, data.per_epoch) == (8, (0.5, 1.5), 0.1, 6000)
    assert (data.swap_channels, data.polarity, data.speed) == (0, 0, (1, 1))
    assert (loop.learning_rate, loop.clip, loop.average, loop.precision) == (5e-4, 3, 0.999, "bf16-mixed")
    assert 2 * loop.batch_size * loop.accumulate == 60  # on two GPUs


def test_all_recipes_can_be_read_and_those_compared_differ_in_the_network_alone() -> None:
    recipes = {path.stem: read_settings(path.stem) for path in RECIPES.glob("*.yaml")}
    one, other = recipes["demo"], recipes["demo_roformer"]
    assert (one.data, one.training, one.model.stft) == (other.data, other.training, other.model.stft)
    assert (one.model.kind, other.model.kind) == ("mamba2", "transformer")


def test_a_file_of_ones_own_comes_before_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("model: {dim: 64}\ndata: {seconds: 2}\ntraining: {epochs: 3}\n")
    settings = read_settings("mine.yaml")
    assert (settings.model.dim, settings.data.seconds, settings.training.epochs) == (64, 2, 3)
    assert settings.samples == 200 * 441
    with pytest.raises(ConfigError, match=r"none: no such file.*\(bs_roformer, bsmamba2, demo, demo_roformer\)"):
        read_settings("none")


def test_stem_names_are_in_lower_case() -> None:
    settings = settings_of({"training": {"target_instrument": "Vocals"}, "data": {"sources": ["Vocals", "Other"]}}, "")
    assert (settings.model.stems, settings.data.sources) == (("vocals",), ("vocals", "other"))


def test_samples_are_whole_hops() -> None:
    settings = settings_of({"data": {"seconds": 1.2345}}, "")
    assert settings.samples % 441 == 0 and abs(settings.samples / 44100 - 1.2345) < 441 / 44100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": {"learnin_rate": 1}}, r"training\.learnin_rate is unknown: expected batch_size"),
        ({"training": {"learning_rate": "high"}}, r"training\.learning_rate is 'high': must be a number"),
        ({"training": {"epochs": 1.5}}, r"training\.epochs is '1.5': must be a whole number"),
        ({"training": {"epochs": True}}, "must be a whole number"),
        ({"training": {"epochs": 0}}, r"training\.epochs is 0: must be a positive number"),
        ({"training": {"learning_rate": float("nan")}}, "must be a positive number"),
        ({"training": {"precision": "8-bit"}}, "must be 32-true, bf16-mixed or 16-mixed"),
        ({"training": {"average": 1.0}}, "average must be from 0 to below 1"),
        ({"training": {"batch_size": 7}}, "whole steps"),
        ({"data": {"gain": [2, 1]}}, r"data\.gain is 2(\.0)? to 1(\.0)?: must be a range"),
        ({"data": {"gain": [1]}}, r"data\.gain is '\[1\]': must be a list"),
        ({"data": {"silence": 2}}, r"data\.silence is 2(\.0)?: must be a probability"),
        ({"data": {"sources": ["drums", "bass"]}}, r"the network separates vocals, which is missing in data\.sources"),
        ({"data": {"sources": ["vocals", "vocals"]}}, "each only once"),
        ({"data": [1]}, "data: is a list: must be a section"),
        ({"data": {"seconds": 0}}, r"data\.seconds is 0(\.0)?: must be a positive number"),
    ],
)
def test_what_does_not_fit_is_said(content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(content, "x.yaml")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["seconds", "per_epoch", "gain", "sources", "epochs", "batch_size", "precision", "seed", "speed"]
)


@given(data=st.dictionaries(KEYS, ANYTHING), loop=st.dictionaries(KEYS, ANYTHING))
def test_any_content_is_settings_or_one_error(data: dict[str, object], loop: dict[str, object]) -> None:
    try:
        settings = settings_of({"data": data, "training": loop}, "x.yaml")
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert settings.samples >= 0 and settings.training.epochs >= 1
