"""The forms of the scan compute the same function."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bsmamba2.config import ModelConfig
from bsmamba2.errors import ScanError
from bsmamba2.networks import scan
from bsmamba2.networks.mamba2 import MambaBlock

lengths = st.one_of(st.integers(1, 10), st.sampled_from([63, 64, 65, 127, 128, 129, 200]))


def inputs(batch, length, heads, p, n, seed, dtype=torch.float64, dt_scale=1.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    dt = torch.nn.functional.softplus(normal(batch, length, heads)) * dt_scale
    return (
        normal(batch, length, heads, p),
        dt,
        -torch.rand(heads, generator=generator, dtype=dtype) * 16,
        normal(batch, length, n),
        normal(batch, length, n),
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 2), lengths, st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_the_block_forms_equal_sequential(batch, length, heads, p, n, seed):
    for dt_scale in (1.0, 1e-3, 30.0):  # forgetting fast, hardly at all, and at once
        args = inputs(batch, length, heads, p, n, seed, dt_scale=dt_scale)
        reference = scan.sequential_scan(*args)
        for form in (scan.chunked_scan, scan.unrolled_scan):
            found = form(*args)
            assert found.shape == (batch, length, heads, p)
            assert (found - reference).abs().max() <= 1e-10 * max(1.0, reference.abs().max())


def test_a_later_position_changes_nothing_before_it():
    args = inputs(1, 150, 2, 3, 4, seed=0)
    before = scan.chunked_scan(*args)
    args[0][:, 100:] += 1.0
    after = scan.chunked_scan(*args)
    assert torch.equal(before[:, :100], after[:, :100])
    assert not torch.allclose(before[:, 100:], after[:, 100:])


def test_chunked_stays_finite_in_float32_where_decays_underflow():
    args = inputs(1, 300, 2, 4, 8, seed=1, dtype=torch.float32, dt_scale=1e3)
    found = scan.chunked_scan(*args)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, scan.sequential_scan(*args), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("strong", [5.0, 50.0, 500.0])
def test_a_strong_decay_does_not_blur_the_weak_ones_after_it(strong):
    """In float32: the head that has just forgotten everything must still add up what comes next."""
    x, dt, _, b, c = inputs(2, 200, 3, 4, 8, seed=2)
    weak = torch.rand(dt.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    dt = torch.where(weak, 0.01, strong).double()
    a = -torch.ones(3, dtype=torch.float64)
    reference = scan.sequential_scan(x, dt, a, b, c)
    for form in (scan.chunked_scan, scan.unrolled_scan):
        found = form(*(value.float() for value in (x, dt, a, b, c)))
        assert (found - reference).abs().max() <= 1e-6 * reference.abs().max()


def test_unknown_scan_is_refused():
    with pytest.raises(ScanError, match="expected one of sequential, chunked, unrolled, kernel, fused"):
        scan.scan_named("parallel")


def test_kernel_is_refused_off_cuda():
    with pytest.raises(ScanError, match="needs a CUDA GPU.*use scan 'chunked'"):
        scan.kernel_scan(*inputs(1, 4, 1, 2, 2, seed=0))


def test_kernel_without_its_packages_names_them():
    on_cuda = SimpleNamespace(is_cuda=True)
    with pytest.raises(ScanError, match="pip install --no-build-isolation mamba-ssm"):
        scan._kernel("mamba_ssm_that_is_not_installed", "mamba_chunk_scan_combined", on_cuda)


def test_kernels_get_the_layouts_they_document(monkeypatch):
    """Doubles with the signatures of mamba_ssm v2.2.2 and causal-conv1d v1.4, computing by our own forms."""

    def mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None):  # noqa: N803
        assert B.shape == (x.shape[0], x.shape[1], 1, B.shape[-1]) == C.shape  # one group
        assert dt.shape == x.shape[:3] and A.shape == x.shape[2:3] and chunk_size == 256
        return scan.sequential_scan(x, dt, A, B.squeeze(2), C.squeeze(2))

    def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, activation=None):
        assert weight.shape == (x.shape[1], 4) and activation == "silu"
        return scan.depthwise_conv(x.transpose(1, 2), weight[:, None], bias).transpose(1, 2)

    doubles = {"mamba_ssm.ops.triton.ssd_combined": mamba_chunk_scan_combined, "causal_conv1d": causal_conv1d_fn}
    monkeypatch.setattr(scan, "_kernel", lambda module, name, x: doubles[module])
    block = MambaBlock(ModelConfig(dim=32)).double()
    x = torch.randn(2, 70, 32, dtype=torch.float64)
    expected = block(x)
    for side in (block.forward_blocks[0], block.backward_blocks[0]):
        side.mixer.form = scan.scan_named("kernel")
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-10)


def test_a_form_that_goes_in_reverse_itself_computes_what_flips_do():
    """The convolution looks ahead, and D is inside."""

    def whole(x, dt, a, b, c, d, reverse):
        if reverse:
            return whole(x.flip(1), dt.flip(1), a, b.flip(1), c.flip(1), d, False).flip(1)
        return scan.chunked_scan(x, dt, a, b, c) + d[:, None] * x

    block = MambaBlock(ModelConfig(dim=32)).double()
    mixers = [side.mixer for side in (block.forward_blocks[0], block.backward_blocks[0])]
    for mixer in mixers:
        mixer.D.data = torch.rand_like(mixer.D)
    x = torch.randn(2, 70, 32, dtype=torch.float64)
    expected = block(x)
    for mixer in mixers:
        mixer.form = scan.Form(whole, scan.depthwise_conv, is_whole=True)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-10)
