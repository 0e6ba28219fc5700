"""Errors of an export."""

from runtime.errors import SeparationError


class ExportError(SeparationError):
    """No engine was written. The message says why."""
