"""The mark of tests that run OpenVINO: skipped where it is not installed, but not in CI."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

NEEDS_OPENVINO = pytest.mark.skipif(
    find_spec("openvino") is None and not os.environ.get("CI"),
    reason="openvino is not installed: pip install 'bsmamba2[run,openvino]'",
)
