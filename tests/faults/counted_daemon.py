"""The daemon, which writes the number of its tasks to a file when it gets SIGUSR2."""

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType

from ollama_proxyd.cli.main import daemon


def tell(signum: int, frame: FrameType | None) -> None:
    Path(os.environ["TASKS_FILE"]).write_text(str(len(asyncio.all_tasks())))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, tell)
    daemon()
