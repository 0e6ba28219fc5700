"""What is installed is what the repository holds."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_declared():
    declared = set(re.findall(r'"([\w.]+)"', re.search(r"^packages = \[(.*bsmamba2.*)\]", PYPROJECT, re.M)[1]))
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("bsmamba2", "export", "runtime")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert declared == found


def test_every_direct_dependency_is_pinned_for_the_tests():
    wanted = set(re.findall(r'^\s*"?([A-Za-z0-9-]+)>=', PYPROJECT, re.M)) | set(
        re.findall(r'"([A-Za-z0-9-]+)>=', PYPROJECT)
    )
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    not_installed_here = {"setuptools", "onnxruntime-gpu", "causal-conv1d", "mamba-ssm", "tensorrt"}
    assert {name.lower() for name in wanted} - not_installed_here <= pinned


PYPROJECT = (ROOT / "pyproject.toml").read_text()
