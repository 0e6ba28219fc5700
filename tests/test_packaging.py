"""What is installed is what the repository holds."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
OPTIONAL = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", PYPROJECT, re.M | re.S)[1]
EXTRAS = {
    name: re.findall(r'"([^"]+)"', lines)
    for name, lines in re.findall(r"^([a-z0-9-]+) = \[(\n(?:.*\n)*?|.*)\]$", OPTIONAL, re.M)
}
# Extras whose packages own the same files.
ONE_OF = [
    {"run", "cuda", "cuda-cu12"},
    *({name, f"{name}-cu12"} for name in ("tensorrt", "tensorrt-rtx", "tensorrt-lean", "onnxruntime-tensorrt-rtx")),
]


def test_every_folder_of_modules_is_a_package():
    """Setuptools finds packages by their __init__.py: a folder without one would not be installed."""
    for package in ("bsmamba2", "export", "runtime"):
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
            assert (folder / "__init__.py").exists(), folder


def test_every_direct_dependency_is_pinned_for_the_tests():
    wanted = set(re.findall(r'^\s*"?([A-Za-z0-9-]+)>=', PYPROJECT, re.M)) | set(
        re.findall(r'"([A-Za-z0-9-]+)>=', PYPROJECT)
    )
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    not_installed_here = {"setuptools", "causal-conv1d", "mamba-ssm", "tensorrt", "tensorrt-lean"}
    for_gpus = {name for name in wanted if name.endswith("-cu12") or name.startswith("onnxruntime-")}
    assert {name.lower() for name in wanted} - not_installed_here - for_gpus <= pinned


def test_no_page_installs_packages_that_own_the_same_files():
    """One ONNX Runtime and one TensorRT of a flavour in an environment; what needs an ONNX Runtime gets one."""
    seen = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "Makefile"):
        for names in re.findall(r"(?:bsmamba2|\.)\[([\w,-]+)\]", page.read_text()):
            extras = names.split(",")
            assert set(extras) <= set(EXTRAS), (page, names)
            for group in ONE_OF:
                assert len(group & set(extras)) <= 1, (page, names)
            if "Makefile" in page.name:
                assert "run" in extras
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name.endswith("-cu12")])
def test_an_extra_for_cuda_12_is_the_other_one_for_cuda_12(extra):
    """The same packages, of which none is for CUDA 13."""
    packages, others = (
        {re.match(r"[\w-]+", line)[0].removesuffix("-cu12"): line for line in EXTRAS[name]}
        for name in (extra, extra.removesuffix("-cu12"))
    )
    assert set(packages) == set(others)
    assert packages.get("cuda-python", ",<13").endswith(",<13")
    assert packages.get("onnxruntime-gpu", ",<1.27").endswith(",<1.27")  # 1.27 is for CUDA 13


def test_only_what_is_installed_alone_has_an_onnx_runtime():
    with_one = {name for name, lines in EXTRAS.items() if any(line.startswith("onnxruntime") for line in lines)}
    assert with_one == ONE_OF[0] | {"onnxruntime-tensorrt-rtx", "onnxruntime-tensorrt-rtx-cu12"}


def test_what_is_built_against_pytorch_is_installed_apart_from_it():
    """pip builds mamba-ssm without the PyTorch it needs, unless that is installed before and isolation is off."""
    extras = dict(re.findall(r"^([a-z-]+) = \[(.*?)\]$", PYPROJECT, re.M | re.S))
    assert "mamba-ssm" in extras.pop("mamba") and len(extras) > 5
    assert not any("mamba-ssm" in packages or "[mamba]" in packages for packages in extras.values())
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"pip install [^`\n]*", page.read_text()):
            if "mamba-ssm" in command or re.search(r"\[[^\]]*\bmamba\b", command):
                assert "--no-build-isolation" in command and "torch" not in command, (page, command)


def test_files_of_tests_have_names_of_their_own():
    """They are imported by their base names: two of one name would be taken for each other."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_files_of_two_packages_are_found(tmp_path):
    """What `make check-extras` looks for, as with onnxruntime beside onnxruntime-gpu."""
    pytest.importorskip("tomllib")  # Python 3.11
    extras = run_path(str(ROOT / ".ci" / "extras"))
    for name, files in (("a", ["both/x.py", "a.py"]), ("b", ["both/x.py", "b.py"]), ("pip", ["both/x.py"])):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        (tmp_path / f"{name}-1.dist-info" / "RECORD").write_text("".join(f"{file},sha256=0,1\n" for file in files))
    twice = extras["owned_twice"](extras["packages"](tmp_path))
    assert {file: sorted(names) for file, names in twice.items()} == {tmp_path / "both/x.py": ["a", "b"]}
    assert {*extras["CHECKED"], *extras["LOOKED_UP"], *extras["NOT_CHECKED"]} == set(EXTRAS)
