"""Timings that are written down, and what is made of them: turns, figures, JSON, text, page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from scripted import WORK, InProcess, Scripted, bench_of, outcome, products

from runtime.bench import machine as machine_module
from runtime.bench import measure as measure_module
from runtime.bench.contenders import Work, engine_name
from runtime.bench.machine import describe_machine
from runtime.bench.measure import Entry, measure
from runtime.bench.page import as_html
from runtime.bench.results import Point, Product, require_faster
from runtime.bench.schema import SCHEMA, VERSION, as_json
from runtime.bench.spread import Spread, median, p95, ratio
from runtime.bench.text import as_text
from runtime.bench.worker import ContenderError

DOCS = Path(__file__).parents[3] / "docs" / "bench.md"
TWICE = Work(frames=21, batch=1, seconds=4.0)
BATCH = Work(frames=11, batch=3, seconds=6.0)


@pytest.fixture
def started(monkeypatch):
    """Every contender started in this process; `InProcess.calls` has what they were asked."""
    started = []
    monkeypatch.setattr(InProcess, "calls", [], raising=False)

    def start(contender):
        started.append(InProcess(contender))
        return started[-1]

    started_by = {"start": start, "pause": lambda seconds: None}
    return started, started_by


def test_statistics_of_a_few_runs():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert p95([1.0]) == 1.0
    assert p95([float(i) for i in range(101)]) == 95.0
    assert p95([1.0, 2.0]) == pytest.approx(1.95)


def test_a_ratio_is_taken_round_by_round():
    # Slow in the same round, both: the ratio stays 2, which the ratio of the extremes would not.
    assert ratio([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Spread(2.0, 2.0, 2.0)
    assert ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0]) == Spread(3.0, 2.0, 4.0)
    with pytest.raises(ValueError):
        ratio([1.0], [1.0, 2.0])


def test_contenders_take_turns_and_the_warm_up_does_not_count(started):
    workers, how = started
    a, b = Scripted("a", (8.0, 1.0, 2.0)), Scripted("b", (9.0, 3.0, 5.0))
    first, second = measure([Entry(a, "torch", "fp32"), Entry(b, "torch", "fp32")], rounds=2, warmup=1, **how)
    runs = [name for name, method in InProcess.calls if method == "run"]
    assert runs == ["a", "b"] * 3
    assert [name for name, method in InProcess.calls if method == "open"] == ["a", "b"]
    assert first.run_seconds == [8.0, 1.0, 2.0] and first.measured == [1.0, 2.0]
    assert (first.cold_start, first.third, first.seconds) == (8.5, 2.0, 1.5)
    assert first.times_real_time == pytest.approx(2.0 / 1.5)
    assert second.peak_memory == 10**8 and second.stage_seconds is None
    assert all(worker.closed for worker in workers)


def test_an_engine_is_measured_stage_by_stage_beside_its_products(started):
    _, how = started
    engine = Entry(Scripted("x.onnx", (9.0, 4.0, 6.0)), "engine", "fp32", Scripted("products", (2.0, 2.0)))
    (done,) = measure([engine], rounds=2, warmup=1, **how)
    assert done.stage_seconds["istft"] == 0.25
    assert done.products.round_seconds == [2.0, 2.0]
    assert done.products.flops == 2 * (2 * 3 * 4 * 5)
    assert done.times_products() == Spread(2.5, 2.0, 3.0)


def test_products_are_those_of_the_cpu(started):
    _, how = started
    on_gpu = Scripted("x.onnx", (1.0, 1.0), executor="onnxruntime 1.32.0, CUDA")
    (done,) = measure([Entry(on_gpu, "engine", "fp32", Scripted("products"))], rounds=1, warmup=1, **how)
    assert done.products == "only possible on the CPU"


def test_gpu_memory_is_that_of_all_visible_gpus(monkeypatch):
    def used(said):
        monkeypatch.setattr(machine_module, "_output", lambda command, *args: calls.append(args[:-2]) or said)
        return machine_module.gpu_memory_used()

    calls = []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert used("100\n23") == 123 << 20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [used(said) for said in ("7", "[N/A]", "")] == [7 << 20, None, None]
    assert calls == [(), *[("-i", "1")] * 3]


def test_gpu_memory_is_what_opening_and_the_first_run_take(started, monkeypatch):
    _, how = started
    used = iter([100, 130, 130, 170])
    monkeypatch.setattr(measure_module, "gpu_memory_used", lambda: next(used))
    on_gpu = Scripted("x.onnx", (1.0, 1.0), executor="onnxruntime 1.32.0, CUDA")
    (done,) = measure([Entry(on_gpu, "torch", "fp32")], rounds=1, warmup=1, **how)
    assert done.gpu_memory == 70


def test_a_sweep_runs_all_sizes_in_turns_after_one_run_that_does_not_count(started):
    _, how = started
    a = Entry(Scripted("a", (1.0, 1.0, 1.0, 9.0, 9.0, 2.0, 3.0, 2.5, 3.5)), "engine", "fp32", None, [TWICE, BATCH])
    b = Entry(Scripted("b", (1.0, 1.0, 1.0, 9.0, 4.0, 5.0)), "torch", "fp32", None, [TWICE])
    first, second = measure([a, b], rounds=2, warmup=1, **how)
    assert first.sweep == [Point(TWICE, [2.0, 2.5]), Point(BATCH, [3.0, 3.5])]
    assert second.sweep == [Point(TWICE, [4.0, 5.0])]
    assert first.points == first.sweep


@pytest.mark.parametrize("act", ["refuse", "raise"])
def test_who_may_fail_is_left_out_with_the_reason(started, act):
    workers, how = started
    broken = Entry(Scripted("torch.compile", act=act, optional=True), "torch.compile", "fp32")
    first, second = measure([Entry(Scripted("a", (1.0, 1.0)), "engine", "fp32"), broken], rounds=1, warmup=1, **how)
    assert first.run_seconds == [1.0, 1.0] and second.run_seconds == []
    assert second.not_run.startswith("cannot be opened" if act == "refuse" else "two")
    assert all(worker.closed for worker in workers)
    assert f"torch.compile not run: {second.not_run}" in as_text(bench_of(first, second))


def test_products_that_fail_are_not_measured(started):
    _, how = started
    engine = Entry(Scripted("a", (1.0, 1.0)), "engine", "fp32", Scripted("products", act="refuse", optional=True))
    (done,) = measure([engine], rounds=1, warmup=1, **how)
    assert done.products == "cannot be opened: do something else"


def test_who_must_not_fail_ends_the_measurement(started):
    workers, how = started
    entries = [Entry(Scripted("a", (1.0,) * 9), "engine", "fp32"), Entry(Scripted("b", act="raise"), "torch", "fp32")]
    with pytest.raises(ContenderError, match="b: two"):
        measure(entries, rounds=1, warmup=1, **how)
    assert len(workers) == 2 and all(worker.closed for worker in workers)


def test_faster_than_required_says_by_how_much():
    met = require_faster([outcome("x.onnx", [1.0, 1.0, 2.0]), outcome("torch", [3.0, 5.0, 4.0], "torch")], "torch")
    assert met.met and met.text == "x.onnx is faster than torch: 3 times as fast (2 to 5 by round)"
    missed = require_faster([outcome("x.onnx", [2.0]), outcome("torch", [1.0], "torch")], "torch")
    assert not missed.met
    assert missed.text == "x.onnx is not faster than torch: only 0.5 times as fast (0.5 to 0.5 by round)"
    equal = require_faster([outcome("x.onnx", [2.0]), outcome("torch", [2.0], "torch")], "torch")
    assert not equal.met


def test_what_was_not_run_cannot_be_beaten():
    failed = outcome("torch.compile", [], "torch.compile", run_seconds=[], not_run="no compiler")
    required = require_faster([outcome("x.onnx", [1.0]), failed], "torch.compile")
    assert not required.met and required.text.endswith("torch.compile was not run: no compiler")


def test_chunks_of_different_length_are_compared_by_the_second():
    bench = bench_of(outcome("short", [1.0]), outcome("long", [3.0], work=TWICE))
    assert bench.ratio(bench.outcomes[1]) == Spread(1.5, 1.5, 1.5)


def full_bench():
    first = outcome(
        "x.onnx",
        [1.0, 2.0, 4.0],
        products=products([0.5, 0.5, 0.5]),
        stage_seconds=dict.fromkeys(("read", "stft", "engine", "istft", "write", "other"), 0.25),
        peak_memory=123_000_000,
        sweep=[Point(WORK, [2.0] * 3), Point(TWICE, [5.0] * 3), Point(BATCH, [6.0] * 3)],
    )
    torch = outcome("torch", [3.0, 4.0, 8.0], "torch")
    compiled = outcome("torch.compile", [], "torch.compile", run_seconds=[], not_run="<no> compiler")
    plan = outcome("x.plan", [1.0, 1.0, 1.0], products="they are measured for ONNX engines only", gpu_memory=5 << 20)
    done = [first, torch, compiled, plan]
    return bench_of(*done, requirement=require_faster(done, "torch"))


def keys(data) -> set[str]:
    if isinstance(data, list):
        return set().union(*map(keys, data)) if data else set()
    if not isinstance(data, dict):
        return set()
    return set(data).union(*(keys(value) for name, value in data.items() if name not in ("packages", "stage_seconds")))


def test_the_json_is_what_the_page_on_it_says():
    data = json.loads(as_json(full_bench()))
    assert (data["schema"], data["version"]) == (SCHEMA, VERSION) == ("bsmamba2-bench", 1)
    documented = set(re.findall(r"`([a-z_0-9]+)`", DOCS.read_text().split("## JSON")[1]))
    assert keys(data) <= documented
    first, torch, compiled, plan = data["contenders"]
    measured = first["measured"]
    assert measured["run_seconds"] == [9.0, 1.0, 2.0, 4.0]
    assert (measured["cold_start_seconds"], measured["first_seconds"], measured["third_seconds"]) == (9.5, 9.0, 2.0)
    assert (measured["median_seconds"], measured["times_real_time"]) == (2.0, 1.0)
    assert torch["measured"]["ratio_to_first"] == {"median": 2.0, "min": 2.0, "max": 3.0}
    assert measured["products"]["times_products"] == {"median": 4.0, "min": 2.0, "max": 8.0}
    assert measured["products"]["gflops_per_second"] == pytest.approx(240 / 0.5 / 1e9)
    assert measured["sweep"][1]["seconds_per_audio_second"] == 1.25
    assert compiled["measured"] is None and compiled["not_run"] == "<no> compiler"
    assert plan["measured"]["products"] == {"not_measured": "they are measured for ONNX engines only"}
    assert data["requirement"]["met"] is True


def test_the_text_has_every_contender_once_a_table():
    text = as_text(full_bench())
    row = next(line for line in text.splitlines() if line.startswith("torch ") and "(" in line)
    assert row.split()[1:] == ["9.5", "9", "4", "4", "7.6", "0.5", "-", "-", "2", "(2", "to", "3)"]
    assert "matrix products of x.plan: not measured: they are measured for ONNX engines only" in text
    assert "CPU: a CPU, 2 cores, 8.0 GB of memory, load average 0.5 before" in text


def test_the_page_is_one_file_that_loads_nothing():
    pytest.importorskip("matplotlib")
    html = as_html(full_bench())
    assert not re.search(r'(src|href)="(?!data:)', html) and "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert html.count("data:image/png;base64,") == 3  # bars, length, batch
    for expected in ("cold start", "The columns", "2 (2 to 3)", "&lt;no&gt; compiler", "a CPU", "GPU, MB"):
        assert expected in html
    assert '<span class="good">x.onnx is faster than torch' in html


def test_a_page_without_sweeps_or_products_has_no_part_for_them():
    pytest.importorskip("matplotlib")
    html = as_html(bench_of(outcome("x.onnx", [1.0])))
    assert "Cost by" not in html and "limit" not in html and "GPU, MB" not in html


def test_engines_of_several_lengths_share_a_line():
    pytest.importorskip("matplotlib")
    html = as_html(bench_of(outcome("a", [1.0]), outcome("b", [3.0], work=TWICE)))
    assert "Cost by chunk length" in html and "Cost by batch size" not in html


@pytest.mark.parametrize(
    ("left", "right", "flops"),
    [
        ((3, 4), (4, 5), 2 * 3 * 4 * 5),
        ((7, 3, 4), (4, 5), 7 * 2 * 3 * 4 * 5),
        ((1, 2, 3, 4), (2, 4, 5), 2 * 2 * 3 * 4 * 5),
    ],
)
def test_flops_of_a_product(left, right, flops):
    assert Product(left, right, True, "float").flops == flops


def test_engines_are_told_apart():
    assert engine_name(Path("a/x.onnx"), [Path("a/x.onnx"), Path("a/y.onnx")], set()) == "x.onnx"
    paths = [Path("a/x.onnx"), Path("b/x.onnx")]
    assert engine_name(paths[1], paths, {"a/x.onnx"}) == "b/x.onnx"
    twice = [Path("x.onnx")] * 2
    assert engine_name(twice[1], twice, {"x.onnx"}) == "x.onnx (2)"


def test_this_machine_has_a_name():
    machine = describe_machine()
    assert machine.cpu and machine.cores >= machine.usable_cores >= 1 and "numpy" in machine.packages
