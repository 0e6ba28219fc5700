"""What is installed is what the repository holds."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
    not_installed_here = {"setuptools", "onnxruntime-gpu", "causal-conv1d", "mamba-ssm", "tensorrt"}
    assert {name.lower() for name in wanted} - not_installed_here <= pinned


def test_what_is_built_against_pytorch_is_installed_apart_from_it():
    """pip builds mamba-ssm without the PyTorch it needs, unless that is installed before and isolation is off."""
    extras = dict(re.findall(r"^([a-z-]+) = \[(.*?)\]$", PYPROJECT, re.M | re.S))
    assert "mamba-ssm" in extras.pop("mamba") and len(extras) > 5
    assert not any("mamba-ssm" in packages or "[mamba]" in packages for packages in extras.values())
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"pip install [^`\n]*", page.read_text()):
            if "mamba-ssm" in command or re.search(r"\[[^\]]*\bmamba\b", command):
                assert "--no-build-isolation" in command and "torch" not in command, (page, command)


PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_files_of_tests_have_names_of_their_own():
    """They are imported by their base names: two of one name would be taken for each other."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
