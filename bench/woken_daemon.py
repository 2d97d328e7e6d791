"""The daemon, which notes from SIGUSR1 to SIGUSR2 what it does each time that it wakes up."""

import asyncio
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

OUTPUT = "WAKES_FILE"
PACKAGE = "ollama_proxyd"
QUIET_S = 0.05
"""What begins after so much silence has been woken anew."""
_LOOP = ("__main__", "cli", "services/tasks", "app/loop")
"""Below everything that runs; who is woken stands above."""
_names: dict[CodeType, str] = {}


class Wakes:
    """Each wake-up with the tasks, callbacks and threads that worked in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: Counter[tuple[str, ...]] = Counter()
        self._present: dict[str, None] = {}
        self._seen_s = 0.0

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """A function is called."""
        if event != "call" or not (name := _name(frame.f_code)) or name.startswith(_LOOP):
            return
        now_s = self._clock()
        if now_s - self._seen_s > QUIET_S:
            self._end()
        self._seen_s = now_s
        self._present[_source(frame, name)] = None

    def _end(self) -> None:
        if self._present:
            self._found[tuple(self._present)] += 1
        self._present = {}

    def told(self) -> list[tuple[list[str], int]]:
        """Who was woken together, the first one first, and how often."""
        self._end()
        return [(list(sources), count) for sources, count in self._found.items()]


def _name(code: CodeType) -> str:
    """The module and the name of a function of the project; empty for any other."""
    if code not in _names:
        _, found, path = code.co_filename.rpartition(f"/{PACKAGE}/")
        _names[code] = f"{path.removesuffix('.py')}:{code.co_name}" if found else ""
    return _names[code]


def _source(frame: FrameType, name: str) -> str:
    """The task that runs, else the thread, else the callback that the loop called."""
    if threading.current_thread() is not threading.main_thread():
        return f"thread {threading.current_thread().name.rpartition('_')[0] or 'without a name'}"
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is not None and not task.get_name().startswith("Task-"):
        return f"task {task.get_name()}"
    caller: FrameType | None = frame
    while caller is not None:
        found = _name(caller.f_code)
        name = found if found and not found.startswith(_LOOP) else name
        caller = caller.f_back
    return f"callback {name}"


_wakes = Wakes()


def _begin(_signum: int, _frame: FrameType | None) -> None:
    sys.setprofile(_wakes.note)
    threading.setprofile(_wakes.note)


def _end(_signum: int, _frame: FrameType | None) -> None:
    sys.setprofile(None)
    output = Path(os.environ[OUTPUT])
    partial = output.with_suffix(".part")
    partial.write_text(json.dumps(_wakes.told()))
    partial.rename(output)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    runpy.run_module(PACKAGE, run_name="__main__")
