"""Finds the program that holds a TCP port, and reads how it was started."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

LISTENING = "0A"
_TABLES = ("net/tcp", "net/tcp6")
_OURS = frozenset({b"ollama-proxyd", b"ollama_proxyd"})
"""The command and the module."""
MOST_OPTIONS = 8
"""Words of a command line among which the module is looked for, after Python's own options."""


_MOST_BYTES = 1 << 20
"""Longer command lines and environments are not read to their end."""


class CommandLine(NamedTuple):
    """How a program was started."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


def port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Name and pid of the listening program, None where they cannot be seen."""
    process = _owner(port, proc)
    return None if process is None else f"{_name(process)}, pid {process.name}"


def pid_at(port: int, proc: Path = Path("/proc")) -> int | None:
    """The number of the listening program, None where it cannot be seen."""
    process = _owner(port, proc)
    return None if process is None else int(process.name)


def holder_of(inode: int, proc: Path = Path("/proc")) -> str | None:
    """The process that holds a socket, None where it cannot be seen."""
    process = next(_holders({f"socket:[{inode}]"}, proc), None)
    return None if process is None else process.name


def command_line_at(port: int, proc: Path = Path("/proc")) -> CommandLine | None:
    """How the listening program was started; None where it belongs to another user."""
    if (process := _owner(port, proc)) is None:
        return None
    try:
        variables = [each.partition("=") for each in _words(process / "environ")]
        return CommandLine(_words(process / "cmdline"), {name: value for name, _, value in variables})
    except OSError:
        return None


def user_at(port: int, proc: Path = Path("/proc")) -> int | None:
    """The user whose program listens, which the kernel tells also of programs that may not be looked into."""
    return next((user for _, user in _listening(port, proc)), None)


def _owner(port: int, proc: Path) -> Path | None:
    sockets = {f"socket:[{inode}]" for inode, _ in _listening(port, proc)}
    return next(_holders(sockets, proc), None) if sockets else None


def _words(path: Path) -> Sequence[str]:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace").split("\0")


def _listening(port: int, proc: Path) -> Iterator[tuple[str, int]]:
    """The inodes of the sockets that listen on a port, and their users."""
    for table in _TABLES:
        try:
            lines = (proc / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            local, state, user, inode = fields[1], fields[3], fields[7], fields[9]
            if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode, int(user)


def _holders(sockets: set[str], proc: Path) -> Iterator[Path]:
    """Processes that hold one of these sockets; those of other users cannot be looked into and are passed over."""
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                yield process
        except OSError:
            continue


def _name(process: Path) -> str:
    """The name of a program; ours, which Python runs, goes by its own."""
    arguments = (process / "cmdline").read_bytes().split(b"\0") if (process / "cmdline").exists() else []
    is_ours = any(argument.rpartition(b"/")[2] in _OURS for argument in arguments[:MOST_OPTIONS])
    return "ollama-proxyd" if is_ours else (process / "comm").read_text(encoding="utf-8").strip()
