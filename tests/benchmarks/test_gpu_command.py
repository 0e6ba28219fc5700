"""`python benchmarks/gpu.py` as a process: without a GPU, and on a machine that has only PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
from on_gpu.contenders import contenders

ROOT = Path(__file__).parents[2]
# What comes with PyTorch, and Triton and cuda-bindings. All other packages are hidden, for child processes as well.
BARE = """
import sys
from importlib.machinery import PathFinder

allowed = {"torch", "torchgen", "functorch", "numpy", "triton", "cuda"}
allowed |= {"typing_extensions", "filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec"}
allowed |= {"setuptools", "_distutils_hack", "sitecustomize", "bsmamba2", "export", "on_gpu", "networks"}
find_spec = PathFinder.find_spec


def found(name, *more):
    top = name.split(".")[0]
    is_standard = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
    return find_spec(name, *more) if top in allowed or is_standard else None


PathFinder.find_spec = found
"""


def command(folder: Path, *args: str, bare: bool = True) -> subprocess.CompletedProcess[str]:
    (folder / "bare").mkdir(exist_ok=True)
    (folder / "bare" / "sitecustomize.py").write_text(BARE if bare else "")
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--out", str(folder / "out"), *args],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "bare"), "CUDA_VISIBLE_DEVICES": "-1"},
    )


@pytest.mark.seconds
def test_without_a_gpu_every_contender_is_named(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "gpu.json").read_text())
    page = (tmp_path / "out" / "gpu.html").read_text()
    assert [each["name"] for each in data["contenders"]] == [each.name for each in contenders()]
    for each in data["contenders"]:
        assert each["not_run"] and not each["failed"] and not each["points"]
        assert f"{each['name']}: not run: {each['not_run']}" in done.stdout
        assert each["name"].replace("'", "&#x27;") in page
    plans = next(each["not_run"] for each in data["contenders"] if each["name"] == "TensorRT plan, wave, fp16")
    assert "onnx, onnx_ir, onnxscript" in plans
    flops = {each["precision"]: each["flops"] for each in data["network"]["work"] if each["batch"] == 1}
    assert flops["fp16"] == flops["fp32"] == pytest.approx(2.772e12, rel=1e-3)  # as FlopCounterMode counts
    assert not (tmp_path / "out" / "work").exists()


@pytest.mark.slow
def test_a_bare_machine_runs_what_needs_pytorch_only(tmp_path):
    done = command(tmp_path, "--rehearse", "--only", "eager, fp32", "scan", "onnx")
    assert done.returncode == 0, done.stdout + done.stderr
    eager, scan, wave, spectrum = json.loads((tmp_path / "out" / "gpu.json").read_text())["contenders"]
    assert [point["batch"] for point in eager["points"]] == [1, 2]
    assert all(point["parity"]["within"] for point in eager["points"])
    assert [each["axis"] for each in scan["scans"]] == ["time", "sub-bands"]
    assert all(each["within"] for each in scan["scans"])
    for engine in (wave, spectrum):
        assert engine["not_run"].startswith("onnx, onnx_ir, onnxscript")
    assert "again at the end" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--kind", "x"], "--kind x: must be one of mamba2, transformer"),
        (["--batch", "1,x"], "--batch: must be above 0"),
        (["--only", "nothing"], "--only nothing: no contender has this in its name"),
        (["--depth", "0"], "--kind mamba2: depth is 0: expected a positive whole number"),
        (["--out", "{file}"], "--out {file}: cannot be written"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, args, said):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(sys, "argv", ["gpu.py", *(each.format(file=file) for each in args)])
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"gpu.py: error: {said.format(file=file)}")


@pytest.mark.seconds
def test_a_kind_that_needs_more_than_pytorch_says_so(tmp_path):
    done = command(tmp_path, "--kind", "mel-roformer-kim")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "--kind mel-roformer-kim: No module named" in done.stderr.splitlines()[-1]
