"""Which package may import which, and that the runtime lives without PyTorch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_FOR = {
    "runtime": {"torch", "bsmamba2", "export", "onnx", "onnxscript", "safetensors", "yaml"},
    "bsmamba2": {"runtime", "export", "onnx", "onnxruntime"},
}
# The network itself reads no songs and is no command; its training, the demo's among it, does and is.
WITH_SONGS = ("training", "synthesis", "demo")
# export may describe, check, compare and report an engine with the runtime.
EXPORT_MAY_USE = {
    "runtime": {"manifest"},
    "runtime.audio": {"Song", "read_song", "resample"},
    "runtime.backends": {"Backend", "DEVICES", "Done", "open_backend"},
    "runtime.backends.cuda": {"load_cudart"},
    "runtime.backends.onnxruntime": None,
    "runtime.backends.plan_checks": {"check_gpu", "check_version"},
    "runtime.backends.tensorrt": None,
    "runtime.bench.contenders": None,
    "runtime.bench.machine": None,
    "runtime.bench.measure": None,
    "runtime.bench.page": None,
    "runtime.bench.results": None,
    "runtime.bench.schema": None,
    "runtime.bench.text": None,
    "runtime.command": None,
    "runtime.errors": None,
    "runtime.evaluation.judge": None,
    "runtime.evaluation.metrics": None,
    "runtime.evaluation.page": None,
    "runtime.evaluation.results": None,
    "runtime.evaluation.schema": None,
    "runtime.evaluation.tables": None,
    "runtime.evaluation.tracks": None,
    "runtime.engine.flavours": None,
    "runtime.engine.gpu": None,
    "runtime.engine.manifest": None,
    "runtime.parity.difference": None,
    "runtime.parity.report": None,
    "runtime.engine.plan_header": None,
    "runtime.songs.progress": None,
    "runtime.parity.reference": None,
    "runtime.parity.replay": None,
    "runtime.pictures.page": {"check_output", "new_figure", "write_whole"},
    "runtime.separation.separator": {"Separator"},
    "runtime.parity.sdr_change": None,
    "runtime.dsp.stft": None,
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", NOT_FOR)
def test_packages_import_only_what_they_may(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imported(path) & NOT_FOR[package], path


def test_the_network_needs_nothing_of_training():
    for path in sorted((ROOT / "bsmamba2").rglob("*.py")):
        if path.relative_to(ROOT / "bsmamba2").parts[0] not in WITH_SONGS:
            assert not imported(path) & {"soundfile", "soxr", "typer", "lightning"}, path
            assert "bsmamba2.training" not in path.read_text(), path


def test_export_uses_only_what_describes_and_checks_an_engine():
    for path in sorted((ROOT / "export").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "runtime":
                assert node.module in EXPORT_MAY_USE, f"{path}: {node.module}"
                names = EXPORT_MAY_USE[node.module]
                assert names is None or {alias.name for alias in node.names} <= names, path


def python_without(*blocked: str, code: str) -> subprocess.CompletedProcess[str]:
    block = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    return subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, cwd=ROOT)


def test_all_of_runtime_imports_without_pytorch():
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "runtime").rglob("*.py")
    )
    assert "runtime.backends.onnxruntime" in modules
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    done = python_without(*NOT_FOR["runtime"], code=code)
    assert done.returncode == 0, done.stderr


def test_bsm_run_shows_its_help_without_pytorch():
    code = "sys.argv[1:] = ['--help']\nfrom runtime.cli import main\nmain()"
    done = python_without("torch", "onnx", "onnxruntime", code=code)
    assert done.returncode == 0, done.stderr
    assert "--overlap" in done.stdout


@pytest.mark.parametrize("missing", ["torch", "onnxscript", "safetensors", "yaml"])
def test_bsm_export_says_what_to_install(missing):
    done = python_without(missing, code="from export.cli import main\nmain()")
    assert done.returncode == 2
    assert done.stderr == f"bsm-export: {missing} is not installed: pip install 'bsmamba2[export]'\n"


def test_a_missing_onnx_runtime_is_one_line():
    code = (
        "from runtime.backends import open_backend\nfrom pathlib import Path\nopen_backend(Path('x.onnx'), None, None)"
    )
    done = python_without("onnxruntime", code=code)
    assert "ONNX Runtime is not installed: pip install 'bsmamba2[run]'" in done.stderr.splitlines()[-1]
