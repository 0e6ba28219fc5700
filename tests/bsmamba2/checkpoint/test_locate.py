"""The weights are found at the top of a checkpoint or one level down; of several copies, the right one is taken."""

from __future__ import annotations

from pathlib import Path

import golden_data
import pytest
import torch

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.checkpoint.infer import FIRST
from bsmamba2.checkpoint.locate import averaged, locate, tensors_of
from bsmamba2.errors import CheckpointError

KEYS = ["ema", "ema_model", "ema_model_state_dict", "state_dict_ema", "params", "net", "generator", "weights", "x" * 60]
PATH = Path("x.ckpt")


def copy(number: float, prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights that tell which copy they are."""
    return {f"{prefix}{FIRST}": torch.tensor(number), f"{prefix}final_norm.gamma": torch.tensor(number)}


def found(content: dict, wanted: str | None = None) -> tuple[float, str, list[str]]:
    place, notes = locate(content, wanted, PATH)
    state, _ = tensors_of(place, PATH)
    assert set(state) == set(copy(0))
    return float(state[FIRST]), place.name, notes


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_an_only_copy_is_found_under_any_key(key: str, prefix: str) -> None:
    content = {"epoch": 3, "optimizer": {"lr": 1e-4}, key: copy(1, prefix)}
    number, name, notes = found(content)
    assert number == 1 and any(key in note for note in notes)
    assert found(content, name)[:2] == (1, name)  # as bsm-parity asks for it, by the manifest


def test_the_copy_that_was_taken_is_recorded_and_loads_again(tmp_path: Path) -> None:
    torch.save({"ema_model_state_dict": golden_data.state("a")}, tmp_path / "x.ckpt")
    checkpoint = load_checkpoint(tmp_path / "x.ckpt")
    assert checkpoint.weights == "ema_model_state_dict"
    again = load_checkpoint(tmp_path / "x.ckpt", weights=checkpoint.weights)
    assert again.weights == checkpoint.weights and again.state.keys() == checkpoint.state.keys()
    assert load_checkpoint(tmp_path / "x.ckpt", weights="ema").weights == "ema"


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": copy(1), "ema": copy(2)},
        {"model": copy(1, "module."), "ema_model_state_dict": copy(2)},
        {"state_dict": {**copy(1, "model."), **copy(2, "ema_model.")}},
        {"state_dict": {}, "state": copy(1), "net_ema": copy(2)},
    ],
)
def test_trained_weights_come_first_where_they_usually_are(content: dict) -> None:
    number, _, notes = found(content)
    assert number == 1
    assert any("--weights" in note and "ema" in note for note in notes)  # that there are others is said
    place = averaged(content, PATH)
    assert place is not None and found(content, place.name)[0] == 2


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"params": copy(1), "params_ema": copy(2)}, ("params", "params_ema")),
        ({"state_dict": {**copy(1, "net."), **copy(2, "target.")}}, ("state_dict.net", "state_dict.target")),
    ],
)
def test_of_several_copies_one_is_to_be_chosen_by_name(content: dict, names: tuple[str, str]) -> None:
    with pytest.raises(CheckpointError, match=f"2 copies.*{names[0]}, {names[1]}.*--weights {names[0]}"):
        locate(content, None, PATH)
    for i, name in enumerate(names, 1):
        assert found(content, name)[0] == i
    with pytest.raises(CheckpointError, match=f"no weights called 'other'.*raw, {names[0]}, {names[1]}"):
        locate(content, "other", PATH)


def test_two_copies_that_both_say_ema_are_named() -> None:
    with pytest.raises(CheckpointError, match="2 copies.*ema_a, ema_b"):
        averaged({"state_dict": copy(0), "ema_a": copy(1), "ema_b": copy(2)}, PATH)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"weight": torch.zeros(3), "epoch": 1}, "weight, epoch"),
        ({"inner": {"deeper": {"state_dict": copy(1)}}}, "inner"),
        ({f"key {i}": i for i in range(100)}, "key 0.* and 92 more"),
        ({}, "none"),
    ],
)
def test_without_the_tensors_the_keys_there_are_are_named(content: dict, keys: str) -> None:
    with pytest.raises(CheckpointError, match=f"keys: {keys}.*not a checkpoint of BSMamba2"):
        locate(content, None, PATH)
