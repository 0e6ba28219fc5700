"""`write_repository`: what Triton is given, against the manifest, and what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import manifest_data, plan_data
from google.protobuf import text_format
from halving import halving_engine
from triton_client import model_config_pb2

from runtime.engine.manifest import EngineFile, Manifest, sha256_of
from runtime.errors import EngineError, OptionError
from runtime.serving.triton.container import LOWEST_ONNXRUNTIME, Container
from runtime.serving.triton.pbtxt import SCHEMA, pbtxt
from runtime.serving.triton.repository import write_repository

ROOT = Path(__file__).parents[4]
ORT = Container(onnxruntime="1.23.2")


def plan_engine(path: Path, flavour: str = "tensorrt", version: str = "10.13.3.9", **changes: object) -> Path:
    """A plan that no TensorRT has seen, and its manifest."""
    path.write_bytes(b"plan")
    data = plan_data(flavour)
    data["plan"] |= {"file": {"file": path.name, "bytes": 4, "sha256": sha256_of(path)}, "version": version, **changes}
    data |= {"target": "gpu", "batch": {"min": 1, "opt": 4, "max": 4}}
    path.with_suffix(".json").write_text(json.dumps(data))
    return path


def parsed(config: Path):
    return text_format.Parse(config.read_text(), model_config_pb2().ModelConfig())


@pytest.mark.parametrize("io", ["spectrum", "wave"])
def test_configurations_are_those_of_the_manifest(tmp_path, io):
    engine = halving_engine(tmp_path / "vocals.onnx", io=io)
    served, notes = write_repository(tmp_path / "repository", [engine], ORT, songs=3)
    assert ([each.name for each in served], notes) == (["vocals"], [])
    manifest = served[0].manifest
    network = parsed(tmp_path / "repository/vocals_network/config.pbtxt")
    assert (network.name, network.backend, network.default_model_filename) == (
        *("vocals_network", "onnxruntime", "vocals.onnx"),
    )
    assert network.max_batch_size == manifest.batch.max == 8
    for tensor, (config,) in ((manifest.input, network.input), (manifest.output, network.output)):
        assert config.name == tensor.name
        assert list(config.dims) == tensor.shape[1:]
        assert config.data_type == 11  # TYPE_FP32
    assert network.HasField("dynamic_batching")
    assert network.dynamic_batching.max_queue_delay_microseconds == 0
    assert network.instance_group[0].kind == 2  # KIND_CPU

    song = parsed(tmp_path / "repository/vocals/config.pbtxt")
    assert (song.name, song.backend, song.max_batch_size) == ("vocals", "python", 0)
    assert song.model_transaction_policy.decoupled
    assert [(each.name, list(each.dims)) for each in song.input] == [("AUDIO", [-1, -1]), ("SAMPLE_RATE", [1])]
    assert [each.name for each in song.output] == ["vocals", "instrumental"]
    assert song.instance_group[0].count == 3
    assert song.parameters["batch"].string_value == "1"


def test_the_files_are_whole_and_where_triton_looks(tmp_path):
    engine = halving_engine(tmp_path / "vocals.onnx")
    write_repository(tmp_path / "repository", [engine], ORT)
    repository = tmp_path / "repository"
    files = {str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file()}
    assert files == {
        *("vocals/config.pbtxt", "vocals/1/model.py", "vocals/1/manifest.json"),
        *("vocals_network/config.pbtxt", "vocals_network/1/vocals.onnx"),
    }
    assert (repository / "vocals_network/1/vocals.onnx").read_bytes() == engine.read_bytes()
    assert repository.stat().st_mode & 0o055 == 0o055  # others than the owner read it
    assert not list(tmp_path.glob(".bsm-triton-*"))
    compile((repository / "vocals/1/model.py").read_text(), "model.py", "exec")


def test_a_dynamic_axis_is_minus_one(tmp_path):
    engine = halving_engine(tmp_path / "x.onnx")
    path = engine.with_suffix(".json")
    data = json.loads(path.read_text())
    data["frames"] = {"min": 11, "opt": 11, "max": 21}
    for name in ("input", "output"):
        data[name]["shape"] = ["frames" if size == 11 else size for size in data[name]["shape"]]
    path.write_text(json.dumps(data))
    write_repository(tmp_path / "repository", [engine], ORT)
    assert "dims: -1\n  dims: 1025" in (tmp_path / "repository/x_network/config.pbtxt").read_text()


def test_a_plan_of_tensorrt(tmp_path):
    plan = plan_engine(tmp_path / "vocals.plan")
    write_repository(tmp_path / "repository", [plan], Container(tensorrt="10.13.3"))
    network = parsed(tmp_path / "repository/vocals_network/config.pbtxt")
    assert (network.platform, network.default_model_filename) == ("tensorrt_plan", "vocals.plan")
    assert network.instance_group[0].kind == 1  # KIND_GPU
    assert list(network.dynamic_batching.preferred_batch_size) == [4]


def test_several_engines_by_name(tmp_path):
    engines = [halving_engine(tmp_path / f"{name}.onnx") for name in ("a", "b")]
    served, _ = write_repository(tmp_path / "repository", engines, ORT)
    assert [each.name for each in served] == ["a", "b"]
    assert {path.name for path in (tmp_path / "repository").iterdir()} == {"a", "a_network", "b", "b_network"}


def refused(tmp_path: Path, engines: list[Path], container: Container, error: type[Exception], pattern: str) -> None:
    with pytest.raises(error, match=pattern) as raised:
        write_repository(tmp_path / "repository", engines, container)
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "repository").exists()
    assert not list(tmp_path.glob(".bsm-triton-*"))


def test_a_plan_of_tensorrt_rtx_is_refused_with_the_reason(tmp_path):
    plan = plan_engine(tmp_path / "x.plan", "tensorrt-rtx", "1.7.1.116", gpu=None, hardware=None)
    refused(tmp_path, [plan], Container(tensorrt="10.13.3"), EngineError, "TensorRT-RTX.*does not load.*x.onnx")


@pytest.mark.parametrize(
    ("container", "error", "pattern"),
    [
        (Container(), OptionError, "--tensorrt-version"),
        (Container(tensorrt="latest"), OptionError, "latest: expected a version"),
        (Container(tensorrt="10.14.1.48"), EngineError, "10.13.3.9.*10.14.1.48.*--rebuild"),
        (Container(tensorrt="10.13.2"), EngineError, "runs in the version that built it"),
    ],
)
def test_a_plan_runs_in_its_own_version(tmp_path, container, error, pattern):
    refused(tmp_path, [plan_engine(tmp_path / "x.plan")], container, error, pattern)


@pytest.mark.parametrize(("version", "runs"), [("10.14.1.48", True), ("10.9.0.34", False), ("11.4", False)])
def test_a_version_compatible_plan_runs_in_later_ones_of_its_major(tmp_path, version, runs):
    plan = plan_engine(tmp_path / "x.plan", version_compatible=True)
    if not runs:
        refused(tmp_path, [plan], Container(tensorrt=version), EngineError, "the container has")
        return
    _, (note,) = write_repository(tmp_path / "repository", [plan], Container(tensorrt=version))
    assert "--backend-config=tensorrt,version-compatible=true" in note


@pytest.mark.parametrize(
    ("container", "error", "pattern"),
    [
        (Container(), OptionError, "--onnxruntime-version"),
        (Container(onnxruntime="1.19.2"), EngineError, "needs ONNX Runtime 1.20"),
        (Container("10.13.3", "1.23.2"), OptionError, "--tensorrt-version: none of the engines is a plan"),
    ],
)
def test_an_onnx_file_and_the_onnx_runtime_of_the_container(tmp_path, container, error, pattern):
    refused(tmp_path, [halving_engine(tmp_path / "x.onnx")], container, error, pattern)


def test_the_lowest_onnx_runtime_is_the_one_that_is_tried():
    bound = re.search(r'^run = \["onnxruntime>=([\d.]+)"\]', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert tuple(map(int, bound.split("."))) == LOWEST_ONNXRUNTIME


def test_names_that_clash_or_that_triton_has_not(tmp_path):
    (tmp_path / "other").mkdir()
    same = [halving_engine(folder / "x.onnx") for folder in (tmp_path, tmp_path / "other")]
    refused(tmp_path, same, ORT, OptionError, "both would be the model x")
    refused(tmp_path, [halving_engine(tmp_path / "x y.onnx")], ORT, OptionError, "named with letters")


@pytest.mark.parametrize("first", ["x", "x_network"])
def test_a_name_that_is_the_network_of_another(tmp_path, first):
    names = [first, *{"x", "x_network"} - {first}]
    engines = [halving_engine(tmp_path / f"{name}.onnx") for name in names]
    refused(tmp_path, engines, ORT, OptionError, "both would be the model x_network")


def test_a_folder_that_is_there_stays(tmp_path):
    engine = halving_engine(tmp_path / "x.onnx")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "mine").write_text("mine")
    with pytest.raises(OptionError, match="already exists"):
        write_repository(tmp_path / "repository", [engine], ORT)
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["mine"]


def test_what_only_the_runtime_itself_runs_is_refused(tmp_path):
    engine = halving_engine(tmp_path / "x.onnx")
    path = engine.with_suffix(".json")
    manifest = Manifest.from_json(json.dumps(manifest_data()), "made")
    file = EngineFile(engine.name, engine.stat().st_size, sha256_of(engine))
    path.write_text(replace(manifest, onnx=file, precision="bf16").to_json())
    refused(tmp_path, [engine], ORT, EngineError, "bfloat16")


def test_every_field_and_value_is_one_of_tritons():
    config = model_config_pb2().ModelConfig
    types = {"string": 9, "int": (3, 4, 5), "bool": 8}  # FieldDescriptor.TYPE_*

    def held(descriptor, name: str) -> None:
        for field, kind in SCHEMA[name].items():
            found = descriptor.fields_by_name[field]
            if isinstance(kind, tuple):
                assert set(kind) <= set(found.enum_type.values_by_name), field
            elif kind in SCHEMA:
                held(found.message_type, kind)
            else:
                wanted = types[kind]
                assert found.type in (wanted if isinstance(wanted, tuple) else (wanted,)), field

    held(config.DESCRIPTOR, "ModelConfig")


@pytest.mark.parametrize(
    "config",
    [{"nmae": "x"}, {"max_batch_size": "8"}, {"max_batch_size": True}, {"instance_group": {"kind": "KIND_TPU"}}],
)
def test_what_triton_would_not_read_is_not_written(config):
    with pytest.raises(ValueError, match="has no field|expected"):
        pbtxt(config)


def test_text_is_escaped():
    assert pbtxt({"name": 'a"b\\'}) == 'name: "a\\"b\\\\"\n'
