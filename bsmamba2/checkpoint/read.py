"""From an untrusted file to plain Python: dicts, lists, numbers, strings and tensors. Nothing is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from bsmamba2.errors import CheckpointError

# Classes whose objects an honest training run leaves in its checkpoint. They are never imported: a `StandIn`
# takes what was stored in them. Everything else that PyTorch's weights-only reader does not know is refused.
HARMLESS = (
    "omegaconf.",
    "typing.",
    "pathlib.",
    "numpy.",
    "lightning.",
    "lightning_fabric.",
    "pytorch_lightning.",
    "torchmetrics.",
    "collections.defaultdict",
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "int", "float", "str", "bool", "bytes")),
)


class StandIn:
    """Holds what was stored in an object of a foreign class, and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}  # for collections.defaultdict, whose factory must not be called


def read_tensors_and_config(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What the file holds, and the string metadata of a safetensors file ({} for the others).

    Recognised by content: safetensors, or what torch.save wrote. Raises CheckpointError.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _read_torch(path), {}
    found = "an empty file" if not head else f"a file that starts with {head[:8]!r}"
    raise CheckpointError(f"{path}: {found}: expected a PyTorch checkpoint or a safetensors file")


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return dict(load_file(path)), metadata
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error}): fetch or save it again") from error


def _read_torch(path: Path) -> dict[str, Any]:
    """torch.save's file through PyTorch's weights-only reader, with stand-ins for `HARMLESS` classes."""
    archive = True
    try:
        names = get_unsafe_globals_in_checkpoint(str(path))
    except ValueError:  # the format before PyTorch 1.6, or TorchScript: the weights-only reader decides alone
        names, archive = [], False
    except Exception as error:  # any byte may be wrong in a damaged pickle
        raise _damaged(path, error) from error
    dangerous = sorted(name for name in names if not name.startswith(HARMLESS))
    if dangerous:
        raise CheckpointError(
            f"{path}: refused, nothing was executed: reading it would call {', '.join(dangerous[:5])}, which no "
            "checkpoint needs. If you trust its origin, load it there and save the state_dict alone"
        )
    stand_ins: list[Any] = [(_plain_dict if name == "collections.defaultdict" else StandIn, name) for name in names]
    try:
        with safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        reason = str(error).replace("\n", " ")
        raise CheckpointError(f"{path}: refused, nothing was executed: {_reason(reason)}") from error
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}: expected a dict of tensors")
    return dict(content)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return CheckpointError(f"{path}: damaged or not a checkpoint ({reason[0][:200]}): fetch or save it again")


def _reason(message: str) -> str:
    """The part of PyTorch's long advice that names what was found."""
    for start in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL "):
        if start in message:
            return f"reading it would call {message.split(start)[1].split(' ')[0]}, which no checkpoint needs"
    return message.split("WeightsUnpickler error:")[-1].strip()[:200]


def plain(value: Any) -> Any:
    """A pickled omegaconf config as dicts, lists and values; anything else as it is.

    Interpolations that name another key ("${model.dim}") are followed; others stay strings.
    """
    root = _unwrapped(value)
    return _interpolated(root, root, depth=0)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, StandIn):
        state = value.state if isinstance(value.state, Mapping) else {}
        return _unwrapped(state.get("_content", state.get("_val")))
    if isinstance(value, Mapping):
        return {str(key): _unwrapped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrapped(item) for item in value]
    return value


def _interpolated(value: Any, root: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(item, root, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, root, depth) for item in value]
    if isinstance(value, str) and value.startswith("${") and value.endswith("}") and depth < 8:
        found = root
        for key in value[2:-1].split("."):
            if not isinstance(found, dict) or key not in found:
                return value
            found = found[key]
        return _interpolated(found, root, depth + 1)
    return value
