"""Names the program that holds a TCP port."""

from collections.abc import Iterator
from pathlib import Path

LISTENING = "0A"
_TABLES = ("net/tcp", "net/tcp6")
_OURS = frozenset({b"ollama-proxyd", b"ollama_proxyd"})
"""The command and the module."""


def port_owner(port: int, proc: Path = Path("/proc")) -> str | None:
    """Name and pid of the listening program, None where they cannot be seen."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return None
    return next((owner for owner in _holders(sockets, proc)), None)


def _listening(port: int, proc: Path) -> Iterator[str]:
    """The inodes of the sockets that listen on a port."""
    for table in _TABLES:
        try:
            lines = (proc / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            local, state, inode = fields[1], fields[3], fields[9]
            if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _holders(sockets: set[str], proc: Path) -> Iterator[str]:
    """Programs that hold one of these sockets; those of other users cannot be looked into and are passed over."""
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                yield f"{_name(process)}, pid {process.name}"
        except OSError:
            continue


def _name(process: Path) -> str:
    """The name of a program; ours, which Python runs, goes by its own."""
    arguments = (process / "cmdline").read_bytes().split(b"\0") if (process / "cmdline").exists() else []
    is_ours = any(argument.rpartition(b"/")[2] in _OURS for argument in arguments[:3])
    return "ollama-proxyd" if is_ours else (process / "comm").read_text(encoding="utf-8").strip()
