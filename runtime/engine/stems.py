"""The stems that an engine can give: its network's own, and the rest of the song without one of them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.engine.manifest import Manifest

VOCALS = "vocals"
INSTRUMENTAL = "instrumental"  # the mixture without the vocals


def usual_rest(stems: Sequence[str]) -> str | None:
    """The usual name of the rest of a song that a network of these `stems` leaves, or None if it has none.

    A network of one stem leaves "instrumental" (of vocals), "vocals" (of instrumental) or "no_<stem>" (of others). A
    network of several stems leaves "instrumental" if it has vocals but no instrumental.
    """
    stems = [stem.lower() for stem in stems]
    if len(stems) == 1:
        return {VOCALS: INSTRUMENTAL, INSTRUMENTAL: VOCALS}.get(stems[0], f"no_{stems[0]}")
    return INSTRUMENTAL if VOCALS in stems and INSTRUMENTAL not in stems else None


def remainder_of(manifest: Manifest) -> tuple[str, str] | None:
    """The name of the rest of a song and the network's stem that it lacks, or None if it has no name."""
    if manifest.rest is None:
        return None
    return manifest.rest, VOCALS if len(manifest.stems) > 1 else manifest.stems[0]


def stems_of(manifest: Manifest) -> list[str]:
    """The network's stems, then the one that `remainder_of` names."""
    remainder = remainder_of(manifest)
    return [*manifest.stems, remainder[0]] if remainder is not None else manifest.stems
