"""An engine with a TensorRT plan on disk, and the doubles that would run it."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import cuda.bindings.runtime
import numpy as np
import pytest
from cuda_double import CudaDouble
from fakes import plan_data
from tensorrt_double import tensorrt_double

from runtime.backends.tensorrt import TensorRtBackend
from runtime.engine.manifest import Manifest, io_tensors, sha256_of
from runtime.engine.plan_header import CAPABILITIES
from runtime.engine.reading import manifest_path

VERSION = "1.7.1.116"


def header(size: int, capabilities=("8.9", "12.0")) -> bytes:
    """The first 64 bytes of a TensorRT-RTX plan."""
    mask = sum(1 << CAPABILITIES.index(each) for each in capabilities)
    return struct.pack("<4s12xQ4BxxxxI", b"vtrt", size, 1, 7, 1, 116, mask).ljust(64, b"\0")


@dataclass
class Setup:
    """An engine on disk, and the doubles that would run it."""

    plan: Path
    manifest: Manifest
    cuda: CudaDouble
    monkeypatch: pytest.MonkeyPatch
    double: ModuleType | None = None  # of TensorRT, once installed

    def write(self, content: bytes | None = None, manifest: Manifest | None = None) -> None:
        """The plan, and a manifest that describes it truly."""
        inside = self.manifest.inside_plan().encode()
        is_rtx = self.manifest.plan.flavour == "tensorrt-rtx"
        start = header(64 + len(inside)) if is_rtx else b"full".ljust(64, b"\0")
        self.plan.write_bytes(start + inside if content is None else content)
        file = replace(self.manifest.plan.file, bytes=self.plan.stat().st_size, sha256=sha256_of(self.plan))
        self.manifest = replace(self.manifest, plan=replace(self.manifest.plan, file=file))
        manifest = manifest or self.manifest
        manifest = replace(manifest, plan=replace(manifest.plan, file=file))
        manifest_path(self.plan).write_text(manifest.to_json())

    def install(self, gains=(0.5,), version=VERSION, change=None):
        """TensorRT and the GPU."""
        double = tensorrt_double(self.manifest, self.cuda, gains, version, change)
        self.double = double
        self.monkeypatch.setitem(sys.modules, double.__name__, double)
        self.monkeypatch.setattr(cuda.bindings, "runtime", self.cuda)
        return double

    def open(self, index=0) -> TensorRtBackend:
        return TensorRtBackend(self.plan, self.manifest, index)

    def mixture(self, batch=1, frames=None, seed=0):
        shape = self.manifest.input_shape(batch, frames or self.manifest.frames.opt)
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(flavour, tmp_path, monkeypatch, frames=None, **changes):
    data = plan_data(flavour, **changes)
    manifest = Manifest.from_json(json.dumps(data), "made")
    if frames is not None:
        mixture, stems = io_tensors(manifest.io, manifest.model, manifest.stft, frames)
        manifest = replace(manifest, frames=frames, input=mixture, output=stems)
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "cache"))
    setup = Setup(tmp_path / "x.plan", manifest, CudaDouble(), monkeypatch)
    setup.write()
    setup.install([0.5] * len(manifest.model.stems))
    return setup
