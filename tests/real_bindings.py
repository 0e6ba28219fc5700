"""What the real Python bindings of TensorRT hold. Full TensorRT's are imported without its libraries and without a GPU.

Their wheels are small and come from PyPI by `make bindings`. The libraries they need are replaced by libraries of empty
functions, which a C compiler makes: enough to import the bindings and to look at them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bindings"
# name -> (module, wheel)
WHEELS = {
    "tensorrt 10.9": ("tensorrt_bindings", "tensorrt_cu12_bindings-10.9.0.34"),
    "tensorrt 11.4": ("tensorrt_bindings", "tensorrt_cu12_bindings-11.4.0.106"),
    "tensorrt-lean 11.4": ("tensorrt_lean_bindings", "tensorrt_lean_cu12_bindings-11.4.0.106"),
}
RTX = "tensorrt-rtx"
BINDINGS = (RTX, *WHEELS)

FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)

Overloads = list[list[tuple[str, bool]]]
Classes = dict[str, dict[str, Overloads | None]]


def classes_of(name: str, folder: Path) -> Classes:
    """Class -> member -> the overloads of a method, or None. Skips the test if the bindings cannot be had.

    `folder` is for what is made to import them.
    """
    if name == RTX:
        return json.loads(printed_with("tensorrt_rtx", {}, "describe_bindings.py"))
    return json.loads(printed_with(*unpacked(name, folder), "describe_bindings.py"))


def unpacked(name: str, folder: Path) -> tuple[str, dict[str, str]]:
    """The module of the bindings `name`, and the environment in which it can be imported. Skips the test without."""
    module, start = WHEELS[name]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = sorted(FOLDER.glob(f"{start}-{python}-*.whl"))
    if not wheels:
        pytest.skip(f"no {start}-{python}-*.whl in {FOLDER}: fetch it with make bindings")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler, which makes the libraries that the bindings need: install cc, or set CC")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    source = folder / "empty.c"
    source.write_text("".join(f"void *{each}(void) {{ return 0; }}\n" for each in FUNCTIONS))
    (binary,) = folder.glob("*/*.so")
    for each in set(re.findall(rb"lib(?:nvinfer|nvonnxparser)\w*\.so\.\d+", binary.read_bytes())):
        library = each.decode()
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(folder / library), str(source)]
        subprocess.run(command, check=True, capture_output=True)
    return module, {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def printed_with(module: str, environment: dict[str, str], script: str) -> str:
    """What `script`, a file beside this one, prints when it is given the module."""
    command = [sys.executable, str(Path(__file__).with_name(script)), module]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accepts(overloads: Overloads, positional: int, keywords: set[str]) -> bool:
    """Whether one of the overloads can be called with so many positional arguments and these keywords."""
    for parameters in overloads:
        names = [name for name, _ in parameters]
        later = parameters[positional:]
        if (
            positional <= len(parameters)
            and keywords <= set(names[positional:])
            and all(name in keywords or not required for name, required in later)
        ):
            return True
    return False
