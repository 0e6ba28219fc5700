"""Published checkpoints by name: what is known of each, and how to fetch it. Needs no PyTorch."""

from bsmamba2.catalogue.entries import Entry, entries, entry_named, entry_of

__all__ = ["Entry", "entries", "entry_named", "entry_of"]
