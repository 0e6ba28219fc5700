"""Where the network's tensors are in a checkpoint's content, and which copy to use if there are several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bsmamba2.checkpoint.forks import fork_of_tensors, refused
from bsmamba2.checkpoint.infer import FIRST
from bsmamba2.errors import CheckpointError

# Keys of the trained weights in published files, in order of preference; other keys come last.
USUAL_KEYS = ("state_dict", "state", "model_state_dict", "model", "")
USUAL_PREFIXES = ("", "model.")  # the same for several copies in one mapping
TRAINING_ONLY = ("featurizer.", "inverse_featurizer.", "multi_featurizer.")  # STFT windows of the official code
LISTED = 8  # keys shown in an error
LONGEST_NAME = 60  # characters


@dataclass(frozen=True)
class Place:
    """A copy of the network in a checkpoint's content."""

    key: str  # of the mapping that holds it; "" for the top level
    prefix: str  # before every parameter's name, added by Lightning, DDP or torch.compile
    entries: Mapping[Any, Any]

    @property
    def name(self) -> str:
        """Its name for `--weights`."""
        return ".".join(part for part in (self.key, self.prefix.strip(".")) if part) or "state_dict"


def locate(content: Mapping[str, Any], wanted: str | None, path: Path) -> tuple[Place, list[str]]:
    """The copy called `wanted`, or the trained weights for None, and notes for the user.

    Looks at the top level and one level below it. Raises CheckpointError if there is no copy, or if it is not clear
    which one is meant.
    """
    places = list(_places(content))
    if not places:
        below = [value for value in content.values() if isinstance(value, Mapping)]
        fork = fork_of_tensors(str(name) for entries in (content, *below) for name in entries)
        if fork is not None:
            raise CheckpointError(f"{path}: {refused(fork)}")
        raise CheckpointError(
            f"{path}: no tensor is named {FIRST}, neither at the top level nor one level below it (keys: "
            f"{_listed(content)}): this is not a checkpoint of BSMamba2 or BS-RoFormer with the official names"
        )
    if wanted is not None:
        return _called(wanted, places, path), []
    if len(places) == 1:
        place = places[0]
        return place, [] if place.key in USUAL_KEYS else [
            f"weights read from {place.name!r}, the only ones in the file"
        ]
    usual = [each for each in places if each.key in USUAL_KEYS and _is_usual(each, places)]
    first = min((USUAL_KEYS.index(each.key) for each in usual), default=None)
    usual = [each for each in usual if USUAL_KEYS.index(each.key) == first]
    if len(usual) != 1:
        raise CheckpointError(f"{path}: {_choice(places)}")
    (place,) = usual
    others = ", ".join(each.name for each in places if each is not place)
    return place, [f"weights read from {place.name!r}; others in the file, for --weights: {others}"]


def averaged(content: Mapping[str, Any], path: Path) -> Place | None:
    """The copy with "ema" in its name, if there is one. Raises CheckpointError if there are several."""
    found = [each for each in _places(content) if "ema" in re.split(r"[._]", each.name.lower())]
    if len(found) > 1:
        raise CheckpointError(f"{path}: {_choice(found)}")
    return found[0] if found else None


def tensors_of(place: Place, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The network's tensors without their prefix, and the names of ignored entries.

    If there is a prefix, entries without it belong to the training and are ignored, as in the official loader. Raises
    CheckpointError for an entry of the network that is not a tensor.
    """
    out, ignored = {}, []
    for key, value in place.entries.items():
        if place.prefix and not str(key).startswith(place.prefix):
            if not str(key).startswith(TRAINING_ONLY):
                ignored.append(str(key)[:LONGEST_NAME])
            continue
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: entry {str(key)[:LONGEST_NAME]!r} is {_kind(value)}: expected tensors only")
        if not key.startswith(TRAINING_ONLY):
            out[key.removeprefix(place.prefix)] = value.detach()
    return out, ignored


def _places(content: Mapping[str, Any]) -> Iterable[Place]:
    below = [(str(key), value) for key, value in content.items() if isinstance(value, Mapping)]
    for key, entries in (("", content), *below):
        for entry in entries:
            if isinstance(entry, str) and entry.endswith(FIRST):
                yield Place(key, entry.removesuffix(FIRST), entries)


def _is_usual(place: Place, places: list[Place]) -> bool:
    beside = [each for each in places if each.entries is place.entries]
    return len(beside) == 1 or place.prefix in USUAL_PREFIXES


def _called(wanted: str, places: list[Place], path: Path) -> Place:
    found = [each for each in places if wanted in (each.name, each.key, each.prefix.strip("."))]
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"{path}: {_choice(found)}")
    names = ["raw", *(each.name[:LONGEST_NAME] for each in places[:LISTED] if len(places) > 1)]
    raise CheckpointError(f"{path}: has no weights called {wanted[:LONGEST_NAME]!r}: expected {', '.join(names)}")


def _choice(places: list[Place]) -> str:
    names = [each.name[:LONGEST_NAME] for each in places[:LISTED]]
    return f"holds {len(places)} copies of the weights ({', '.join(names)}): choose one, such as --weights {names[0]}"


def _kind(value: Any) -> str:
    """A description of an entry, for errors."""
    name: str = getattr(value, "stands_for", type(value).__name__)
    return "a NumPy array" if name.startswith("numpy.") and name.endswith("_reconstruct") else f"of type {name}"


def _listed(content: Mapping[str, Any]) -> str:
    shown = [str(key)[:LONGEST_NAME] for key in list(content)[:LISTED]]
    more = len(content) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more} more" if more else "")
