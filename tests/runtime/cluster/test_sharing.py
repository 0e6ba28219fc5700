"""How many processes share a machine: as cores and memory allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.cluster import sharing
from runtime.cluster.sharing import Measured, may_use_gpu, parse_jobs, with_threads
from runtime.errors import OptionError

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    def set_up(cores, memory):
        monkeypatch.setattr(sharing, "default_threads", lambda: cores)
        monkeypatch.setattr(sharing, "available_memory", lambda: memory)

    return set_up


def test_jobs_are_a_number_or_auto():
    assert parse_jobs("auto") is None and parse_jobs("12") == 12
    for text in ("0", "-1", "two", "1.5", "", "1025", "\u0661"):
        with pytest.raises(OptionError, match=r"--jobs .*: must be auto or a number from 1 to 1024"):
            parse_jobs(text)


@pytest.mark.parametrize(
    ("cores", "memory", "peak", "threads", "songs", "expected"),
    [
        (64, 1000 * GB, 1 * GB, None, 100, (64, 1)),
        (64, 10 * GB, 1 * GB, None, 100, (9, 7)),  # the first one and 8 more, with a reserve
        (64, 1000 * GB, 1 * GB, 8, 100, (8, 8)),
        (64, 1000 * GB, 1 * GB, None, 4, (4, 16)),
        (2, 0, 1 * GB, None, 100, (1, 2)),
        (2, None, 1 * GB, None, 100, (2, 1)),  # memory is not known
        (2, 8 * GB, None, None, 100, (2, 1)),
        (None, 8 * GB, 1 * GB, None, 100, (1, 1)),
    ],
)
def test_as_many_as_cores_and_memory_allow(machine, cores, memory, peak, threads, songs, expected):
    machine(cores, memory)
    jobs, options = Measured({"threads": threads}, songs)(peak)
    assert (jobs, options["threads"]) == expected


def test_threads_are_divided_unless_given_or_on_a_gpu(machine):
    machine(64, None)
    assert with_threads({"threads": None}, 6, False) == {"threads": 10}
    assert with_threads({"threads": 3}, 6, False) == {"threads": 3}
    assert with_threads({"threads": None}, 6, True) == {"threads": None}


def test_what_may_run_on_a_gpu(monkeypatch):
    from runtime.backends.ort import ort

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert not may_use_gpu(Path("x.onnx"), "auto") and may_use_gpu(Path("x.plan"), "auto")
    assert may_use_gpu(Path("x.onnx"), "cuda:1")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert may_use_gpu(Path("x.onnx"), "auto") and not may_use_gpu(Path("x.onnx"), "cpu")
