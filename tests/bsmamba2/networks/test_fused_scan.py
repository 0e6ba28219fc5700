"""The fused scan: its kernel in Triton's interpreter, and what is refused."""

from __future__ import annotations

import sys
from itertools import product

import pytest
import torch
from fused_in_interpreter import Case, errors

from bsmamba2.config import ModelConfig
from bsmamba2.errors import ScanError
from bsmamba2.networks.fused_scan import bytes_moved, fused_scan, run_kernel
from bsmamba2.networks.model import BandSplitSeparator

# Largest error relative to the peak; half a unit in the last place of a number is 4.9e-4 in fp16, 3.9e-3 in bf16.
MOST = {"fp32": 5e-7, "fp16": 1e-3, "bf16": 8e-3}
LENGTHS = (1, 33, 63, 64, 65)
CASES = [
    *(Case(precision, length, reverse=reverse) for precision, length, reverse in product(MOST, LENGTHS, (False, True))),
    *(Case(precision, 801, (50.0,), True) for precision in MOST),
    *(Case(precision, 70, (0.0, 50.0), True, 2, 64, 128) for precision in MOST),
]
BLOCKS = [Case(precision, 70, batch=2, what="block") for precision in MOST]


@pytest.fixture(scope="module")
def found() -> dict[Case, tuple[float, float]]:
    pytest.importorskip("triton")
    cases = [*CASES, *BLOCKS]
    return dict(zip(cases, errors(cases), strict=True))


@pytest.mark.seconds
@pytest.mark.parametrize("precision", MOST)
def test_the_kernel_is_the_recurrence(found, precision):
    """At any length, in both directions, with D and without, and where decays are strong."""
    worst = max((found[case][0], case) for case in CASES if case.precision == precision)
    assert worst[0] <= MOST[precision], worst


@pytest.mark.seconds
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_kernel_is_no_less_exact_than_the_chunked_form(found, precision):
    kernel, chunked = zip(*(found[case] for case in CASES if case.precision == precision), strict=True)
    assert max(kernel) <= max(chunked)


@pytest.mark.seconds
@pytest.mark.parametrize("case", BLOCKS, ids=lambda case: case.precision)
def test_a_block_with_the_kernel_needs_no_flips(found, case):
    kernel, chunked = found[case]
    assert kernel <= max(1.5 * chunked, 1e-6)


def inputs(dtype=torch.float16, headdim=16, d_state=16):
    return (
        torch.zeros(1, 4, 2, headdim, dtype=dtype),
        torch.zeros(1, 4, 2),
        -torch.ones(2),
        torch.zeros(1, 4, d_state, dtype=dtype),
        torch.zeros(1, 4, d_state, dtype=dtype),
    )


def test_without_cuda_it_says_what_runs_here():
    with pytest.raises(ScanError, match="needs a CUDA GPU, got tensors on cpu: use scan 'chunked'"):
        fused_scan(*inputs())


def test_without_triton_it_says_where_it_comes_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "bsmamba2.networks.fused_kernel", raising=False)
    with pytest.raises(ScanError, match="needs Triton .*install PyTorch for CUDA, which contains it, or use scan"):
        run_kernel(*inputs())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (inputs(torch.float32), "float16 or bfloat16, got float32, float32, float32: convert .*to_precision"),
        (inputs(headdim=48), "powers of two from 16 on as head dimension, got 48"),
        (inputs(d_state=8), "powers of two from 16 on as state dimension, got 8"),
        ((inputs()[0], inputs()[1].half(), *inputs()[2:]), "dt, A and D in float32: convert .*to_precision"),
    ],
)
def test_what_it_does_not_take_is_named(args, message):
    with pytest.raises(ScanError, match=message):
        fused_scan(*args)


def test_it_trains_nothing():
    """Without gradients, as the kernel has none; a network in training is not left without its own silently."""
    x, *others = inputs()
    with pytest.raises(ScanError, match="has no gradients: run it in torch.inference_mode"):
        fused_scan(x.requires_grad_(), *others)
    with torch.inference_mode(), pytest.raises(ScanError, match="CUDA"):
        fused_scan(x, *others)


def test_a_network_uses_it_by_name():
    model = BandSplitSeparator(ModelConfig(dim=8, depth=1, bands=(1025,), headdim=16)).use_scan("fused")
    with torch.inference_mode(), pytest.raises(ScanError, match="convert the network with .*to_precision"):
        model(torch.zeros(1, 5, 1025, 2, 2))


def test_the_bytes_of_one_position_are_counted():
    x_and_y, dt, b_and_c, a_and_d = 2 * 64 * 2, 4, 2 * 128 * 2, 2 * 4
    assert bytes_moved(1, 1, 1, 64, 128) == (x_and_y + dt + b_and_c + a_and_d,) * 2
    loaded, once = bytes_moved(3, 5, 2, 64, 128)
    assert loaded == 15 * 2 * (x_and_y + dt + b_and_c) + 3 * 2 * a_and_d
    assert once == 15 * (2 * (x_and_y + dt) + b_and_c) + 2 * a_and_d
