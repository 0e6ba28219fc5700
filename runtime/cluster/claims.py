"""A shared folder of work: an executor whose songs are those that no other process has claimed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from runtime.audio.leftovers import sweep
from runtime.cluster.board import Board
from runtime.cluster.work import Event, Executor, Failure, Finished, Job, Note, Retried, Task
from runtime.songs.inputs import shown

LEASE = 300.0  # s; several times as long as NFS may show old attributes of a file (60 s by default)


class Claims:
    """`executor` works at the songs that this process claims on `board`.

    Only the events of these songs are given. It ends when all songs are finished, by whomever.
    """

    def __init__(self, executor: Executor, board: Board, job: Job, lease: float = LEASE) -> None:
        self._executor, self._board, self._job, self._lease = executor, board, job, lease
        self._told_late: list[Finished] = []  # songs whose last owner died

    def run(self, tasks: Iterator[Task | None]) -> Generator[Event, None, None]:
        """As in `Executor`; takes all `tasks` at once."""
        known = {task.number: task for task in tasks if task is not None}
        with self._beating(), closing(self._executor.run(self._claimed(known))) as events:
            for event in events:
                yield from self._hear(event)
        yield from self._late()

    def _claimed(self, known: dict[int, Task]) -> Iterator[Task | None]:
        while True:
            claim = self._board.take(known)
            if claim is None:
                if self._board.is_finished(known):
                    return
                yield None
            elif claim.dead:
                self._give_up(known[claim.song], claim.tries)
            else:
                task = replace(known[claim.song], tries=claim.tries - 1)
                if task.again:
                    sweep((self._job.settings.folder / task.song.name).parent)
                yield task

    def _hear(self, event: Event) -> Iterator[Event]:
        yield from self._late()
        if isinstance(event, Finished):
            yield from self._finish(event)
            return
        if isinstance(event, Retried):
            self._board.again(event.task.number)
        yield event

    def _give_up(self, task: Task, tries: int) -> None:
        reason = f"{shown(task.song.path)}: its process died {tries} times (the last one was not heard of any more)"
        if self._board.finish(task.number, True, {"error": reason, "tries": tries}):
            self._told_late.append(Finished(task, Failure(reason), "", tries))

    def _late(self) -> Iterator[Event]:
        while self._told_late:
            yield self._told_late.pop()

    def _finish(self, event: Finished) -> Iterator[Event]:
        result = event.result
        failed = isinstance(result, Failure)
        fields = {"error": result.reason} if isinstance(result, Failure) else result.fields()
        if self._board.finish(event.task.number, failed, fields | {"tries": event.tries}):
            yield event
        else:
            yield Note(
                f"{shown(event.task.song.path)}: another process has finished it, as this one was silent too long"
            )

    @contextmanager
    def _beating(self) -> Iterator[None]:
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self._lease / 5):
                self._board.beat()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._board.give_back()
