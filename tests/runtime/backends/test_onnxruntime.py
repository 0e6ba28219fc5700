"""The ONNX Runtime backend opens only an engine that is what its manifest says."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from runtime import EngineError, ManifestError, OptionError, open_separator
from runtime.backends import onnxruntime as module
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.engine.manifest import sha256_of
from runtime.engine.reading import manifest_path


def rewrite(engine: Path, change) -> None:
    """Change the manifest, keeping its description of the file true."""
    data = json.loads(manifest_path(engine).read_text())
    change(data)
    data["onnx"] |= {"bytes": engine.stat().st_size, "sha256": sha256_of(engine)}
    manifest_path(engine).write_text(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["stft"].update(sample_rate=48000),
        lambda data: data["model"].update(stems=["drums"]),
        lambda data: data["parity"].update(max_error=0.0),
        lambda data: data["batch"].update(max=4000),
        lambda data: data["checkpoint"].update(sha256="1" * 64),
    ],
)
def test_an_edited_manifest_is_refused(engine, change):
    open_separator(engine)
    rewrite(engine, change)
    with pytest.raises(ManifestError, match="the manifest beside it is not the one it was exported with"):
        open_separator(engine)


def test_shapes_the_engine_does_not_have_are_refused(engine):
    def longer(data):
        data["frames"] = {"min": 99, "opt": 99, "max": 99}
        data["input"]["shape"][1] = data["output"]["shape"][2] = 99

    rewrite(engine, longer)
    with pytest.raises(EngineError, match=r"has mixture tensor\(float\) .* its manifest says mixture float32"):
        open_separator(engine)


def test_an_engine_without_its_copy_of_the_manifest_is_refused(engine):
    model = onnx.load(engine)
    del model.metadata_props[:]
    onnx.save(model, engine)
    rewrite(engine, lambda data: None)
    with pytest.raises(ManifestError, match="not the one it was exported with"):
        open_separator(engine)


def test_a_file_that_is_no_onnx_is_refused(engine):
    engine.write_bytes(b"not an engine at all")
    rewrite(engine, lambda data: None)
    with pytest.raises(EngineError, match=r"x\.onnx: ONNX Runtime cannot open it"):
        open_separator(engine)


@pytest.mark.parametrize("threads", [0, -1, 1025, 99999999999])
def test_impossible_threads_are_refused(engine, threads):
    with pytest.raises(OptionError, match=f"^--threads {threads}: must be between 1 and 1024$"):
        OnnxRuntimeBackend(engine, threads)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads cannot be counted here")
@pytest.mark.parametrize("allowed", [1, 3])
def test_it_has_as_many_threads_as_the_process_may_use(engine, monkeypatch, allowed):
    """Also more than there are cores: the number is what counts, not the machine's."""
    monkeypatch.setattr(module, "default_threads", lambda: allowed)

    def started(threads):
        before = len(list(Path("/proc/self/task").iterdir()))
        session = OnnxRuntimeBackend(engine, threads)
        return session, len(list(Path("/proc/self/task").iterdir())) - before

    assert started(None)[1] == allowed - 1  # the one that calls it computes, too
    assert started(2)[1] == 1


def test_threads_without_work_sleep():
    options = module.session_options(2)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_failing_run_does_not_move_to_another_provider(engine):
    assert not OnnxRuntimeBackend(engine, None)._session._enable_fallback
