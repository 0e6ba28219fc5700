"""From an untrusted file to dicts, lists, numbers, strings and tensors. Nothing in the file is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from bsmamba2.checkpoint.content import SAFETENSORS, kind_of
from bsmamba2.errors import CheckpointError

# Classes whose objects normal training runs leave in their checkpoints. They are never imported: a `StandIn` receives
# their data. Everything else that PyTorch's weights-only reader does not know is refused.
HARMLESS = (
    "omegaconf.",
    "typing.",
    "pathlib.",
    "numpy.",
    "lightning.",
    "lightning_fabric.",
    "pytorch_lightning.",
    "torchmetrics.",
    "argparse.Namespace",
    "datetime.",
    "collections.defaultdict",
    "torch._C._nn.gelu",  # an entry beside the tensors of an FNO network, which is refused by its name
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "int", "float", "str", "bool", "bytes")),
)


class StandIn:
    """Receives the data of an object of a foreign class, and does nothing. Each such class gets its own subclass."""

    stands_for = "an unknown class"

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class DictStandIn:
    """For foreign dict classes: creates a plain dict, as PyTorch's reader can fill only these."""

    def __new__(cls, *args: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


# Classes among these that are dicts.
DICTS = ("collections.defaultdict", "AttributeDict")


def read_tensors_and_config(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The content of the file, and the metadata of a safetensors file ({} for others).

    Raises CheckpointError.
    """
    return _read_safetensors(path) if kind_of(path) == SAFETENSORS else (_read_torch(path), {})


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return dict(load_file(path)), metadata
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: the safetensors file is damaged or incomplete ({error}): download or save it again"
        ) from error


def _read_torch(path: Path) -> dict[str, Any]:
    """Read a file of torch.save by PyTorch's weights-only reader, with stand-ins for `HARMLESS` classes."""
    archive = True
    try:
        names = get_unsafe_globals_in_checkpoint(str(path))
    except ValueError:  # the format before PyTorch 1.6, or TorchScript: the weights-only reader decides
        names, archive = [], False
    except Exception as error:  # any byte may be wrong in a damaged pickle
        raise _damaged(path, error) from error
    dangerous = sorted(name for name in names if not name.startswith(HARMLESS))
    if dangerous:
        raise CheckpointError(
            f"{path}: refused, nothing was executed: it contains Python objects that would run code: "
            f"{', '.join(dangerous[:5])}. If you trust the file, load it where it was made and save its state_dict only"
        )
    stand_ins: list[Any] = [
        (DictStandIn if name.endswith(DICTS) else type("StandIn", (StandIn,), {"stands_for": name}), name)
        for name in names
    ]
    try:
        with safe_globals(stand_ins):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: refused, nothing was executed: {_reason(str(error))}") from error
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: contains a {type(content).__name__}: expected a dict of tensors (a state_dict)")
    return dict(content)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].split(". ")[0][:200]  # general advice follows
    return CheckpointError(f"{path}: the file is damaged or incomplete ({reason}): download or save it again")


def _reason(message: str) -> str:
    """The part of PyTorch's long advice that names what was found."""
    message = message.replace("\n", " ")
    for start in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL "):
        if start in message:
            return f"it contains the Python object {message.split(start)[1].split(' ')[0]}, which would run code"
    reason = message.split("WeightsUnpickler error:")[-1].split("Check the documentation")[0].strip()
    return f"it holds more than tensors and plain values ({reason[:200]})"


MOST_ITEMS, DEEPEST = 20_000, 32  # of a configuration


def plain(value: Any) -> Any:
    """A pickled omegaconf configuration as dicts, lists and values; other values unchanged.

    Interpolations of another key ("${model.dim}") are resolved; others stay strings. Raises CheckpointError for a
    structure too large or too deep to be a configuration.
    """
    root = _unwrapped(value, _Budget(), 0)
    return _interpolated(root, root)


class _Budget:
    """Limits the items visited: shared parts of a pickle are visited every time they occur."""

    def __init__(self) -> None:
        self.items = 0

    def take(self, depth: int) -> None:
        self.items += 1
        if self.items > MOST_ITEMS or depth > DEEPEST:
            raise CheckpointError("its hyper_parameters are too large or too deep for a configuration")


def _unwrapped(value: Any, budget: _Budget, depth: int) -> Any:
    budget.take(depth)
    if isinstance(value, StandIn):
        state = value.state if isinstance(value.state, Mapping) else {}
        return _unwrapped(state.get("_content", state.get("_val")), budget, depth + 1)
    if isinstance(value, Mapping):
        return {str(key): _unwrapped(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrapped(item, budget, depth + 1) for item in value]
    return value


def _interpolated(value: Any, root: Any) -> Any:
    """`value` with its interpolations resolved, at most eight in a chain."""
    if isinstance(value, dict):
        return {key: _interpolated(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item, root) for item in value]
    found = value
    for _ in range(8):
        if not (isinstance(found, str) and found.startswith("${") and found.endswith("}")):
            break
        path, found = found[2:-1].split("."), root
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(found, dict | list) or found is None else found
