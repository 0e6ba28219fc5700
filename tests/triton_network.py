"""The network of an engine as a model of Triton's Python backend: where a server has no backend for ONNX files."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from runtime.serving.triton.bls import array_of, tensor_of


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        (engine,) = folder.glob("*.onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["NETWORK_THREADS"])
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
        self.log = Path(os.environ["NETWORK_LOG"])
        self.name = json.loads(args["model_config"])["name"]

    def execute(self, requests):
        """All requests that Triton has gathered, as one batch; their sizes go into the log."""
        mixtures = [array_of(pb_utils.get_input_tensor_by_name(request, "mixture")) for request in requests]
        (stems,) = self.session.run(["stems"], {"mixture": np.concatenate(mixtures)})
        with self.log.open("a") as log:
            log.write(f"{self.name} {len(stems)}\n")
        ends = np.cumsum([len(mixture) for mixture in mixtures])[:-1]
        return [pb_utils.InferenceResponse([tensor_of(pb_utils, "stems", part)]) for part in np.split(stems, ends)]
