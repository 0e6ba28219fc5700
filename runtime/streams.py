"""Standard output and standard error of a command, also when nobody reads them any more."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

STDOUT, STDERR = 1, 2  # their descriptors


class LastingStream(io.FileIO):
    """A standard stream that drops what is written once its reader is gone, so that the command can finish its work.

    Where standard output cannot be written for another reason, such as a full disk, that is an OSError whose file is
    "standard output": once, since what follows is dropped. Standard error drops it: there is no place to say so.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        # How a write says that the reader is gone: the process at the end of a pipe, or a terminal that was closed.
        self._gone = {errno.EPIPE} | ({errno.EIO} if self.isatty() else set())
        if os.name == "nt":
            self._gone.add(errno.EINVAL)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self.fileno() == STDERR or error.errno in self._gone:
                return len(data)
            raise OSError(error.errno, error.strerror, "standard output") from error


def make_streams_lasting() -> None:
    """Replace `sys.stdout` and `sys.stderr` by lasting streams, which show each line at once."""
    for attribute, descriptor in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = getattr(sys, attribute)
        if stream is None or (os.name == "nt" and stream.isatty()):  # closed; a console, which takes more than bytes
            continue
        stream.flush()
        binary = io.BufferedWriter(LastingStream(descriptor))
        setattr(sys, attribute, io.TextIOWrapper(binary, stream.encoding, stream.errors, line_buffering=True))
