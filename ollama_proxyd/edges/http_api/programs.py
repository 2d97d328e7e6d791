"""Which program of this machine is at the other end of a connection, found beside the loop and once for each."""

import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

from ollama_proxyd.core.programs import UNKNOWN, KnownBy, Program, of_cgroup, of_command, of_user_agent
from ollama_proxyd.edges.http_api.context import SETTINGS
from ollama_proxyd.edges.http_api.peers import Owner, Peers, is_from_here, pid_behind

PATIENCE_S: Final = 0.05
"""Who asks is not worth a longer wait."""
MOST_GROUPS: Final = 4096
MOST_PROCESSES: Final = 256
MOST_FILES: Final = 4096
"""How far a search goes: control groups in all, processes of one, open files of each."""
MOST_BYTES: Final = 4096


class Programs:
    """The programs of connections.

    The kernel tells the control group of a socket's other end (sock_diag(7)), also to a service in systemd's sandbox.
    Only where the group is a login's or a terminal's the process is looked for, which the sandbox does not allow.
    """

    def __init__(self, peers: Peers, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._peers = peers
        self._proc = proc
        self._root = groups if (groups / "cgroup.procs").exists() else groups / "unified"
        self._known: WeakKeyDictionary[Any, Program] = WeakKeyDictionary()
        self._groups: dict[int, Path | None] = {0: None}
        """None for those that were not found; the kernel gives no number twice, so they are not looked for again."""
        self._searcher = ThreadPoolExecutor(1, "programs")

    async def of(self, request: web.Request) -> Program:
        """The program that sent a request; unknown where the configuration does not want it known."""
        transport = request.transport
        if transport is None or not request.app[SETTINGS].value.names_programs:
            return UNKNOWN
        known = self._known.get(transport)
        if known is None:
            guess = of_user_agent(request.headers.get(hdrs.USER_AGENT, ""))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    known = await self._found(transport)
            except TimeoutError:
                return guess  # the next request on this connection may find more
            known = self._known[transport] = guess if known.known_by is KnownBy.UNKNOWN else known
        return known

    async def _found(self, transport: Any) -> Program:
        connection = transport.get_extra_info("socket")
        search = partial(asyncio.get_running_loop().run_in_executor, self._searcher)
        if connection is not None and connection.family == socket.AF_UNIX:
            return await search(self.of_process, pid_behind(connection))
        if is_from_here(transport) and (owner := self._peers.owner(transport)) is not None:
            return await search(self.of_socket, owner)
        return UNKNOWN

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
        for pid in reversed(pids[-MOST_PROCESSES:]):  # who asks has often begun of late
            process = self._proc / pid
            try:
                if any(str(each.readlink()) == link for each in islice((process / "fd").iterdir(), MOST_FILES)):
                    return self._of_command(process)
            except OSError:
                continue
        return UNKNOWN

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


PROGRAMS: web.AppKey[Programs] = web.AppKey("programs", Programs)
