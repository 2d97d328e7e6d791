"""The daemon, which writes the names of its tasks to a file when it gets SIGUSR2, and whose clock the test may set."""

import asyncio
import os
import signal
import time
from pathlib import Path
from types import FrameType

REAL, LOCAL = time.time, time.localtime
CLOCK = Path(os.environ["TASKS_FILE"]).with_name("clock")
"""How many seconds the wall clock is off."""


def tell(signum: int, frame: FrameType | None) -> None:
    Path(os.environ["TASKS_FILE"]).write_text(" ".join(sorted(task.get_name() for task in asyncio.all_tasks())) + "\n")


def unix_s() -> float:
    try:
        return REAL() + float(CLOCK.read_text() or 0)
    except OSError:
        return REAL()


if __name__ == "__main__":
    time.time = unix_s
    time.localtime = lambda seconds=None: LOCAL(unix_s() if seconds is None else seconds)
    from ollama_proxyd.cli.main import daemon  # takes its clock from there

    signal.signal(signal.SIGUSR2, tell)
    daemon()
