"""Everything that can go wrong between an engine, a song and its stems.

Each message says what was found, what was expected and what to do. Commands print it as one line and exit with 2.
"""

from __future__ import annotations


class SeparationError(Exception):
    """Base class of this package's errors."""


class ManifestError(SeparationError):
    """An engine's manifest is missing, invalid, outdated or belongs to another engine."""


class EngineError(SeparationError):
    """An engine cannot be opened or run here."""


class NumericsError(EngineError):
    """An engine returned NaN or Inf, which is never turned into silence."""


class AudioError(SeparationError):
    """A song cannot be read, or a file cannot be written."""


class OptionError(SeparationError):
    """An option or argument has an invalid value."""
