"""What the builder is told, its timing cache, and its thread, with doubles of full TensorRT's builder."""

from __future__ import annotations

import threading
from dataclasses import replace
from enum import Enum
from types import SimpleNamespace

import pytest
import tensorrt_rtx
from fakes import RTX_4090

from export.errors import ExportError
from export.plan import build as build_module
from export.plan import watched
from export.plan.build import LEVELS
from export.plan.choose import Build
from export.plan.watched import run_builder
from runtime.engine.manifest import HARDWARE

FULL = Build("tensorrt", "11.4.0.106", ("8.9",), RTX_4090, "", hardware="same-gpu")
FLAGS = ["TF32", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"]


class Config:
    """The builder's configuration, as full TensorRT has it: what is not here is an AttributeError."""

    __slots__ = ("builder_optimization_level", "features", "flags", "hardware_compatibility_level", "pools")

    def __init__(self):
        self.flags, self.pools, self.features = {"TF32"}, {}, {}

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.remove(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool.name] = pool_size

    def set_preview_feature(self, feature, enable):
        self.features[feature.name] = enable


def full_tensorrt(features=("RUNTIME_ACTIVATION_RESIZE_10_10",)):
    """What `_config` uses of the module; TensorRT 10.9 has no such feature."""
    return SimpleNamespace(
        BuilderFlag=Enum("BuilderFlag", FLAGS),
        HardwareCompatibilityLevel=Enum("HardwareCompatibilityLevel", list(LEVELS.values())),
        MemoryPoolType=Enum("MemoryPoolType", ["WORKSPACE"]),
        PreviewFeature=Enum("PreviewFeature", list(features)),
    )


BUILDER = SimpleNamespace(create_builder_config=Config)


def test_the_double_says_nothing_the_bindings_do_not():
    """TensorRT-RTX has the same names, though it does nothing with most of them."""
    own = {"flags", "pools", "features"}
    for name in {name for name in vars(Config) if not name.startswith("_")} - own:
        assert hasattr(tensorrt_rtx.IBuilderConfig, name), name
    double = full_tensorrt()
    for enum in vars(double):
        for member in getattr(double, enum):
            assert member.name in getattr(tensorrt_rtx, enum).__members__


def test_a_plain_plan_is_for_this_gpu_without_tf32():
    config = build_module._config(full_tensorrt(), BUILDER, FULL)
    assert config.flags == set() and config.pools == {}
    assert config.hardware_compatibility_level.name == "NONE"
    assert not hasattr(config, "builder_optimization_level")
    assert config.features == {"RUNTIME_ACTIVATION_RESIZE_10_10": True}
    assert build_module._config(full_tensorrt(features=()), BUILDER, FULL).features == {}


def test_every_choice_reaches_the_builder():
    build = replace(FULL, workspace=7, hardware="ampere-plus", optimization_level=0, version_compatible=True)
    config = build_module._config(full_tensorrt(), BUILDER, build)
    assert config.flags == {"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"}
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert config.builder_optimization_level == 0 and config.pools == {"WORKSPACE": 7}


def test_the_manifest_has_a_word_for_every_level():
    assert set(LEVELS) == set(HARDWARE)


class Cache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class WithCache:
    content = None

    def create_timing_cache(self, content):
        self.content = content
        return Cache(b"timings")

    def set_timing_cache(self, cache, ignore_mismatch):
        return self.content in (b"", b"timings")


LOGGER = SimpleNamespace(first=lambda: "Timing cache device SM does not match")


def test_a_timing_cache_is_read_and_written_whole_or_named(tmp_path):
    path, config = tmp_path / "cache", WithCache()
    cache = build_module._set_timing_cache(config, path, LOGGER)
    assert config.content == b""
    build_module._write_timing_cache(cache, path, LOGGER)
    assert build_module._set_timing_cache(config, path, LOGGER) is not None and config.content == b"timings"
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(b"another GPU's")
    with pytest.raises(
        ExportError, match=r"not a timing cache of this TensorRT and GPU \(.*SM does not match\): use a"
    ):
        build_module._set_timing_cache(config, path, LOGGER)
    with pytest.raises(ExportError, match=rf"--timing-cache {tmp_path}: cannot be read \(Is a directory\)"):
        build_module._set_timing_cache(config, tmp_path, LOGGER)
    with pytest.raises(ExportError, match=r"--timing-cache .*x: cannot be written \(No such file or directory\)"):
        build_module._write_timing_cache(cache, tmp_path / "nowhere" / "x", LOGGER)
    with pytest.raises(ExportError, match=r"gave no timings \(.*does not match\): leave it out"):
        build_module._write_timing_cache(Cache(None), path, LOGGER)
    assert path.read_bytes() == b"another GPU's"


class Builder:
    """Counts to 1000 and reports it; `ran_in` is its thread."""

    steps = 0

    def build_serialized_network(self, network, config):
        self.ran_in = threading.current_thread()
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 1000)
        for step in range(1000):
            if not monitor.step_complete("Building", step):
                return None
            self.steps += 1
        monitor.phase_finish("Building")
        return b"plan"


def run(builder, progress=None, gpu=None):
    return run_builder(tensorrt_rtx, builder, None, SimpleNamespace(), progress, gpu)


@pytest.mark.parametrize("at", [0, 3, 1000])
def test_an_exception_of_the_progress_stops_the_builder_and_is_raised(at):
    def progress(phase, done, total):
        if done == at:
            raise OSError(28, "No space left on device")

    builder = Builder()
    with pytest.raises(OSError, match="No space left on device"):
        run(builder, progress)
    assert builder.steps == max(0, at - 1)


def test_the_progress_is_told():
    told = []
    assert run(Builder(), lambda *args: told.append(args)) == b"plan"
    assert told == [*(("Building", done, 1000) for done in range(1001)), ("Building", 1000, 1000)]


def test_the_builders_thread_uses_the_gpu_that_was_found(monkeypatch):
    used = []
    error_t = SimpleNamespace(cudaSuccess=0)

    def set_device(index):
        used.append((threading.current_thread(), index))
        return (SimpleNamespace(name="cudaErrorInvalidDevice") if index == 9 else 0,)

    monkeypatch.setattr(watched, "load_cudart", lambda: SimpleNamespace(cudaError_t=error_t, cudaSetDevice=set_device))
    builder = Builder()
    assert run(builder, gpu=replace(RTX_4090, index=1)) == b"plan"
    assert used == [(builder.ran_in, 1)]
    with pytest.raises(ExportError, match="RTX 4090 cannot be used to build: cudaSetDevice failed with cudaErrorInv"):
        run(builder, gpu=replace(RTX_4090, index=9))
