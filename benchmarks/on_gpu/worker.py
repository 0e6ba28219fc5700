"""The process of one contender: `python worker.py JSON`. What it finds goes to standard output, one JSON a line.

All else that is printed here, also by libraries, goes to standard error. The parent merges the lines: see parent.py.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from on_gpu.measuring import CannotRun, first_line, measure
from on_gpu.work import Work


def function_named(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)


def main() -> None:
    start = time.perf_counter()
    asked = json.loads(sys.argv[1])
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(**found: Any) -> None:
        print(json.dumps(found), file=lines, flush=True)

    try:
        work, call = Work.of(asked["work"]), function_named(asked["call"])
        if asked["measure"]:
            emit(stage="opening")
            session = call(work, **asked["options"])
            emit(open_seconds=time.perf_counter() - start, executor=session.executor, notes=session.notes)
            options = asked["options"]
            measure(session, work, options["precision"], emit, options.get("io", "spectrum"))
        else:
            call(work, emit, **asked["options"])
    except CannotRun as reason:
        emit(not_run=str(reason))
    except Exception as error:
        traceback.print_exc()
        emit(failed=first_line(error))
    else:
        emit(done=True)
    lines.flush()
    os._exit(0)  # libraries of a GPU may hang or crash when Python ends, after all was measured


if __name__ == "__main__":
    main()
