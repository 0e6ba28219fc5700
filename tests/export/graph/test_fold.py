"""The folded blocks compute what the plain ones do, and the graph holds what makes them fast."""

from __future__ import annotations

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import STFT

from bsmamba2.config import ModelConfig
from bsmamba2.networks.mamba2 import MambaBlock
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.scan import MASKED, SCAN_CHUNK
from export.graph.fold import FoldedBlock, Triangle, fold_dual_path, positions_of_a_chunk
from export.graph.to_onnx import prepared
from runtime.engine.manifest import Range

SIZES = {
    "dim": 16,
    "d_state": 8,
    "headdim": 8,
    "expand": 2,
    "heads": 2,
    "dim_head": 4,
    "bands": (2, 2, 5, 8),
    "stft": STFT,
}


def folded(block: MambaBlock, length: int, fixed: bool) -> FoldedBlock:
    q, dtype = positions_of_a_chunk(Range(length if fixed else 1, length, length)), block.linear.weight.dtype
    return FoldedBlock(block, Triangle(q, False).to(dtype), Triangle(q, True).to(dtype), fixed)


def block_with(dtype: torch.dtype, strength: float, seed: int) -> MambaBlock:
    torch.manual_seed(seed)
    block = MambaBlock(ModelConfig(**SIZES)).eval().to(dtype)
    for parameter in block.parameters():
        parameter.detach().add_(strength * torch.randn_like(parameter))
    return block


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 200), fixed=st.booleans(), strength=st.sampled_from([0.0, 0.3, 1.5]), seed=st.integers(0, 9)
)
@torch.no_grad()
def test_a_folded_block_is_the_block(length, fixed, strength, seed):
    block = block_with(torch.float64, strength, seed)
    x = torch.randn(3, length, 16, dtype=torch.float64)
    expected = block(x)
    assert (folded(block, length, fixed)(x) - expected).abs().max() <= 1e-12 * expected.abs().max()
    if strength < 1:  # or the plain block's own rounding comes near this bound
        narrow = folded(block.float(), length, fixed)(x.float())
        assert (narrow - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.no_grad()
def test_strong_decays_beside_weak_ones():
    """One head forgets within a step, another keeps for thousands of them."""
    block = block_with(torch.float64, 0.3, 0)
    for residual in (block.forward_blocks[0], block.backward_blocks[0]):
        residual.mixer.A_log.copy_(torch.log(torch.tensor([1e-4, 1.0, 400.0, 5e4], dtype=torch.float64)))
    x = torch.randn(1, 150, 16, dtype=torch.float64)
    expected = block(x)
    narrow = folded(block.float(), 150, True)(x.float())
    assert (narrow - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("backward", [False, True])
def test_a_triangle_sums_what_lies_between(backward):
    decay = torch.rand(5)
    triangle = Triangle(5, backward)
    pairs = (torch.cat([decay, torch.ones(1)]) @ triangle.pairs).reshape(5, 5)
    order = range(4, -1, -1) if backward else range(5)
    place = {position: i for i, position in enumerate(order)}
    for i in range(5):
        earlier = [k for k in range(5) if place[k] <= place[i]]
        assert torch.isclose((decay @ triangle.to_here)[i], decay[earlier].sum())
        assert torch.isclose((decay @ triangle.from_here)[i], decay.sum() - decay[earlier].sum())
        for j in range(5):
            between = [k for k in earlier if place[k] > place[j]]
            assert torch.isclose(pairs[i, j], decay[between].sum() + (MASKED if place[j] > place[i] else 0))


@pytest.mark.parametrize(("length", "positions"), [(1, 1), (62, 62), (64, 64), (65, 33), (801, 62)])
def test_chunks_are_as_even_as_they_can_be(length, positions):
    assert positions_of_a_chunk(Range(length, length, length)) == positions


def test_chunks_of_several_lengths_fill_up_little():
    q = positions_of_a_chunk(Range(401, 801, 1601))
    assert 48 < q <= SCAN_CHUNK and all(-length % q <= 0.02 * length for length in (401, 801, 1601))


def test_only_what_a_cpu_computes_in_float32_is_folded():
    model = BandSplitSeparator(ModelConfig(kind="mamba2-roformer", depth=1, **SIZES)).eval()

    def has_folded(precision: str, scan: str, target: str) -> bool:
        form = prepared(model, Range(20, 20, 20), precision, scan, target)
        return any(isinstance(module, FoldedBlock) for module in form.modules())

    assert has_folded("fp32", "chunked", "cpu")
    assert not has_folded("fp16", "chunked", "cpu")
    assert not has_folded("fp32", "unrolled", "cpu") and not has_folded("fp32", "custom", "cpu")
    assert not has_folded("fp32", "chunked", "gpu")
    assert not any(isinstance(module, FoldedBlock) for module in model.modules())  # it was a copy


def test_blocks_share_their_constants():
    model = BandSplitSeparator(ModelConfig(depth=3, **SIZES)).eval()
    fold_dual_path(model, Range(130, 130, 130))
    triangles = {id(module) for module in model.modules() if isinstance(module, Triangle)}
    assert len(triangles) == 4  # two axes, two directions


def test_the_graph_holds_what_makes_it_fast(golden_engine):
    graph = onnx.load(golden_engine("c")).graph
    bodies = [each.g for node in graph.node for each in node.attribute if each.name == "body"]
    assert len(bodies) == 2
    outside = {tensor.name for tensor in graph.initializer}
    for body in bodies:
        inside = {tensor.name for tensor in body.initializer}
        convolutions = [node for node in body.node if node.op_type == "Conv"]
        assert len(convolutions) == 4
        for node in convolutions:
            assert set(node.input[1:]) <= inside and not set(node.input[1:]) & outside
