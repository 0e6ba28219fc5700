"""What can go wrong while an engine is made."""

from runtime.errors import SeparationError


class ExportError(SeparationError):
    """No engine was written; the message says why."""
