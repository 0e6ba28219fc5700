"""What Triton's Python backend runs as a song model: chunks, STFT and seams are those of `bsm-run`."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engine.manifest import Manifest
from runtime.errors import OptionError, SeparationError
from runtime.separation.separator import BLOCK, Separator
from runtime.serving.triton.bls import TritonBackend, array_of, tensor_of
from runtime.serving.triton.models import AUDIO, SAMPLE_RATE, network_name
from runtime.serving.triton.repository import MANIFEST


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


# The `parameters` of its config.pbtxt: keywords of `Separator`, each with what reads its value.
OPTIONS: dict[str, Callable[[str], Any]] = {
    **{"batch": int, "threads": int, "overlap": float},
    **{"tta": _flag, "shifts": int, "procedure": str},
}


class SongModel:
    """One instance: a process of its own that separates one song at a time. Triton calls its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """`args` are Triton's: folder, version and configuration of this model. Raises SeparationError."""
        self._utils: Any = import_module("triton_python_backend_utils")  # only there, inside the server
        config = json.loads(args["model_config"])
        path = Path(args["model_repository"]) / args["model_version"] / MANIFEST
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"), str(path))
        depth, options = options_of(config)
        backend = TritonBackend(self._utils, network_name(config["name"]), manifest, depth)
        self._separator = Separator(backend, manifest, **options)

    def execute(self, requests: list[Any]) -> None:
        """Answers each request in pieces, and says when it is done."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._separate(request, sender)
            except SeparationError as error:
                self._fail(sender, str(error))
            except Exception as error:  # the server and its other songs go on
                self._utils.Logger.log_error(traceback.format_exc())
                self._fail(sender, f"internal error, please report it: {type(error).__name__}: {error}")
            finally:
                sender.send(flags=self._utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def finalize(self) -> None:
        self._separator.close()

    def _separate(self, request: Any, sender: Any) -> None:
        utils = self._utils
        audio = array_of(utils.get_input_tensor_by_name(request, AUDIO))
        rate = int(array_of(utils.get_input_tensor_by_name(request, SAMPLE_RATE))[0])
        wanted = set(request.requested_output_names())
        stems = [stem for stem in self._separator.stems if stem in wanted]
        blocks = (audio[:, at : at + BLOCK] for at in range(0, audio.shape[1], BLOCK))
        with closing(self._separator.stream(blocks, rate, audio.shape[0], stems)) as ready:
            for piece in ready:
                if sender.is_cancelled():  # the client has gone
                    return
                tensors = [tensor_of(utils, stem, wave.astype(np.float32, copy=False)) for stem, wave in piece.items()]
                sender.send(utils.InferenceResponse(output_tensors=tensors))

    def _fail(self, sender: Any, message: str) -> None:
        sender.send(self._utils.InferenceResponse(error=self._utils.TritonError(message)))


def options_of(config: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The depth of the backend and the keywords of `Separator` in a model's configuration. Raises OptionError."""
    options: dict[str, Any] = {}
    readers: dict[str, Callable[[str], Any]] = {**OPTIONS, "depth": int}
    for key, value in config["parameters"].items():
        text = value["string_value"]
        try:
            options[key] = readers[key](text)
        except (KeyError, ValueError) as error:
            known = ", ".join(readers)
            raise OptionError(
                f"{config['name']}: config.pbtxt has the parameter {key} {text!r}: expected {known}, with their values"
            ) from error
    depth = options.pop("depth", 0)
    if depth < 1:
        raise OptionError(f"{config['name']}: config.pbtxt needs the parameter depth, 1 or more")
    return depth, options
