"""Errors of this package."""

from __future__ import annotations


class BsmambaError(Exception):
    """An error that the user can fix. The message says what was found, what was expected and what to do."""


class ConfigError(BsmambaError):
    """Sizes or settings that do not describe a network."""


class CheckpointError(BsmambaError):
    """A file that is not a checkpoint, is not safe to read, or does not fit its configuration."""


class ScanError(BsmambaError):
    """A form of the scan that does not exist or cannot run here."""


class DataError(BsmambaError):
    """Training songs that cannot be used."""


class DownloadError(BsmambaError):
    """A checkpoint of the catalogue cannot be fetched, or a file in its place is another one."""
