"""What benchmarks/gpu.py counts and computes without a GPU: arithmetic, bytes, limits, arguments of a kernel."""

from __future__ import annotations

import ctypes
from dataclasses import asdict
from enum import Enum
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from on_gpu.counting import Part, parts_of
from on_gpu.driver import DriverError, PtxKernel
from on_gpu.limits import PUBLISHED, Limits, published
from on_gpu.scans import by_driver, error_of, flops_of, made_inputs
from on_gpu.work import Work, compare
from torch.utils.flop_counter import FlopCounterMode

from bsmamba2.config import ModelConfig
from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.scan import chunked_scan, sequential_scan

TINY = {"dim": 32, "depth": 1, "headdim": 16, "d_state": 16}
FRAMES = 70


@pytest.mark.seconds  # PyTorch's counter imports its compiler
@pytest.mark.parametrize("kind", ["mamba2", "transformer", "mamba2-roformer"])
def test_the_arithmetic_is_that_of_pytorchs_own_counter(kind):
    config = ModelConfig(kind=kind, **TINY)
    model, mixture = BandSplitSeparator(config).to("meta"), torch.empty(2, FRAMES, 1025, 2, 2, device="meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(mixture)
    parts = parts_of(config, "fp32", FRAMES, batch=2)
    assert sum(part.count * part.flops for part in parts) == counter.get_total_flops()


def test_a_product_and_a_scan_move_their_operands_and_their_result_once():
    parts = parts_of(ModelConfig(**TINY), "fp16", FRAMES, batch=1)
    rows, inner = FRAMES * 62, 4 * 32
    in_proj = 2 * rows * 32 * (2 * inner + 2 * 16 + 8), 2 * (rows * 32 + (rows + 32) * (2 * inner + 2 * 16 + 8))
    assert Part(*in_proj, count=4) in parts  # both directions along both axes
    scan_bytes = 2 * rows * (inner + 16 + 16 + inner) + 4 * rows * 8 + 4 * 8  # x, B, C, y; dt, A
    assert sum(part.count for part in parts if part.bytes == scan_bytes) == 4


def test_half_the_precision_is_half_the_bytes_of_products_with_weights():
    wide, narrow = (
        {part.flops: part.bytes for part in parts_of(ModelConfig(**TINY), precision, FRAMES, 1)}
        for precision in ("fp32", "fp16")
    )
    out_proj = 2 * FRAMES * 62 * 128 * 32
    assert wide[out_proj] == 2 * narrow[out_proj] == 4 * (FRAMES * 62 * (128 + 32) + 128 * 32)


def test_the_limit_is_the_longer_of_arithmetic_and_bytes_of_each_part():
    limits = Limits(100.0, {"fp16": 10.0}, "a source")
    parts = [asdict(Part(20, 100, count=3)), asdict(Part(10, 500))]
    assert limits.seconds(parts, "fp16") == 3 * 2 + 5
    assert limits.seconds(parts, "bf16") is None and limits.seconds([], "fp16") is None


def test_published_limits_are_found_by_the_whole_name():
    assert published("NVIDIA A100-SXM4-80GB").bytes_per_second == pytest.approx(2.039e12)
    assert published("NVIDIA A10G") is published("NVIDIA GeForce RTX 4090 Laptop GPU") is published(None) is None
    assert "bf16" not in published("Tesla T4").flops_per_second
    assert all(each.source and 0.1e12 < each.bytes_per_second < 10e12 for each in PUBLISHED.values())


def test_the_worst_item_of_a_batch_counts():
    stems = np.random.default_rng(0).standard_normal((3, 1, 5, 4, 2, 2)).astype(np.float32)
    found = stems.copy()
    found[1, 0, 0, 0, 0, 0] += 0.01 * np.abs(stems[1]).max()
    parity = compare(found, stems, "fp16")
    assert parity["worst_item"] == 1 and parity["max_error"] == pytest.approx(0.01, rel=1e-3) and not parity["within"]
    assert compare(found, stems, "bf16")["within"]
    for wrong in (found[:2], np.where(found > 1, np.nan, found)):
        with pytest.raises(ValueError):
            compare(wrong, stems, "fp16")


def work(**sizes) -> Work:
    return Work("", sizes={**TINY, **sizes}, device="cpu")


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_compared_with_the_recurrence(reverse):
    inputs = tuple(made_inputs(work(), "fp32", 3, FRAMES))

    def scan(x, dt, a, b, c, d, turned):
        if turned:
            x, dt, b, c = (each.flip(1) for each in (x, dt, b, c))
        y = chunked_scan(x, dt, a, b, c) + d[:, None] * x
        return y.flip(1) if turned else y

    assert error_of(scan, inputs, reverse) < 2e-6
    assert error_of(lambda *given: scan(*given[:-1], not given[-1]), inputs, reverse) > 0.1
    assert error_of(lambda *given: scan(*given).roll(1, 0), inputs, reverse) > 0.1
    with pytest.raises(ValueError, match="NaN"):
        error_of(lambda *given: scan(*given) * float("nan"), inputs, reverse)


@pytest.mark.seconds
def test_the_arithmetic_of_a_scan_is_that_of_its_block_form():
    one_chunk = tuple(made_inputs(work(), "fp32", 3, 62))
    with FlopCounterMode(display=False) as counter:
        chunked_scan(*one_chunk[:-1])
    assert flops_of(3, 62, 8, 16, 16) == counter.get_total_flops()
    assert flops_of(3, 128, 8, 16, 16) == 3 * 2 * (2 * 64 * 64 * 16 + 8 * (2 * 64 * 64 * 16 + 2 * 2 * 64 * 16 * 16))


class CUresult(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222


class DriverDouble:
    """Stands for cuda.bindings.driver: `launched` gets the decoded arguments of every launch."""

    CUresult = CUresult
    CUstream = int
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")

    def __init__(self, types, launched, refuses=False):
        self.types, self.launched, self.refuses, self.set = types, launched, refuses, []

    def cuModuleLoadData(self, image):  # noqa: N802
        if self.refuses:
            return CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION, None
        return CUresult.CUDA_SUCCESS, ctypes.string_at(image).decode()

    def cuModuleGetFunction(self, hmod, name):  # noqa: N802
        assert f".visible .entry {name.decode()}(" in hmod
        return CUresult.CUDA_SUCCESS, name

    def cuFuncSetAttribute(self, hfunc, attrib, value):  # noqa: N802
        self.set.append((attrib, value))
        return (CUresult.CUDA_SUCCESS,)

    def cuLaunchKernel(self, f, gx, gy, gz, bx, by, bz, shared, stream, params, extra):  # noqa: N802
        addresses = (ctypes.c_uint64 * len(self.types)).from_address(params)
        values = [kind.from_address(each).value for kind, each in zip(self.types, addresses, strict=True)]
        assert (gy, gz, by, bz, extra) == (1, 1, 1, 1, 0)
        self.launched(gx, bx, shared, stream, values)
        return (CUresult.CUDA_SUCCESS,)


def test_a_kernel_gets_its_arguments_in_order():
    seen = []
    types = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_int32, ctypes.c_uint64]
    driver = DriverDouble(types, lambda *given: seen.append(given))
    kernel = PtxKernel(".visible .entry f(...)", "f", 256, 50_000, driver)
    kernel.launch(12, 7, [1 << 40, 5], [-3, 801], 1 << 41)
    assert seen == [(12, 256, 50_000, 7, [1 << 40, 5, -3, 801, 1 << 41])]
    assert driver.set == [("shared", 50_000)]  # more than a block gets without asking
    with pytest.raises(DriverError, match="cuModuleLoadData failed with CUDA_ERROR_UNSUPPORTED_PTX_VERSION"):
        PtxKernel(".visible .entry f(...)", "f", 256, 0, DriverDouble(types, None, refuses=True))


def test_the_driver_has_what_is_called():
    driver = pytest.importorskip("cuda.bindings.driver")
    for name in ("cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute", "cuLaunchKernel", "cuInit"):
        assert hasattr(driver, name)
    for name in ("cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem", "cuDriverGetVersion"):
        assert hasattr(driver, name)
    assert driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    assert driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    assert driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    assert int(driver.CUstream(7)) == 7


def test_the_packages_ptx_is_launched_as_its_kernel_expects():
    """The double computes the scan from the addresses it is given."""
    of = work(headdim=64, d_state=128, dim=64)
    inputs = tuple(made_inputs(of, "fp16", 2, 37))
    heads = inputs[0].shape[2]
    given: list[int] = []

    def launched(blocks, threads, shared, stream, values):
        pointers, (length, heads_, x_row, bc_row, reverse), out = values[:6], values[6:11], values[11]
        assert (blocks, stream, length, heads_, x_row, bc_row) == (2 * heads, 5, 37, heads, 64 * heads, 128)
        assert pointers == [each.data_ptr() for each in inputs]
        x, dt, a, b, c, d = (each.double() for each in inputs)
        if reverse:
            x, dt, b, c = (each.flip(1) for each in (x, dt, b, c))
        y = sequential_scan(x, dt, a, b, c) + d[:, None] * x
        y = (y.flip(1) if reverse else y).half().contiguous()
        ctypes.memmove(out, y.data_ptr(), y.nbytes)
        given.append(reverse)

    pointer, integer = ctypes.c_uint64, ctypes.c_int32
    driver = DriverDouble([pointer] * 6 + [integer] * 5 + [pointer], launched)
    scan = by_driver(of, "fp16", lambda: 5, driver)
    for reverse in (False, True):
        assert error_of(scan, inputs, reverse) < 1e-3
    assert given == [0, 1]
