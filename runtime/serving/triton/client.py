"""`bsm-run MODEL SONG --triton-client HOST:PORT`: songs through a Triton server that holds the engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError, EngineError, OptionError
from runtime.separation.procedure import PROCEDURES
from runtime.separation.separator import check_rate
from runtime.separation.timing import StageTimes
from runtime.serving.triton.models import AUDIO, SAMPLE_RATE

Samples = NDArray[np.floating[Any]]
MOST_BYTES = (1 << 31) - (1 << 20)  # gRPC's largest message, without what goes around the samples
PATIENCE = 20.0  # s, for the server's first answers
# Keywords of `open_separator` by which a song is separated: here they are the server's, where it has them.
AT_SERVER = {
    **{
        "overlap": None,
        "batch": None,
        "threads": None,
        "device": "auto",
        "precision_hint": None,
        "tta": False,
        "shifts": 1,
    },
    "procedure": PROCEDURES[0],
}
REMEDY = "pip install 'bsmamba2[triton-client]'"


@dataclass
class Server:
    """What the song model runs in."""

    name: str
    notes: list[str] = field(default_factory=list)


def open_triton(address: str, model: str, **options: Any) -> TritonSeparator:
    """The separator at `address`; `options` are those of `open_separator`, at their defaults. Raises OptionError."""
    for name, value in options.items():
        if value != AT_SERVER[name]:
            raise OptionError(
                f"--{name}: is chosen at the server, in config.pbtxt of {model}: leave it out with --triton-client"
            )
    return TritonSeparator(address, model)


class TritonSeparator:
    """Separates songs with the song model `model` of the Triton server at `address`, over gRPC.

    Has the part of `Separator` that files of songs need (`SongSeparator`). A song is sent whole: it is in memory once
    here and once there. Raises OptionError, EngineError.
    """

    def __init__(self, address: str, model: str) -> None:
        grpc, error = _tritonclient()
        self._grpc, self._error = grpc, error
        self._address, self._model = address, model
        self._client = grpc.InferenceServerClient(address)
        self.times = StageTimes()
        try:
            config = self._client.get_model_config(model, client_timeout=PATIENCE).config
            version = self._client.get_server_metadata(client_timeout=PATIENCE).version
        except error as cause:
            self.close()
            raise EngineError(f"{address}: {_reason(cause)}: is this the gRPC port, and {model} loaded?") from cause
        if not config.model_transaction_policy.decoupled or [each.name for each in config.input] != [
            AUDIO,
            SAMPLE_RATE,
        ]:
            self.close()
            raise EngineError(f"{address}: {model} takes no songs: expected a model that bsm-export --triton wrote")
        self.stems = [each.name for each in config.output]
        self.backend = Server(f"Triton {version} at {address}")

    def stream(
        self,
        blocks: Iterable[Samples],
        sample_rate: int,
        channels: int,
        stems: list[str] | None = None,
        progress: Callable[[int], None] | None = None,
        pairs: bool = False,
    ) -> Generator[dict[str, Samples], None, None]:
        """As `Separator.stream`, but all blocks are taken before the first stems come, and all is float32."""
        if channels not in (1, 2):
            raise OptionError(f"{channels} channels: through Triton expected 1 or 2: separate the song without")
        check_rate(sample_rate)
        wanted = self.stems if stems is None else stems
        return self._stream(blocks, sample_rate, wanted, progress or (lambda done: None))

    def _stream(
        self, blocks: Iterable[Samples], rate: int, stems: list[str], progress: Callable[[int], None]
    ) -> Generator[dict[str, Samples], None, None]:
        song = _whole(blocks)
        answers: SimpleQueue[Any] = SimpleQueue()
        done = 0
        with self.times.stage("engine"):
            self._client.start_stream(lambda result, error: answers.put((result, error)))
        finished = False
        try:
            with self.times.stage("engine"):
                self._send(song, rate, stems)
            for result in self._results(answers):
                piece: dict[str, Samples] = {stem: result.as_numpy(stem) for stem in stems}
                done += piece[stems[0]].shape[1]
                progress(done)
                yield piece
            finished = True
        finally:
            self._client.stop_stream(cancel_requests=not finished)
        if done != song.shape[1]:
            raise EngineError(f"{self._address}: {self._model} gave {done} of {song.shape[1]} samples: see its log")

    def _send(self, song: NDArray[np.float32], rate: int, stems: list[str]) -> None:
        inputs = []
        for name, values, kind in ((AUDIO, song, "FP32"), (SAMPLE_RATE, np.array([rate], np.int32), "INT32")):
            each = self._grpc.InferInput(name, values.shape, kind)
            each.set_data_from_numpy(values)
            inputs.append(each)
        outputs = [self._grpc.InferRequestedOutput(stem) for stem in stems]
        self._client.async_stream_infer(self._model, inputs, outputs=outputs, enable_empty_final_response=True)

    def _results(self, answers: SimpleQueue[Any]) -> Iterator[Any]:
        """The answers with stems, until the last one. Raises EngineError."""
        while True:
            with self.times.stage("engine"):
                result, error = answers.get()
            if error is not None:
                raise EngineError(f"{self._model} at {self._address}: {_reason(error)}")
            response = result.get_response()
            if response.outputs:
                yield result
            if response.parameters["triton_final_response"].bool_param:
                return

    def close(self) -> None:
        self._client.close()


def _whole(blocks: Iterable[Samples]) -> NDArray[np.float32]:
    """The song [c, samples]. Raises AudioError for one that does not fit into a message, while it is read."""
    read: list[NDArray[np.float32]] = []
    size = 0
    for block in blocks:
        read.append(np.asarray(block, np.float32))
        size += read[-1].nbytes
        if size > MOST_BYTES:
            raise AudioError(
                f"the song has more than {MOST_BYTES >> 20} MB of samples, which is all that one request to Triton "
                "holds: cut it, or separate it without --triton-client"
            )
    if not size:
        raise OptionError("audio contains no samples")
    return np.concatenate(read, axis=1)


def _tritonclient() -> tuple[Any, type[Exception]]:
    """The gRPC client and its exception. Raises EngineError if they are not installed."""
    try:
        from tritonclient import grpc
        from tritonclient.utils import InferenceServerException
    except ImportError as error:
        raise EngineError(f"tritonclient cannot be loaded ({error}): {REMEDY}") from error
    return grpc, InferenceServerException


def _reason(error: Exception) -> str:
    """Its first line: gRPC's other lines say where in its own code."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
