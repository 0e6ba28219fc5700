"""The package tritonclient: installed, or in build/triton-client, as it pins other versions than the tests."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "build" / "triton-client"


def model_config_pb2() -> ModuleType:
    """Its message classes of model configurations; without it, the test is skipped."""
    if find_spec("tritonclient") is None:
        if not FOLDER.exists():
            pytest.skip("no tritonclient: make triton-client")
        sys.path.append(str(FOLDER))
    return import_module("tritonclient.grpc.model_config_pb2")
