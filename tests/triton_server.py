"""The Triton server in the package nvidia-pytriton, which has the Python backend and no other.

`make triton-server` installs it into an environment of its own, `build/triton-server`, as it needs NumPy 1.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[1] / "build" / "triton-server"
PYTHON = ENVIRONMENT / "bin" / "python"
ASK = """
import json, sys, sysconfig
from pathlib import Path
import pytriton
print(json.dumps([str(Path(pytriton.__file__).parent / "tritonserver"), sysconfig.get_config_var("LIBDIR")]))
"""
NETWORK = Path(__file__).with_name("triton_network.py")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def stand_in(repository: Path) -> None:
    """Let the Python backend run the networks of `repository`: the rest of their configuration stays as it is."""
    for config in repository.glob("*_network/config.pbtxt"):
        lines = config.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("default_model_filename")]
        config.write_text("".join(kept).replace('backend: "onnxruntime"', 'backend: "python"'))
        shutil.copy(NETWORK, config.parent / "1" / "model.py")


def run_there(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYTHON, *map(str, args)], capture_output=True, text=True, cwd="/")


@contextmanager
def triton_server(repository: Path, folder: Path, threads: int = 1) -> Iterator[str]:
    """The gRPC address of a server with the models of `repository`, ended whatever happens.

    `folder` gets its log, and batches.log: a line for each run of a network, with its name and the batch.
    """
    import json

    home, libraries = map(Path, json.loads(run_there("-c", ASK).stdout))
    backends = folder / "backends"
    shutil.copytree(home / "backends" / "python", backends / "python")
    version = run_there("-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
    shutil.copy(home / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    packages = home.parents[1]
    environment = {
        **os.environ,
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(packages),
        # Without the interpreter's own library the stub may take another Python of the machine.
        "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:{libraries}",
        "NETWORK_THREADS": str(threads),
        "NETWORK_LOG": str(folder / "batches.log"),
    }
    http, grpc = free_ports(2)
    command = [home / "bin" / "tritonserver", "--model-repository", repository, "--backend-directory", backends]
    command += ["--cache-directory", home / "caches", "--allow-metrics", "false"]
    command += ["--http-address", "127.0.0.1", "--http-port", str(http)]
    command += ["--grpc-address", "127.0.0.1", "--grpc-port", str(grpc)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(server, grpc, folder / "server.log")
            yield f"127.0.0.1:{grpc}"
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 60) -> None:
    """Triton opens its ports when all models are loaded, or ends."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as each:
            if each.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text()[-3000:]}")
