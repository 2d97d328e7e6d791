"""Which program of this machine is at the other end of a connection, found beside the loop."""

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from ollama_proxyd.core.programs import UNKNOWN, Program, of_cgroup, of_command
from ollama_proxyd.edges.plumbing.peers import Owner

MOST_GROUPS: Final = 4096
MOST_PROCESSES: Final = 256
MOST_FILES: Final = 4096
"""How far a search goes: control groups in all, processes of one, open files of each."""
MOST_BYTES: Final = 4096


class ProgramSearch:
    """Finds the programs of sockets and processes.

    The kernel tells the control group of a socket's other end (sock_diag(7)), also to a service in systemd's sandbox.
    Only where the group is a login's or a terminal's the process is looked for, which the sandbox does not allow.
    """

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._root = groups if (groups / "cgroup.procs").exists() else groups / "unified"
        self._groups: dict[int, Path | None] = {0: None}
        """None for those that were not found; the kernel gives no number twice, so they are not looked for again."""
        self._named: dict[int, Program] = {}
        """What control groups by themselves say."""
        self._last_pid = ""
        self._holders: dict[str, str] = {}
        """The processes of sockets that were seen beside the one looked for: connections come in numbers."""
        self._searcher = ThreadPoolExecutor(1, "programs")

    def at_once(self, owner: Owner) -> Program | None:
        """The program that holds a socket, where that is known without a search."""
        return self._named.get(owner.cgroup_id)

    async def find(self, holder: Owner | int) -> Program:
        """The program that holds a socket, or of a process."""
        of = partial(self.of_process, holder) if isinstance(holder, int) else partial(self.of_socket, holder)
        return await asyncio.get_running_loop().run_in_executor(self._searcher, of)

    def of_process(self, pid: int) -> Program:
        """The program of a process."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return UNKNOWN
        path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
        return of_cgroup(path) or self._of_command(self._proc / str(pid))

    def of_socket(self, owner: Owner) -> Program:
        """The program that holds a socket."""
        group = self._group(owner.cgroup_id)
        if group is None:
            return UNKNOWN
        if (program := of_cgroup(str(group))) is None:
            return self._of_holder(group, f"socket:[{owner.inode}]")
        if len(self._named) < MOST_GROUPS:
            self._named[owner.cgroup_id] = program
        return program

    def _group(self, cgroup_id: int) -> Path | None:
        """The folder of a control group: its number is that of its inode."""
        if cgroup_id not in self._groups:
            missed = [each for each, folder in self._groups.items() if folder is None][-MOST_GROUPS:]
            self._groups = {**dict.fromkeys(missed), **dict(islice(_folders(self._root), MOST_GROUPS))}
            self._groups.setdefault(cgroup_id, None)
        group = self._groups[cgroup_id]
        return group if group is not None and group.exists() else None

    def _of_holder(self, group: Path, link: str) -> Program:
        """The process of a group that has a socket open."""
        having = (pid for pid in self._likeliest(group) if self._has(pid, link))
        pid = self._holders.pop(link, None) or next(having, None)
        if pid is None:
            return UNKNOWN
        self._last_pid = pid
        return self._of_command(self._proc / pid)

    def _likeliest(self, group: Path) -> Iterator[str]:
        """Whose connection was the last one, which often has more, then those of the group that have begun of late."""
        if self._last_pid:
            yield self._last_pid
        with suppress(OSError):
            yield from reversed((group / "cgroup.procs").read_text(encoding="ascii").split()[-MOST_PROCESSES:])

    def _has(self, pid: str, link: str) -> bool:
        """Whether a process has a socket open; the last ones, which mostly have the highest numbers, come first."""
        folder = f"{self._proc}/{pid}/fd"
        try:
            files = sorted(map(int, os.listdir(folder)), reverse=True)  # noqa: PTH208 - paths take most of the time
        except OSError:
            return False
        if len(self._holders) > MOST_FILES:
            self._holders.clear()
        for each in files[:MOST_FILES]:
            with suppress(OSError):
                found = os.readlink(f"{folder}/{each}")  # noqa: PTH115 - as above
                if found == link:
                    return True
                if found.startswith("socket:"):
                    self._holders[found] = pid
        return False

    @staticmethod
    def _of_command(process: Path) -> Program:
        try:
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
            with (process / "cmdline").open("rb") as line:
                arguments = line.read(MOST_BYTES).decode("utf-8", "replace").split("\0")
        except OSError:
            return UNKNOWN
        return of_command(name, arguments)


def _folders(root: Path) -> Iterator[tuple[int, Path]]:
    """Control groups by their numbers, those above before those below them; groups come and go meanwhile."""
    waiting = deque([root] if root.exists() else [])
    while waiting:
        folder = waiting.popleft()
        with suppress(OSError):
            waiting += [each for each in folder.iterdir() if each.is_dir()]
            yield folder.stat().st_ino, folder
