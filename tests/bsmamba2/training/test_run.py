"""A training from songs on a disk to weights: what it learns, where it goes on, what it leaves behind."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bsmamba2.checkpoint import load_checkpoint
from bsmamba2.errors import ConfigError, DataError
from bsmamba2.networks import model
from bsmamba2.training.mixtures import Example
from bsmamba2.training.module import Separation
from bsmamba2.training.run import Machine, train
from bsmamba2.training.settings import TrainingSettings, read_settings, settings_of

CPU = Machine("cpu", workers=0)

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*LeafSpec",
        ".*does not have many workers",
        ".*smaller than the logging interval",
        "Checkpoint dir",
    )
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def tiny(kind: str = "transformer", **loop: object) -> TrainingSettings:
    model = {"module_type": kind, "dim": 8, "depth": 1, "stereo": True, "freqs_per_bands": [2, 2, 5, 8]}
    model |= {"heads": 2, "dim_head": 4, "d_state": 4, "headdim": 8}
    model |= {"stft_n_fft": 32, "stft_hop_length": 10, "sample_rate": 8000, "attn_dropout": 0.1, "ff_dropout": 0.1}
    training = {"target_instrument": "vocals", "batch_size": 2, "accumulate": 2, "epochs": 3, "average": 0.9}
    training |= {"precision": "32-true", "learning_rate": 1e-2, **loop}
    return settings_of({"model": model, "data": {"seconds": 0.5, "per_epoch": 8, "valid": 4}, "training": training}, "")


def log_of(folder: Path) -> list[list[str]]:
    """Lines of the log without the time they took."""
    lines = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    return [line[:2] + line[3:] for line in lines]


@pytest.mark.seconds
def test_going_on_gives_what_an_uninterrupted_training_gives(songs: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny(), [songs], whole, CPU)
    train(tiny(epochs=1), [songs], parts, CPU)
    train(tiny(), [songs], parts, CPU, resume=True)

    assert log_of(parts) == log_of(whole)
    assert len(log_of(whole)) == 4
    for weights in ("raw", "ema"):
        one = load_checkpoint(whole / "last.ckpt", weights=weights).state
        other = load_checkpoint(parts / "last.ckpt", weights=weights).state
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_is_laid_out_as_the_official_ones(songs: Path, tmp_path: Path) -> None:
    weights = train(tiny("mamba2", epochs=1), [songs], tmp_path, CPU)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    raw = load_checkpoint(tmp_path / "last.ckpt")
    averaged = load_checkpoint(tmp_path / "last.ckpt", weights="ema")

    assert {f"model.{name}" for name in raw.model().state_dict()} == set(content["state_dict"])
    assert raw.layout == "Lightning" and raw.config == tiny("mamba2").model
    assert any(not torch.equal(raw.state[name], averaged.state[name]) for name in raw.state)
    written = load_file(weights)
    assert all(torch.equal(written[name], averaged.state[name]) for name in written)
    names = {path.name for path in tmp_path.glob("*.ckpt")}
    assert names == {"last.ckpt", "best_loss_0.ckpt", "best_usdr_0.ckpt"}


@pytest.mark.seconds
@pytest.mark.parametrize("kind", ["mamba2", "transformer", "mamba2-roformer"])
def test_a_network_learns_one_example_by_heart(kind: str) -> None:
    torch.manual_seed(0)
    module = Separation(tiny(kind))
    module.eval()  # no dropout
    time = torch.arange(4000) / 8000
    voice = torch.sin(2 * torch.pi * 440 * time).expand(1, 1, 2, -1)
    noise = 0.3 * torch.randn(1, 2, 4000)
    example = Example(voice[:, 0] + noise, voice)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = module._loss(example, module(example.mixture))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("kind", ["mamba2", "transformer"])
def test_computing_blocks_again_changes_no_gradient(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "POSITIONS", 450)  # a sequence along time, 112 along the bands
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        module = Separation(tiny(kind, recompute=recompute))
        assert module.model.recompute is recompute
        wave = torch.randn(1, 2, 4000)
        module.eval()
        module._loss(Example(wave, wave[:, None]), module(wave)).backward()
        gradients.append([p.grad for p in module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_averaged_weights_are_what_their_formula_says(songs: Path, tmp_path: Path) -> None:
    settings = tiny(epochs=1, accumulate=4, average=0.75)  # one step
    torch.manual_seed(settings.training.seed)
    before = Separation(settings).model.state_dict()
    train(settings, [songs], tmp_path, CPU)
    after = load_checkpoint(tmp_path / "last.ckpt").state
    averaged = load_checkpoint(tmp_path / "last.ckpt", weights="ema").state
    for name, value in averaged.items():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * after[name], rtol=1e-5, atol=1e-7)


@pytest.mark.seconds
def test_learning_rate_falls_to_nothing_where_asked(songs: Path, tmp_path: Path) -> None:
    settings = tiny(epochs=2, decay=0.5)  # four steps, the last two fall
    train(settings, [songs], tmp_path, CPU)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["lr_schedulers"][0]["_last_lr"] == [0.0]


def test_an_output_that_holds_a_training_is_kept(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"hours of work")
    with pytest.raises(DataError, match="--resume"):
        train(tiny(), [songs], tmp_path, CPU)
    assert (tmp_path / "last.ckpt").read_bytes() == b"hours of work"
    with pytest.raises(DataError, match=r"has no last\.ckpt"):
        train(tiny(), [songs], tmp_path / "elsewhere", CPU, resume=True)


@pytest.mark.slow
def test_a_step_of_the_published_network() -> None:
    """One segment of 8 s: forward, loss, backward, step. Prints what it took."""
    resource = pytest.importorskip("resource")
    torch.set_num_threads(os.cpu_count() or 1)
    start = time.perf_counter()
    settings = read_settings("bsmamba2")
    module = Separation(replace(settings, training=replace(settings.training, recompute=True)))
    wave = 0.1 * torch.randn(1, 2, settings.samples)
    loss = module._loss(Example(wave, wave[:, None]), module(wave))
    loss.backward()
    torch.optim.AdamW(module.parameters(), lr=5e-4).step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"one step: {time.perf_counter() - start:.0f} s, {peak:.1f} GB of memory")
    assert torch.isfinite(loss)


def test_hardware_that_is_not_there_is_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--accelerator nothing"):
        train(tiny(), [songs], tmp_path, Machine("nothing"))
