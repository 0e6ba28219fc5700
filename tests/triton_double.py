"""Triton's module `triton_python_backend_utils`, for song models outside a server: networks are Python functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

import numpy as np

TRITONSERVER_MEMORY_CPU = 0
TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    @classmethod
    def from_dlpack(cls, name: str, capsule: object) -> Tensor:
        class Exporter:
            def __dlpack__(self, **options):
                return capsule

            def __dlpack_device__(self):
                return (1, 0)

        return cls(name, np.from_dlpack(Exporter()).copy())

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class TritonError:
    def __init__(self, message: str) -> None:
        self._message = message

    def message(self) -> str:
        return self._message


class InferenceResponse:
    def __init__(self, output_tensors=(), error: TritonError | None = None) -> None:
        self.tensors = {each.name: each for each in output_tensors}
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


class PreferredMemory:
    def __init__(self, kind: int) -> None:
        self.kind = kind


def get_output_tensor_by_name(response: InferenceResponse, name: str) -> Tensor:
    return response.tensors[name]


class Request:
    """A song, as a song model gets it."""

    def __init__(self, inputs: dict[str, np.ndarray], stems: list[str], cancel_after: int | None = None) -> None:
        self.tensors = {name: Tensor(name, values) for name, values in inputs.items()}
        self._stems, self._cancel_after = stems, cancel_after
        self.sent: list[InferenceResponse] = []
        self.flags: list[int] = []

    def requested_output_names(self) -> list[str]:
        return self._stems

    def get_response_sender(self) -> Request:
        return self

    def is_cancelled(self) -> bool:
        return self._cancel_after is not None and len(self.sent) >= self._cancel_after

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        assert not self.flags, "an answer after the last one"
        if response is not None:
            self.sent.append(response)
        if flags:
            self.flags.append(flags)


def get_input_tensor_by_name(request: Request, name: str) -> Tensor:
    return request.tensors[name]


class Logger:
    errors: ClassVar[list[str]] = []

    @classmethod
    def log_error(cls, text: str) -> None:
        cls.errors.append(text)


class InferenceRequest:
    """Goes to the function `networks[model_name]`, which takes and gives arrays."""

    networks: ClassVar[dict[str, Callable[[np.ndarray], np.ndarray]]] = {}
    threads: ClassVar[set[int]] = set()

    def __init__(self, *, model_name, requested_output_names, inputs, preferred_memory) -> None:
        assert preferred_memory.kind == TRITONSERVER_MEMORY_CPU
        (self._output,), (self._tensor,) = requested_output_names, inputs
        self._model = model_name

    def exec(self) -> InferenceResponse:
        InferenceRequest.threads.add(threading.get_ident())
        if self._model not in self.networks:
            return InferenceResponse(error=TritonError(f"model {self._model} is not ready"))
        return InferenceResponse([Tensor(self._output, self.networks[self._model](self._tensor.values))])
