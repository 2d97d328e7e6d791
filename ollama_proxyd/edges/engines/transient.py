"""An engine as a transient unit of the user's systemd: cgroup limits, an OOM policy, and the journal for its words."""

import asyncio
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any, Final

from dbus_fast import Message, Variant

from ollama_proxyd.core.engine_instances import Address, End, Launch
from ollama_proxyd.edges.engines import processes
from ollama_proxyd.edges.engines.child import END_S, Child, how_it_ended, last_words
from ollama_proxyd.edges.plumbing.dbus import Bus, BusError, CallError, Match, Target
from ollama_proxyd.edges.plumbing.dbus_line import BusLine
from ollama_proxyd.edges.plumbing.dbus_properties import PROPERTIES
from ollama_proxyd.edges.plumbing.port_owner import pid_at, user_at
from ollama_proxyd.edges.plumbing.systemd import MANAGER, NAME, REPLACE, SERVICE

log = logging.getLogger(__name__)

PREFIX: Final = "ollama-proxyd-engine-"
START_S: Final = 30.0
SETTLE_S: Final = 1.0
"""How long the manager may take to note the end of a process that the kernel has told."""
JOURNAL_S: Final = (0.0, 0.2, 1.0)
"""Between looks for words that the journal may have late."""
LAST_LINES: Final = 60
"""So many are looked through for the reason of an end."""
OUT_OF_MEMORY: Final = "the kernel ended it, since it needed more memory than there was for it (oom-kill)"
_OTHER: Final = re.compile(r"[^A-Za-z0-9:_.]")
_EXITED: Final = 1
"""CLD_EXITED; the others are signals."""
Values = Mapping[str, Any]


class TransientUnit(Child):
    """The main process of a unit."""

    def __init__(self, name: str, pid: int, line: BusLine) -> None:
        self.unit, self._name = name, name
        self._line = line
        super().__init__(pid, asyncio.ensure_future(self._end()), None)

    async def stop(self) -> None:
        """Have the manager stop it; by signals where it cannot be asked."""
        if not self._ended.done():
            with suppress(OSError):
                await (await self._line.bus()).call(MANAGER, "StopUnit", "ss", [self._name, REPLACE])
                await asyncio.wait({self._ended}, timeout=2 * END_S)
        await super().stop()

    async def holds(self, address: Address) -> bool:
        """Whether it listens there; where it may not be looked into, whether a program of its user does."""
        if address.socket or await asyncio.to_thread(pid_at, address.port) is not None:
            return await super().holds(address)
        return await asyncio.to_thread(user_at, address.port) == os.getuid()

    async def last_words(self) -> str:
        """The same of the journal; where to look where that may not be read."""
        return await _words_of(self._name)

    async def _end(self) -> End:
        await processes.end_of(self.pid)
        try:
            return await _how_it_ended(await self._line.bus(), self._name)
        except OSError:
            return End("its process ended")


async def _how_it_ended(bus: Bus, name: str) -> End:
    """By the manager's words; the unit is let go of then."""
    (path,) = await bus.call(MANAGER, "GetUnit", "s", [name])
    values = await _service(bus, path)
    if values["MainPID"]:
        await asyncio.sleep(SETTLE_S)
        values = await _service(bus, path)
    await bus.call(MANAGER, "UnrefUnit", "s", [name])
    if values["Result"] == "oom-kill":
        return End(OUT_OF_MEMORY, has_failed=True)
    status = int(values["ExecMainStatus"])
    return how_it_ended(status if values["ExecMainCode"] == _EXITED else -status)


async def _words_of(name: str) -> str:
    """The last words of a unit's processes; where to look where the journal has none, or may not be read."""
    for pause_s in JOURNAL_S:
        await asyncio.sleep(pause_s)
        if words := last_words(await _journal(LAST_LINES, *journal_matches(name))):
            return words
    return f"see journalctl --user --unit {name}"


def journal_matches(name: str) -> tuple[str, ...]:
    """What matches the lines of a unit's processes, not the manager's about them.

    The journal knows no unit of a line whose process had ended before its cgroup was read: 7 of 60 that said one line.
    """
    return f"_SYSTEMD_USER_UNIT={name}", "+", f"SYSLOG_IDENTIFIER={name}"


async def _journal(lines: int, *matches: str) -> list[str]:
    """The last lines that match; none where the journal may not be read."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_journal_words(lines, *matches), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(END_S):
            said, _ = await process.communicate()
    except (OSError, TimeoutError):
        return []
    return said.decode("utf-8", "replace").splitlines()


class TransientUnits:
    """Starts them."""

    def __init__(self, line: BusLine) -> None:
        self._line = line

    async def bus(self) -> Bus:
        """The bus with a manager; raises OSError with the cause where there is none."""
        bus = await self._line.bus()
        if await bus.owner_of(NAME) is None:
            raise BusError("no systemd of this user is on the session bus")
        return bus

    async def start(self, launch: Launch, environ: Mapping[str, str]) -> TransientUnit:
        """Start a unit; raises OSError where it does not start, and BusError where there is no manager."""
        bus = await self.bus()
        given = launch.words[0]
        found = shutil.which(given, path=environ.get("PATH"))
        if found is None and not PurePath(given).is_absolute():
            raise OSError(f"{given} cannot be started: No such file or directory")
        name = f"{PREFIX}{_readable(launch.name)}-{secrets.token_hex(4)}.service"
        # The manager may see what is hidden from the daemon, whose /tmp is its own (PrivateTmp=).
        await self._run(bus, name, _properties(name, launch, found or given, environ))
        (path,) = await bus.call(MANAGER, "GetUnit", "s", [name])
        pid = int((await _service(bus, path))["MainPID"])
        if not pid:
            raise OSError(f"{(await _how_it_ended(bus, name)).words}: {await _words_of(name)}")
        return TransientUnit(name, pid, self._line)

    async def log(self, name: str, lines: int) -> list[str]:
        """The last lines of all units that were started under this name, or another that differs in odd characters."""
        return await _journal(lines, _units_of(name))

    async def taken_over(self, unit: str, pid: int) -> TransientUnit:
        """One that an earlier daemon has started; raises OSError."""
        bus = await self.bus()
        await bus.call(MANAGER, "RefUnit", "s", [unit])
        (path,) = await bus.call(MANAGER, "GetUnit", "s", [unit])
        if (await _service(bus, path))["MainPID"] != pid:
            raise OSError(f"{unit} has another process now")
        return TransientUnit(unit, pid, self._line)

    async def stop_strays(self, marks: tuple[str, ...], known: Collection[str]) -> None:
        """Stop the units whose variables begin with these marks; raises OSError."""
        bus = await self.bus()
        (listed,) = await bus.call(MANAGER, "ListUnitsByPatterns", "asas", [[], [f"{PREFIX}*.service"]])
        for name, path in [(each[0], each[6]) for each in listed if each[0] not in known]:
            if any(variable.startswith(marks) for variable in (await _service(bus, path))["Environment"]):
                await bus.call(MANAGER, "StopUnit", "ss", [name, REPLACE])

    @staticmethod
    async def _run(bus: Bus, name: str, properties: list[tuple[str, Variant]]) -> None:
        """Wait until its program runs, or cannot."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        with_manager = Match(MANAGER.interface, "JobRemoved", MANAGER.path, await bus.owner_of(NAME))
        async with bus.hear(with_manager, _when_of(name, done)):
            asked = [name, "fail", [list(each) for each in properties], []]
            try:
                await bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", asked)
                async with asyncio.timeout(START_S):
                    result = await done
            except CallError as error:
                raise BusError(f"{NAME} starts no transient unit: {error}") from None
            except BaseException:  # who does not wait any longer leaves no unit behind
                with suppress(OSError):
                    await bus.call(MANAGER, "StopUnit", "ss", [name, REPLACE])
                raise
        if result != "done":
            raise OSError(f"its unit {name} does not start ({result}): see journalctl --user --unit {name}")


def _units_of(name: str) -> str:
    return f"--unit={PREFIX}{_readable(name)}-????????.service"


def follow_words(name: str, lines: int) -> tuple[str, ...]:
    """The program that tells the last lines of these units and each further one."""
    return (*_journal_words(lines, _units_of(name)), "--follow")


def _journal_words(lines: int, *matches: str) -> tuple[str, ...]:
    return ("journalctl", "--user", f"--lines={lines}", "--output=cat", "--quiet", "--no-pager", *matches)


def _readable(name: str) -> str:
    """Without what the name of a unit cannot have."""
    return _OTHER.sub("_", name)[:150]


def _when_of(name: str, done: "asyncio.Future[str]") -> Callable[[Message], None]:
    def heard(message: Message) -> None:
        _, _, unit, result = message.body
        if unit == name and not done.done():
            done.set_result(result)

    return heard


def _properties(name: str, launch: Launch, program: str, environ: Mapping[str, str]) -> list[tuple[str, Variant]]:
    """systemd.service(5), systemd.exec(5), systemd.resource-control(5)."""
    variables = [f"{variable}={value}" for variable, value in environ.items()]
    most = [] if launch.most_bytes is None else [("MemoryMax", Variant("t", launch.most_bytes))]
    return [
        ("Description", Variant("s", f"{PurePath(program).name} of ollama-proxyd: {launch.name}")),
        ("Type", Variant("s", "exec")),
        ("ExecStart", Variant("a(sasb)", [[program, list(launch.words), False]])),
        ("Environment", Variant("as", [*filter(str.isprintable, variables), *launch.environment])),
        ("OOMPolicy", Variant("s", "stop")),
        ("TimeoutStopUSec", Variant("t", int(END_S * 1e6))),
        ("UMask", Variant("u", 0o077)),
        ("SyslogIdentifier", Variant("s", name)),  # see journal_matches
        ("CollectMode", Variant("s", "inactive-or-failed")),
        ("AddRef", Variant("b", True)),  # it is not collected before its end was read
        *most,
    ]


async def _service(bus: Bus, path: str) -> Values:
    (values,) = await bus.call(Target(NAME, path, PROPERTIES), "GetAll", "s", [SERVICE])
    return {name: value.value for name, value in values.items()}
