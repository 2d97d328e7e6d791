"""The daemon's history, for commands that read its file by themselves; costs 60 ms, so it is imported where needed."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ollama_proxyd.cli.failures import Failed
from ollama_proxyd.edges.storage import history_file
from ollama_proxyd.edges.storage.state_file import state_path


@contextmanager
def kept_history() -> Iterator[sqlite3.Connection]:
    """The file, to be read only; raises Failed with what to do."""
    path = history_file.history_path(state_path(os.environ))
    try:
        with history_file.read_only(path) as connection:
            yield connection
    except FileNotFoundError:
        raise Failed(f"there is no history at {path}; it is begun by the first answer") from None
    except (sqlite3.Error, OSError) as error:
        why, do = getattr(error, "strerror", None) or error, _remedy(error)
        raise Failed(f"the history at {path} cannot be read: {why}{do and f'; {do}'}") from None


def _remedy(error: Exception) -> str:
    if history_file.is_of_another_version(error):
        return "use the program of the daemon's version"
    if history_file.is_damaged(error):
        return "the daemon sets a damaged one aside and begins another with its next answer"
    return "end what holds it, and try again" if "locked" in str(error) else ""
