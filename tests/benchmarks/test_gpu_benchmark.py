"""benchmarks/gpu.py: no contender takes the others with it, and every one of them is on the page."""

from __future__ import annotations

import json
import os
import time

import gpu
import numpy as np
import pytest
from gpu_fakes import HALF
from on_gpu.contenders import Contender, Step, contenders
from on_gpu.machine import Machine
from on_gpu.page import as_html
from on_gpu.results import state
from on_gpu.work import TOLERANCES, Work

from runtime.dsp import difference

H100 = Machine(
    gpu="NVIDIA H100 80GB HBM3",
    capability=(9, 0),
    memory=80 << 30,
    driver_cuda="13.0",
    modules={"torch": "2.13.0", "numpy": "2.4", "triton": "3.9", "cuda": "13.4"},
    torch_cuda="13.0",
)
T4 = Machine(gpu="Tesla T4", capability=(7, 5), modules=H100.modules, torch_cuda="13.0")


def fake(name: str, call: str, *steps: Step, group: str = "network", limit: float = 30.0, **options) -> Contender:
    options = {"precision": "fp16", **options}
    return Contender(f"{name}, {options['precision']}", group, f"gpu_fakes:{call}", options, (), steps, limit)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs contenders on an H100 that is made up. Returns the results."""
    (tmp_path / "work").mkdir()
    (tmp_path / "logs").mkdir()
    work = Work(str(tmp_path / "work"), batches=(1, 2), rounds=3)
    parts = [{"precision": "fp16", "batch": b, "parts": [{"flops": 10**9, "bytes": 10**9, "count": b}]} for b in (1, 2)]

    def prepare(self):
        mixtures = np.random.default_rng(0).standard_normal((2, 5, 4, 2, 2)).astype(np.float32)
        np.save(work.file("mixtures", "spectrum"), mixtures)
        np.save(work.file("stems", "spectrum"), np.float32(HALF) * mixtures[:, None])
        waves = mixtures[:, 0, :, :, 0]
        np.save(work.file("mixtures", "wave"), waves)
        np.save(work.file("stems", "wave"), np.float32(HALF) * waves[:, None])
        self.results.parts = parts

    monkeypatch.setattr(gpu.Run, "_machine", lambda self: H100)
    monkeypatch.setattr(gpu.Run, "_tell_network", lambda self: None)
    monkeypatch.setattr(gpu.Run, "_prepare", prepare)

    def running(*chosen: Contender, minutes: float = 10):
        done = gpu.Run(tmp_path, work, minutes, list(chosen))
        done.all()
        assert json.loads((tmp_path / "gpu.json").read_text())["contenders"] == done.results.contenders
        page = as_html(done.results)
        assert all(each.name.replace("'", "&#x27;") in page for each in chosen)
        return done.results

    return running


@pytest.mark.seconds
def test_none_takes_the_others_with_it(run, tmp_path, capsys):
    results = run(
        fake("crashing", "Crashing"),
        fake("hanging", "Hanging", limit=3, pid_file=str(tmp_path / "pid")),
        fake("full", "Full"),
        fake("broken", "broken"),
        fake("unwilling", "unwilling"),
        fake("noisy", "Noisy"),
        fake("NaN", "Nan"),
        fake("swapped", "Swapped"),
        fake("right", "Right"),
    )
    found = {each["name"].split(",")[0]: each for each in results.contenders}
    states = {name: state(each) for name, each in found.items()}
    assert states == {
        "crashing": "failed",
        "hanging": "failed",
        "full": "done",
        "broken": "failed",
        "unwilling": "not run",
        "noisy": "done",
        "NaN": "failed",
        "swapped": "wrong",
        "right": "done",
    }
    assert found["crashing"]["failed"] == "its process died of SIGSEGV (at: batch 2)"
    assert [point["batch"] for point in found["crashing"]["points"]] == [1]  # what it had found is kept
    assert found["hanging"]["failed"] == "no result within 3 s (at: the first run)"
    with pytest.raises(ProcessLookupError):  # what it had started is gone as well
        for _ in range(100):
            os.kill(int((tmp_path / "pid").read_text()), 0)
            time.sleep(0.05)
    assert found["full"]["points"][1]["not_run"].startswith("out of GPU memory (RuntimeError: CUDA out of memory")
    assert found["broken"]["failed"] == "ValueError: it does not start"
    assert found["unwilling"]["not_run"] == "it needs a better machine"
    assert "NaN" in found["NaN"]["failed"]
    parity = found["swapped"]["points"][1]["parity"]
    assert not parity["within"] and parity["max_error"] > 0.1 and parity["snr_db"] < 10

    right = found["right"]
    assert right["cold_start_seconds"] > right["open_seconds"] > 0
    for point in right["points"]:
        assert point["parity"]["within"] and point["parity"]["max_error"] == 0 and point["parity"]["snr_db"] is None
        assert point["latency"]["min"] <= point["latency"]["median"] <= point["latency"]["max"]
        assert point["times_real_time"] == pytest.approx(8 * point["batch"] / point["latency"]["median"])
        least = point["batch"] / 3350  # a GB at 3.35 TB/s each; the arithmetic takes less
        assert point["limit_seconds"] == {"published": pytest.approx(least), "measured": None}
        assert point["share_of_limit"]["published"] == pytest.approx(least / point["latency"]["median"])
    shown = capsys.readouterr().out
    assert "unwilling, fp16: not run: it needs a better machine" in shown
    assert len([line for line in shown.splitlines() if line.startswith("right, fp16")]) == 2
    assert "swapped, fp16: wrong" in as_html(results)


def test_steps_are_made_once_and_their_failure_is_told(run):
    made = Step("graph", "gpu_fakes:step", {})
    not_made = Step("plan", "gpu_fakes:step", {"fails": True})
    results = run(fake("one", "Right", made), fake("two", "Right", made), fake("three", "Right", made, not_made))
    assert [state(each) for each in results.contenders] == ["done", "done", "failed"]
    assert results.contenders[2]["failed"] == "plan: ValueError: nothing was made"
    assert results.contenders[1]["step_seconds"]["graph"] > 0


def test_what_no_longer_fits_is_named(run):
    results = run(fake("late", "Right"), minutes=0.9)  # of which most is kept for the end
    assert results.contenders[0]["not_run"] == "no time left: give more --minutes"


def test_scans_have_a_limit_and_a_verdict(run):
    results = run(fake("good", "scan", group="scan"), fake("bad", "scan", group="scan", error=0.1))
    assert [state(each) for each in results.contenders] == ["done", "wrong"]
    for each in results.contenders[0]["scans"]:
        assert each["limit_seconds"]["published"] == pytest.approx(1e9 / 989e12)
        assert each["share_of_limit"]["published"] == pytest.approx(1e9 / 989e12 / 0.002)


def test_the_first_contender_is_measured_again_at_the_end(run, monkeypatch):
    monkeypatch.setattr(gpu, "TORCH", "gpu_fakes:Right")
    results = run(fake("again", "Right"))
    assert results.drift["name"] == "again, fp16" and results.drift["first"] > 0 and results.drift["last"] > 0


def test_every_contender_has_its_own_name_and_file():
    for device in ("cuda", "cpu"):
        names = [each.name for each in contenders(device)]
        assert len(names) == len(set(names))


def test_engines_of_waveforms_come_before_those_of_spectrograms():
    """As users get them; those of both plans and of the CUDA provider are there in both."""
    of = {io: [i for i, each in enumerate(contenders()) if each.options.get("io") == io] for io in ("wave", "spectrum")}
    assert max(of["wave"]) < min(of["spectrum"])
    names = [each.name for each in contenders()]
    for name in ("TensorRT plan", "TensorRT-RTX plan", "ONNX Runtime, CUDA"):
        for precision in ("fp16", "fp32"):
            wave, spectrum = (names.index(f"{name}, {io}, {precision}") for io in ("wave", "spectrum"))
            assert wave < spectrum


def test_each_is_compared_in_its_own_form(run):
    results = run(fake("a plan", "Right", io="wave"), fake("PyTorch", "Right"))
    assert [state(each) for each in results.contenders] == ["done", "done"]
    assert [each["notes"] for each in results.contenders] == [["3 axes"], ["5 axes"]]


def test_what_is_missing_is_named():
    why = {each.name: each.why_not(Machine(), "mamba2") for each in contenders()}
    assert all("there is no NVIDIA driver" in each for each in why.values())
    why = {each.name: each.why_not(H100, "mamba2") for each in contenders()}
    assert why["PyTorch eager, fp32"] == why["PyTorch compiled, bf16"] == why["scan: PyTorch, chunked, fp16"] == ""
    for io in ("wave", "spectrum"):
        plans = why[f"TensorRT plan, {io}, fp16"]
        assert plans.startswith("onnx, onnx_ir, ") and "tensorrt is not" in plans
        assert "no CUDAExecutionProvider" in why[f"ONNX Runtime, CUDA, {io}, fp16"]
    assert why["scan: mamba-ssm, fp16"].startswith("mamba_ssm and causal_conv1d not installed: pip install")
    why = {each.name: each.why_not(T4, "mamba2") for each in contenders()}
    assert why["PyTorch eager, bf16"] == "Tesla T4 has compute capability 7.5: bfloat16 needs 8.0"
    assert "the fused scan needs 8.0" in why["scan: PTX through the driver, fp16"]
    why = {each.name: each.why_not(H100, "transformer") for each in contenders()}
    assert "has no scan" in why["scan: PyTorch, chunked, fp16"] and why["PyTorch eager, fp16"] == ""


def test_tolerances_are_those_of_bsm_parity():
    assert TOLERANCES == difference.TOLERANCES


def test_engines_are_made_without_the_comparisons_of_bsm_export():
    """These are found by their names."""
    from on_gpu.making import COMPARISONS, NOT_COMPARED, uncompared

    import export.engine
    from export.plan import checked, rebuild

    before = export.engine.verify
    with uncompared():
        assert export.engine.verify(1, two=2) is checked.verify_plan() is NOT_COMPARED
        assert export.engine.expected_stems() == rebuild._expected() == []
    assert export.engine.verify is before and len(COMPARISONS) == 4
