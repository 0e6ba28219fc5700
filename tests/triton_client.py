"""The package tritonclient in build/triton-client, which is not installed: it pins other versions than the tests."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "build" / "triton-client"


def model_config_pb2() -> ModuleType:
    """Its message classes of model configurations."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return import_module("tritonclient.grpc.model_config_pb2")
