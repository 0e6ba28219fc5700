"""The loss and the activity detection against golden data of the official code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bsmamba2.training.activity import salient_starts
from bsmamba2.training.loss import separation_loss, usdr

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_its_gradient_are_the_official_ones(dtype: torch.dtype) -> None:
    golden = np.load(GOLDEN / "x_loss.npz")
    estimate = torch.tensor(golden["pred"], dtype=dtype, requires_grad=True)
    target = torch.tensor(golden["target"], dtype=dtype)

    loss = separation_loss(estimate, target)
    loss.backward()

    assert loss.item() == pytest.approx(float(golden["loss"]), rel=1e-5)
    assert estimate.grad is not None
    expected = golden["grad_pred"]
    assert np.abs(estimate.grad.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_usdr_of_validation_is_the_official_one() -> None:
    golden = np.load(GOLDEN / "x_loss.npz")
    found = usdr(torch.tensor(golden["pred"]), torch.tensor(golden["target"]))
    assert found.shape == (2,)
    assert found.mean().item() == pytest.approx(float(golden["usdr"]), abs=1e-5)


def test_nothing_is_lost_at_the_target_itself() -> None:
    target = torch.randn(1, 1, 2, 8820)
    estimate = target.clone().requires_grad_()
    loss = separation_loss(estimate, target)
    loss.backward()
    assert loss.item() == 0
    assert estimate.grad is not None and torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize("case", range(4))
def test_salient_windows_are_the_official_ones(case: int) -> None:
    golden = np.load(GOLDEN / "x_sad.npz")
    assert salient_starts(golden[f"y{case}"], 8 * 500).tolist() == golden[f"indices{case}"].tolist()


def test_a_stem_shorter_than_a_window_has_none() -> None:
    assert salient_starts(np.ones((2, 99), np.float32), 100).tolist() == []
