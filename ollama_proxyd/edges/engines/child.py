"""An engine as a process in a session of its own, with what it writes in a file that stays small."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ollama_proxyd.core.engine_instances import Address, End, Launch
from ollama_proxyd.core.text import sanitize_line
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.plumbing.port_owner import pid_at
from ollama_proxyd.edges.plumbing.unix_socket import pid_listening

END_S: Final = 5.0
"""How long a process may take to end before it is killed."""
MOST_LOG_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 16384
_STAMP: Final = re.compile(r"^([0-9.:]+ [A-Z]|[0-9-]+ [0-9:,]+ - [A-Z]+ -) ")
"""How llama-server, and mlx_lm.server, begin their lines."""
_SIGNALLED: Final = 128
_CRASHES: Final = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)
"""What a program brings on itself, such as by an assertion that its model fails."""
_TROUBLE: Final = re.compile(r"error|fail|cannot|unable", re.IGNORECASE)


class Child:
    """A process in a session of its own, of ours or taken over from an earlier daemon."""

    unit: str | None = None
    """The systemd unit whose main process it is."""

    def __init__(self, pid: int, ended: asyncio.Future[End], file: Path | None) -> None:
        self._pid = pid
        self._ended = ended
        self._log = file

    @property
    def pid(self) -> int:
        """Its number, which is also that of its session."""
        return self._pid

    async def ended(self) -> End:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Ask it to end, then kill what is left of its session."""
        if not self._ended.done():
            _signal(self.pid, signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=END_S)
        _signal(self.pid, signal.SIGKILL)
        await asyncio.wait({self._ended})

    async def holds(self, address: Address) -> bool:
        """Whether one of its session listens there."""
        pid = pid_listening(address.socket) if address.socket else await asyncio.to_thread(pid_at, address.port)
        return pid is not None and processes.is_member(pid, self.pid)

    async def memory_bytes(self) -> int | None:
        """By the kernel's count."""
        if self._log is not None:
            shorten(self._log)
        return await asyncio.to_thread(processes.memory_of, self.pid)

    async def last_words(self) -> str:
        """The last line that says what went wrong, else the last one."""
        return "" if self._log is None else last_words(tail(self._log))


async def start_child(launch: Launch, file: Path, environ: Mapping[str, str]) -> Child:
    """Start a process that writes to a file; its key is in its environment, which only its user can read."""
    shorten(file)
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            *launch.words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env={**environ, **dict(each.split("=", 1) for each in launch.environment)},
            start_new_session=True,
        )
    except OSError as error:
        raise OSError(error.errno, f"{launch.words[0]} cannot be started: {error.strerror}") from None
    finally:
        os.close(handle)
    return Child(process.pid, asyncio.ensure_future(_end_of_ours(process)), file)


def taken_over(pid: int, file: Path) -> Child:
    """A process that another one has started, so that nobody tells its status."""
    return Child(pid, asyncio.ensure_future(_end_of_another(pid)), file)


async def _end_of_ours(process: asyncio.subprocess.Process) -> End:
    status = await process.wait()
    _signal(process.pid, signal.SIGKILL)  # what it has started would keep its memory
    return how_it_ended(status)


async def _end_of_another(pid: int) -> End:
    await processes.end_of(pid)
    _signal(pid, signal.SIGKILL)
    return End("its process ended, as did the daemon before that had started it")


def how_it_ended(status: int) -> End:
    """The end of a process by its status, negative for a signal; a shell that waits for it adds 128 to that."""
    number = -status if status < 0 else status - _SIGNALLED
    is_signal = number in set(signal.Signals)
    has_failed = status != 0 and (not is_signal or number in _CRASHES)
    if status >= 0:
        return End(f"its process ended with status {status}", has_failed)
    name = signal.Signals(number).name if is_signal else f"signal {number}"
    return End(f"its process was ended by {name}", has_failed)


def shorten(file: Path) -> None:
    """Begin a file anew that has become long; who writes to it appends, and goes on at its beginning."""
    with suppress(OSError):
        if file.stat().st_size > MOST_LOG_BYTES:
            os.truncate(file, 0)


def tail(file: Path, most_bytes: int = _TAIL_BYTES) -> list[str]:
    """The last lines of a file, bounded."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(os.fstat(opened.fileno()).st_size - most_bytes, 0))
            return opened.read(most_bytes).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def last_words(lines: list[str]) -> str:
    """The last line that says what went wrong, else the last one."""
    said = [line for each in lines[-60:] if (line := sanitize_line(each))]
    word = next((line for line in said if _TROUBLE.search(line)), said[-1] if said else "")
    return _STAMP.sub("", word)


def _signal(session: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)
