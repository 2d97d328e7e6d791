"""Which program of this machine is at the other end of a connection, found beside the loop."""

import asyncio
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
        self._last_pid = ""
        self._searcher = ThreadPoolExecutor(1, "programs")

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
        return of_cgroup(str(group)) or self._of_holder(group, f"socket:[{owner.inode}]")

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
        try:
            pids = (group / "cgroup.procs").read_text(encoding="ascii").split()
        except OSError:
            return UNKNOWN
        for pid in self._likeliest(pids):
            process = self._proc / pid
            try:
                if any(str(each.readlink()) == link for each in islice((process / "fd").iterdir(), MOST_FILES)):
                    self._last_pid = pid
                    return self._of_command(process)
            except OSError:
                continue
        return UNKNOWN

    def _likeliest(self, pids: list[str]) -> Iterator[str]:
        """Whose connection was the last one, which often has more, then those that have begun of late."""
        if self._last_pid in pids:
            yield self._last_pid
        yield from reversed(pids[-MOST_PROCESSES:])

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
