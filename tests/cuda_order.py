"""The order of work on streams, as CUDA promises it, and no better.

Work runs only when a wait of the host needs it: what is before it on its stream, and on other streams what that waits
for. So whoever lacks a wait finds the result missing. And each access to memory is compared with those before it: if
one of two writes, and no wait orders them, that is an AssertionError, in whichever order they happen to run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

Work = Callable[[], None]
Clock = dict[int, int]  # stream -> how much of its work, counted from the first, is done before


@dataclass(frozen=True)
class Use:
    """Work, and the addresses of all memory that it reads and writes."""

    work: Work
    reads: Collection[int] = ()
    writes: Collection[int] = ()


@dataclass(frozen=True)
class Mark:
    """What an event stands for since it was recorded: all work that its stream was given before."""

    stream: int
    clock: Clock


class Order:
    def __init__(self) -> None:
        self._queues: dict[int, deque[tuple[int, Work]]] = {}
        self._clocks: dict[int, Clock] = {}  # of each stream: what is done before the next work on it
        self._host: Clock = {}  # what the host has waited for
        self._written: dict[int, tuple[int, int]] = {}  # address -> (stream, number) of the last write
        self._read: dict[int, Clock] = {}  # address -> the last reads since then

    def add(self, stream: int) -> None:
        self._queues[stream], self._clocks[stream] = deque(), {stream: 0}

    def put(self, stream: int, use: Use) -> None:
        """Last on the stream."""
        clock = self._known(stream)
        number = clock[stream] = clock[stream] + 1
        for address in {*use.reads, *use.writes}:
            before: Clock = {}
            if address in self._written:
                _merge(before, dict([self._written[address]]))
            if address in use.writes:
                _merge(before, self._read.get(address, {}))
            for other, at in before.items():
                assert other == stream or clock.get(other, 0) >= at, (
                    f"memory {address:#x} is used on stream {stream:#x} without a wait for stream {other:#x}"
                )
        for address in use.reads:
            self._read.setdefault(address, {})[stream] = number
        for address in use.writes:
            self._written[address] = stream, number
            self._read[address] = {}
        self._queues[stream].append((number, use.work))

    def mark(self, stream: int) -> Mark:
        return Mark(stream, dict(self._known(stream)))

    def wait(self, stream: int, mark: Mark) -> None:
        """What is put on the stream after this comes after the mark."""
        _merge(self._known(stream), mark.clock)
        self.put(stream, Use(lambda: self._run(mark)))

    def finish(self, mark: Mark) -> None:
        """The host waits for the mark."""
        self._run(mark)
        _merge(self._host, mark.clock)

    def names(self) -> list[str]:
        """Of the functions that have not run."""
        return [work.__name__ for queue in self._queues.values() for _, work in queue]

    def forget(self, address: int) -> None:
        """The memory is freed."""
        self._written.pop(address, None)
        self._read.pop(address, None)

    def _known(self, stream: int) -> Clock:
        """The stream's clock: the host gives work to it after all that the host has waited for."""
        _merge(self._clocks[stream], self._host)
        return self._clocks[stream]

    def _run(self, mark: Mark) -> None:
        queue, last = self._queues[mark.stream], mark.clock[mark.stream]
        while queue and queue[0][0] <= last:
            queue.popleft()[1]()


def _merge(clock: Clock, other: Clock) -> None:
    for stream, at in other.items():
        clock[stream] = max(clock.get(stream, 0), at)
