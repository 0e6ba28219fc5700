"""Kernels that TensorRT-RTX compiled are kept: by plan and GPU, whole or not at all, and never in the way."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import tensorrt_rtx
from cuda_double import CudaDouble
from plan_double import make
from tensorrt_double import IRuntimeCache

from runtime.backends.kernel_cache import KernelCache
from runtime.engine.cache_folder import cache_root


def files() -> list[Path]:
    folder = cache_root() / "kernels"
    return sorted(folder.iterdir()) if folder.exists() else []


def run(setup, batch=1):
    with setup.open() as backend:
        mixture = setup.mixture(batch)
        np.testing.assert_array_equal(backend.run(mixture), 0.5 * mixture[:, None])
    return backend


def test_kernels_are_kept_from_one_start_to_the_next(rtx):
    assert run(rtx).notes == []
    (file,) = files()
    assert file.name == f"{rtx.manifest.plan.file.sha256}-NVIDIA-Double.cache"
    assert file.read_bytes() == b"13000:1x11"
    run(rtx, 3)
    assert file.read_bytes() == b"13000:1x11;3x11"  # the kernels of both shapes
    before = file.stat().st_mtime_ns
    run(rtx)  # nothing new
    assert file.stat().st_mtime_ns == before
    assert files() == [file]  # and nothing half-written beside it


def test_another_gpu_has_a_file_of_its_own(rtx):
    run(rtx)
    rtx.cuda = CudaDouble("NVIDIA Other", "12.0")
    rtx.install()
    run(rtx)
    names = {file.name.partition("-")[2] for file in files()}
    assert names == {"NVIDIA-Double.cache", "NVIDIA-Other.cache"}


def test_a_file_of_another_driver_is_replaced(rtx):
    run(rtx, 2)
    (file,) = files()
    rtx.cuda.driver = 13010
    backend = rtx.open()
    assert not file.exists() and backend.notes == []
    backend.run(rtx.mixture())
    backend.close()
    assert file.read_bytes() == b"13010:1x11"


def test_full_tensorrt_keeps_none(tmp_path, monkeypatch):
    setup = make("tensorrt", tmp_path, monkeypatch)
    run(setup)
    assert files() == []


def test_a_folder_that_cannot_be_made_is_a_note(rtx, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    rtx.monkeypatch.setenv("BSM_CACHE", str(tmp_path / "file"))
    (note,) = run(rtx).notes
    assert note == (
        f"compiled kernels are not kept for the next start ({tmp_path / 'file' / 'kernels'}: Not a directory): set "
        "BSM_CACHE to a folder that can be written"
    )


def test_a_read_only_folder_is_a_note_unless_it_has_the_kernels(rtx):
    rtx.monkeypatch.setattr("os.access", lambda path, mode: False)
    (note,) = run(rtx).notes
    assert f"({cache_root() / 'kernels'}: it cannot be written)" in note and files() == []
    rtx.monkeypatch.undo()
    rtx.install()
    rtx.monkeypatch.setenv("BSM_CACHE", str(rtx.plan.with_name("cache")))
    run(rtx)
    rtx.monkeypatch.setattr("os.access", lambda path, mode: False)
    assert run(rtx).notes == []


def test_a_write_that_fails_is_a_note_and_leaves_the_old_file(rtx):
    run(rtx)
    (file,) = files()

    def full(self, target):
        raise OSError(28, "No space left on device")

    rtx.monkeypatch.setattr(Path, "replace", full)
    (note,) = run(rtx, 2).notes
    assert f"({file}: No space left on device)" in note
    assert files() == [file] and file.read_bytes() == b"13000:1x11"


def test_a_missing_platformdirs_is_a_note(rtx):
    rtx.monkeypatch.delenv("BSM_CACHE")
    rtx.monkeypatch.setitem(sys.modules, "platformdirs", None)
    (note,) = run(rtx).notes
    assert note.startswith("compiled kernels are not kept for the next start: the user's cache folder is not known: ")


def test_who_writes_at_the_same_time_leaves_one_whole_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BSM_CACHE", str(tmp_path))
    caches = []
    for i in range(8):
        cache = IRuntimeCache(CudaDouble())
        cache.kernels = {b"%d" % i * 100_000}
        caches.append((cache, KernelCache(cache, "0" * 64, "GPU")))
    threads = [threading.Thread(target=kept.save) for _, kept in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = (tmp_path / "kernels").iterdir()
    assert file.read_bytes() in [bytes(cache.serialize()) for cache, _ in caches]
    assert [kept.note for _, kept in caches] == [""] * 8


def test_what_the_bindings_serialize_to_is_bytes():
    """IHostMemory, here of a timing cache: a runtime cache needs an engine, which needs a GPU."""
    code = (
        "import tensorrt_rtx as trt\n"
        "builder = trt.Builder(trt.Logger(trt.ILogger.Severity.INTERNAL_ERROR))\n"
        "memory = builder.create_builder_config().create_timing_cache(b'').serialize()\n"
        "assert type(memory) is trt.IHostMemory and len(bytes(memory)) == memory.nbytes > 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "serialize(self: tensorrt_rtx_bindings.tensorrt_rtx.IRuntimeCache) -> "
        in (tensorrt_rtx.IRuntimeCache.serialize.__doc__)
        and "IHostMemory" in tensorrt_rtx.IRuntimeCache.serialize.__doc__
    )
