"""The compiled fused scan and its plugin: what TensorRT is told, by its real module, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from enum import Enum
from types import SimpleNamespace

import pytest
from fakes import H200, RTX_4090
from real_bindings import printed_with, unpacked
from tiny import FRAMES, tiny_checkpoint

from bsmamba2.config import ModelConfig
from export.cli import app
from export.engine import export_engine
from export.errors import ExportError
from export.plan import build as build_module
from export.plan import choose
from export.plan.choose import Asked, Build, plan_build
from export.plan.make_ptx import made, without_hidden_parameters
from export.plan.scan_kernel import FOLDER, INDEX, kernel_of
from export.plan.scan_plugin import register_scan, require_network, require_plugin
from runtime.command import exit_code
from runtime.engine.gpu import Gpu

NARROW = ("fp16", "bf16")
DEFAULT_SHARED = 48 * 1024  # bytes that a block has without asking for more


@pytest.mark.parametrize("precision", NARROW)
def test_the_kernel_runs_on_every_gpu_from_8_0_on_and_takes_what_tensorrt_passes(precision):
    kernel = kernel_of(precision)
    assert re.search(r"^\.version 8\.0\n\.target sm_80$", kernel.ptx, re.M)
    (parameters,) = re.findall(rf"\.entry {kernel.entry}\((.*?)\)", kernel.ptx, re.S)
    assert re.findall(r"\.u(\d+)", parameters) == ["64"] * 6 + ["32"] * 5 + ["64"]
    assert f".reqntid {kernel.threads}\n" in kernel.ptx
    assert kernel.shared <= DEFAULT_SHARED
    assert not re.search(r"\.file|\.loc\b|/", re.sub(r"//.*", "", kernel.ptx))  # no paths of the machine it was made on


@pytest.mark.seconds
def test_the_ptx_of_the_package_is_what_triton_makes(monkeypatch, tmp_path):
    triton = pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    of = json.loads((FOLDER / INDEX).read_text())["triton"]
    if triton.__version__ != of:
        pytest.skip(f"the PTX was made by Triton {of}, and {triton.__version__} is installed")
    remade = made()
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == remade


def test_a_hidden_parameter_that_is_used_is_not_removed():
    ptx = (
        ".visible .entry f(\n\t.param .u64 f_1,\n\t.param .u64 f_2,\n\t.param .u64 f_3\n)\n{ ld.param.u64 %r1, [f_1]; }"
    )
    assert without_hidden_parameters(ptx) == ("f", ptx.replace(",\n\t.param .u64 f_2,\n\t.param .u64 f_3", ""))
    with pytest.raises(SystemExit, match="the kernel uses f_3, a parameter that TensorRT does not pass"):
        without_hidden_parameters(ptx.replace("[f_1]", "[f_3]"))


@pytest.fixture(scope="module", params=["tensorrt 10.9", "tensorrt 11.4"])
def answers(request, tmp_path_factory) -> dict:
    """Of the plugin in TensorRT's own module, as tests/plugin_in_bindings.py prints them."""
    bindings = unpacked(request.param, tmp_path_factory.mktemp("plugin"))
    return json.loads(printed_with(*bindings, "plugin_in_bindings.py").splitlines()[-1])


@pytest.mark.seconds
def test_the_plugin_is_registered_once_under_the_name_of_the_node(answers):
    assert answers["creator"] == ["bsmamba2", "SSDScan", "1"]
    assert answers["fields"] == [["reverse", "INT64"]]


@pytest.mark.seconds
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("precision", NARROW)
def test_tensorrt_gets_shapes_launch_and_arguments(answers, precision, reverse):
    kernel, answer = kernel_of(precision), answers[f"{precision} {reverse}"]
    assert answer["out"] == ["blhp", True]  # the shape and type of x
    assert answer["linear"] and answer["tactics"] == []
    assert (answer["entry"], answer["ptx"]) == (kernel.entry, kernel.ptx)
    one = ["1", 1]
    assert answer["launch"] == {
        "grid_x": ["b * h", 62 * 16],
        "grid_y": one,
        "grid_z": one,
        "block_x": [str(kernel.threads), kernel.threads],
        "block_y": one,
        "block_z": one,
        "shared_mem": [str(kernel.shared), kernel.shared],
    }
    # In the order of the parameters of the kernel, between the inputs and the output.
    assert answer["integers"] == [["l", 801], ["h", 16], ["h * 64", 1024], ["128", 128], [str(reverse), reverse]]
    assert answer["widths"] == ["PluginArgDataType.INT32"]


def test_the_order_of_the_arguments_is_that_of_the_kernel():
    pytest.importorskip("triton")
    from bsmamba2.networks.fused_kernel import ssd_scan

    names = [each.name for each in ssd_scan.params]
    assert names[:6] == ["x", "dt", "a", "b", "c", "d"] and names[11] == "y"
    kernel = kernel_of("fp16")
    integers = dict(zip(names[6:11], kernel.integers(801, 16, True), strict=True))
    assert integers == {"length": 801, "heads": 16, "x_row": 1024, "bc_row": 128, "reverse": 1}


def test_a_tensorrt_without_such_plugins_is_named():
    old = SimpleNamespace(__name__="no_such_tensorrt", __version__="10.1")
    with pytest.raises(ExportError, match="--scan plugin: TensorRT 10.1 does not take the plugin .*: use --scan chunk"):
        register_scan(old)


def network_of(*kinds: str) -> tuple[SimpleNamespace, SimpleNamespace]:
    types = Enum("LayerType", ["SCALE", "PLUGIN_V3"])
    layers = [SimpleNamespace(type=types[kind]) for kind in kinds]
    trt = SimpleNamespace(LayerType=types, __version__="11.4.0.106")
    return trt, SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)


def test_a_parser_that_takes_the_bodies_instead_is_caught():
    require_plugin(*network_of("SCALE", "PLUGIN_V3"))
    with pytest.raises(ExportError, match="TensorRT 11.4.0.106 did not use the plugin for the scans: use --scan chunk"):
        require_plugin(*network_of("SCALE"))


def test_only_a_build_with_the_plugin_asks_for_plugins():
    flags = Enum("Flag", [("STRONGLY_TYPED", 1), ("PREFER_AOT_PYTHON_PLUGINS", 2)], type=int)
    trt = SimpleNamespace(NetworkDefinitionCreationFlag=flags)
    full = Build("tensorrt", "11.4.0.106", ("8.9",), RTX_4090, "", hardware="same-gpu")
    assert build_module._network_flags(trt, full) == 0b010
    assert build_module._network_flags(trt, replace(full, plugin=True)) == 0b110


@pytest.fixture
def full_tensorrt(monkeypatch):
    """Sets the GPU of a machine with full TensorRT."""

    def has(gpu):
        monkeypatch.setattr(choose, "find_gpu", lambda: (gpu, ""))
        monkeypatch.setattr(choose, "load_cudart", lambda: None)
        monkeypatch.setattr(choose, "bindings", lambda flavour: SimpleNamespace(__version__="11.4.0.106"))

    return has


def test_it_is_built_with_full_tensorrt_in_16_bits(full_tensorrt):
    full_tensorrt(H200)
    assert plan_build(Asked(), "fp16", "plugin").plugin
    assert not plan_build(Asked(), "fp16", "custom").plugin
    with pytest.raises(ExportError, match="--scan plugin: the kernel computes in fp16 or bf16: use --precision fp16, "):
        plan_build(Asked(), "fp32", "plugin")
    with pytest.raises(ExportError, match="TensorRT-RTX takes no plugins: use --trt tensorrt on the machine with the"):
        plan_build(Asked("tensorrt-rtx"), "fp16", "plugin")
    full_tensorrt(Gpu("Tesla T4", "7.5"))
    with pytest.raises(ExportError, match=r"needs compute capability 8.0 or later, and Tesla T4 has 7.5: export with"):
        plan_build(Asked(), "fp16", "plugin")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(kind="transformer"), "this network has no Mamba2: leave it out"),
        (ModelConfig(dim=32, headdim=32), "a head dimension of 64 and a state of 128, and this network has 32 and 128"),
        (ModelConfig(d_state=64), "a head dimension of 64 and a state of 128, and this network has 64 and 64"),
    ],
)
def test_a_network_that_the_kernel_is_not_for_is_refused(config, message):
    require_network(ModelConfig(), "bf16")
    with pytest.raises(ExportError, match=f"--scan plugin: .*{message}"):
        require_network(config, "bf16")


def test_without_a_plan_of_full_tensorrt_it_is_refused_before_anything_is_done(tmp_path, monkeypatch, capsys):
    with pytest.raises(ExportError, match="--scan plugin: is for plans of full TensorRT: add --trt tensorrt, or use"):
        export_engine(tiny_checkpoint(tmp_path), tmp_path / "x", frames=FRAMES, precision="fp16", scan="plugin")
    monkeypatch.setattr(choose, "find_gpu", lambda: (None, "there is no NVIDIA driver"))
    args = ["--ckpt", "nowhere.ckpt", "--trt", "tensorrt-rtx", "--precision", "fp16", "--scan", "plugin"]
    assert exit_code(app, "bsm-export", args) == 2
    assert capsys.readouterr().err.startswith("bsm-export: --scan plugin: TensorRT-RTX takes no plugins: ")
