"""The stems that an engine can give: its network's own, and the rest of the song without one of them."""

from __future__ import annotations

VOCALS = "vocals"
INSTRUMENTAL = "instrumental"  # the mixture without the vocals


def remainder_of(network: list[str]) -> tuple[str, str] | None:
    """The name of the rest of a song and the network's stem that it lacks, or None if it has no common name.

    A network of one stem leaves "instrumental" (of vocals), "vocals" (of instrumental) or "no_<stem>" (of others). A
    network of several stems leaves "instrumental" if it has vocals but no instrumental.
    """
    if len(network) == 1:
        (stem,) = network
        return {VOCALS: INSTRUMENTAL, INSTRUMENTAL: VOCALS}.get(stem, f"no_{stem}"), stem
    return (INSTRUMENTAL, VOCALS) if VOCALS in network and INSTRUMENTAL not in network else None


def stems_of(network: list[str]) -> list[str]:
    """The network's stems, then the one that `remainder_of` names."""
    remainder = remainder_of(network)
    return [*network, remainder[0]] if remainder is not None else network
