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
# The floors of each package, from the top down: a room uses only rooms below it (docs/architecture.md). Modules beside
# the rooms are the commands above all of them, or belong to the ground, which every room may use and which uses none.
FLOORS = {
    "runtime": [
        *("parity", "evaluation", "bench", "serving", "cluster", "songs", "separation", "pictures", "backends"),
        *("audio", "dsp", "engine"),
    ],
    "export": ["checks", "plan", "proof", "graph"],
    "bsmamba2": ["demo", "training", "synthesis", "checkpoint", "catalogue", "networks"],
}
GROUND = {
    "runtime": {"errors", "printable"},
    "export": {"describe", "errors", "files", "named"},
    "bsmamba2": {"config", "errors"},
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


def imported_modules(path: Path, package: str) -> set[str]:
    """What `path` imports from `package`: rooms and modules beside them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            first, *rest = node.module.split(".")
            if first == package:
                names |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == package for alias in node.names), f"{path}: use from ... import"
    return names


@pytest.mark.parametrize("package", FLOORS)
def test_a_room_uses_only_rooms_below_it(package):
    floors, ground = FLOORS[package], GROUND[package]
    folder = ROOT / package
    assert {path.parent.name for path in folder.glob("*/__init__.py")} == set(floors)
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        used = imported_modules(path, package)
        if room in floors:
            assert used <= {room, *floors[floors.index(room) + 1 :], *ground}, path
        elif room in ground:
            assert used <= ground, path


def test_bsm_run_is_used_by_nothing():
    for path in sorted((ROOT / "export").rglob("*.py")):
        assert not imported_modules(path, "runtime") & {"cli"}, path


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


@pytest.mark.parametrize("missing", ["torch", "onnxscript", "safetensors", "yaml", "httpx"])
def test_bsm_export_says_what_to_install(missing):
    done = python_without(missing, code="from export.cli import main\nmain()")
    assert done.returncode == 2
    assert done.stderr == f"bsm-export: {missing} is not installed: pip install 'bsmamba2[export]'\n"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "python_multipart", "httpx"])
def test_bsm_serve_says_what_to_install(missing):
    done = python_without(missing, code="sys.argv[1:] = ['x.onnx']\nfrom runtime.serve_cli import main\nmain()")
    assert done.returncode == 2
    assert done.stderr == f"bsm-serve: {missing} is not installed: pip install 'bsmamba2[serve]'\n"


def test_bsm_export_leaves_the_choice_of_an_onnx_runtime():
    for missing, beside in ((["onnxruntime"], ""), (["torch", "onnxruntime"], ",export")):
        done = python_without(*missing, code="from export.cli import main\nmain()")
        assert done.returncode == 2
        assert done.stderr.endswith(
            f"not installed: pip install 'bsmamba2[run{beside}]', or 'bsmamba2[cuda{beside}]' for an NVIDIA GPU\n"
        )


def test_a_missing_onnx_runtime_is_one_line():
    code = (
        "from runtime.backends import open_backend\nfrom pathlib import Path\nopen_backend(Path('x.onnx'), None, None)"
    )
    done = python_without("onnxruntime", code=code)
    assert "ONNX Runtime is not installed: pip install 'bsmamba2[run]'" in done.stderr.splitlines()[-1]
