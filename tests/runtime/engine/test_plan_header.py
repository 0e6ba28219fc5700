"""The header of a TensorRT-RTX plan is read as TensorRT-RTX writes it, and nothing else passes for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.plan_header import CAPABILITIES, LENGTH, is_rtx_plan, read_plan_header
from runtime.errors import EngineError


def plan(mask: int, payload: bytes, version=(1, 7, 1, 116)) -> bytes:
    return struct.pack("<4s12xQ4BxxxxI", b"vtrt", LENGTH + len(payload), *version, mask).ljust(LENGTH, b"\0") + payload


@given(st.sets(st.sampled_from(CAPABILITIES), min_size=1), st.binary(max_size=20))
def test_any_set_of_targets(tmp_path_factory, targets, payload):
    path = tmp_path_factory.mktemp("plan") / "x.plan"
    path.write_bytes(plan(sum(1 << CAPABILITIES.index(each) for each in targets), payload))
    header = read_plan_header(path)
    assert set(header.compute_capabilities) == targets
    assert header.version == "1.7.1.116" and header.bytes == LENGTH + len(payload)


@given(st.integers(-LENGTH - 20, 20).filter(bool))
def test_a_plan_cut_or_extended_is_refused(tmp_path_factory, change):
    path = tmp_path_factory.mktemp("plan") / "x.plan"
    whole = plan(1, bytes(20))
    path.write_bytes(whole[:change] if change < 0 else whole + bytes(change))
    with pytest.raises(EngineError, match=r"x\.plan: (has \d+ bytes, its header says 84|not a TensorRT-RTX plan)"):
        read_plan_header(path)


@given(st.binary(max_size=100).filter(lambda raw: not is_rtx_plan(raw)))
def test_anything_else_is_refused(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("plan") / "x.plan"
    path.write_bytes(raw)
    with pytest.raises(EngineError, match="not a TensorRT-RTX plan"):
        read_plan_header(path)


@pytest.mark.parametrize("mask", [0, 1 << len(CAPABILITIES), 0xFFFFFFFF])
def test_unknown_targets_are_refused(tmp_path, mask):
    (tmp_path / "x.plan").write_bytes(plan(mask, b""))
    with pytest.raises(EngineError, match="unknown compute capabilities"):
        read_plan_header(tmp_path / "x.plan")
