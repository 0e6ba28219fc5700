"""What can be wrong with a checkpoint or its configuration."""

from __future__ import annotations


class BsmambaError(Exception):
    """A mistake the user can mend; the message says what was found, what was expected and what to do."""


class ConfigError(BsmambaError):
    """Sizes or settings that do not describe a network."""


class CheckpointError(BsmambaError):
    """A file that is not a checkpoint, is not safe to read, or does not fit its configuration."""


class ScanError(BsmambaError):
    """A form of the scan that is not known or cannot run here."""


class DataError(BsmambaError):
    """Songs to train on that cannot be used."""
