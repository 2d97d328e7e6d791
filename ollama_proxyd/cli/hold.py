"""Runs a command as if it had been started without us: its signals reach it, and its end becomes ours."""

import os
import signal
from collections.abc import Iterable

from ollama_proxyd.cli.failures import Failed

NOT_YET = (0, 0)
"""What waitpid says of a process that still runs."""
KILLED = 128
"""What shells add to the number of the signal that ended a command."""
PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class NotFound(Failed):
    """There is no such command."""

    exit_code = 127


class NotExecutable(Failed):
    """The command cannot be run."""

    exit_code = 126


def run(command: tuple[str, ...]) -> int:
    """The exit status of a command, 128 and the signal where one ended it; raises NotFound or NotExecutable.

    Signals that another process sends to us are passed on. Those of the terminal (Ctrl-C) have reached the command
    already, since it is in the same process group.
    """
    awaited = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # before it starts, so that none is lost
    try:
        child = _start(command, before)
        while (ended := os.waitpid(child, os.WNOHANG)) == NOT_YET:
            arrived = signal.sigwaitinfo(awaited)
            if arrived.si_signo in PASSED_ON and arrived.si_code <= 0:  # sent by a process, not by the terminal
                os.kill(child, arrived.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = os.waitstatus_to_exitcode(ended[1])
    return status if status >= 0 else KILLED - status


def _start(command: tuple[str, ...], mask: Iterable[int]) -> int:
    try:
        return os.posix_spawnp(command[0], command, os.environ, setsigmask=mask, setsigdef=IGNORED_BY_PYTHON)
    except OSError as error:
        kind = NotFound if isinstance(error, FileNotFoundError) else NotExecutable
        raise kind(f"cannot run {command[0]}: {error.strerror}") from None
