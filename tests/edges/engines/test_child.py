"""Engines as child processes: their ends, their words, their ports and their memory."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ollama_proxyd.core.engine_instances import Address, End, Launch
from ollama_proxyd.edges.engines import child
from ollama_proxyd.edges.engines.child import last_words
from ollama_proxyd.edges.engines.runner import Runner
from tests.edges.engines.without_systemd import runner_in

LISTENS = """
import socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(99)
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return runner_in(tmp_path / "engines", {"PATH": os.environ["PATH"]})


def launch(code: str, *more: str, environment: tuple[str, ...] = ()) -> Launch:
    return Launch("a/b c", (sys.executable, "-c", code, *more), environment, Address(1), "key")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what another process does tells no event
            await asyncio.sleep(0.02)


async def until_said(runner: Runner, words: str) -> None:
    await until(lambda: words in "".join(child.tail(runner.log_of("a/b c"))))


async def test_how_a_process_ended_is_told_with_its_last_words(runner: Runner) -> None:
    process = await runner.start(launch("import sys; print('1.2 E fatal error'); print('bye'); sys.exit(3)"))
    assert await process.ended() == End("its process ended with status 3", has_failed=True)
    assert await process.last_words() == "fatal error"


@pytest.mark.parametrize(
    ("status", "has_failed"),
    [(1, True), (128, True), (255, True), (0, False), (137, False), (-9, False), (-15, False), (-6, True), (139, True)],
)
def test_only_what_gives_up_by_itself_has_failed(status: int, has_failed: bool) -> None:
    assert child.how_it_ended(status).has_failed is has_failed


async def test_what_it_writes_is_its_users_alone(runner: Runner) -> None:
    await (await runner.start(launch("print('x')"))).ended()
    file = runner.log_of("a/b c")
    assert (file.name, file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == ("a_b_c.log", 0o600, 0o700)


async def test_a_program_that_is_not_there_is_told(runner: Runner) -> None:
    with pytest.raises(OSError, match="/nonexistent cannot be started: No such file or directory"):
        await runner.start(Launch("x", ("/nonexistent",), (), Address(1), "key"))


async def test_its_variables_are_those_of_the_daemon_and_its_own(runner: Runner) -> None:
    code = "import os,sys; sys.exit(os.environ['A']+('PATH' in os.environ)*'!')"
    process = await runner.start(launch(code, environment=("A=b=c",)))
    await process.ended()
    assert await process.last_words() == "b=c!"


async def test_one_that_does_not_end_when_asked_is_killed_with_all_that_it_started(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "END_S", 0.2)
    code = (
        "import os,signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);p=os.fork();"
        "print(f'<{os.getpid()}>' if p else f'[{os.getpid()}]',flush=True);time.sleep(99)"
    )
    process = await runner.start(launch(code))
    await until_said(runner, "]")
    await until_said(runner, ">")
    inner = int("".join(child.tail(runner.log_of("a/b c"))).partition("[")[2].partition("]")[0])
    await process.stop()
    assert (await process.ended()).words == "its process was ended by SIGKILL"
    await until(lambda: not _runs(inner))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_it_is_known_whether_it_is_what_listens_on_its_port(runner: Runner) -> None:
    address = runner.new_address(wants_socket=False)
    process = await runner.start(launch(LISTENS, str(address.port)))
    other = await runner.start(launch("import time; time.sleep(99)"))
    try:
        await until_said(runner, "ready")
        assert (await process.holds(address), await other.holds(address)) == (True, False)
        assert not runner.was_usable(address)
        assert runner.was_usable(runner.new_address(wants_socket=False))
    finally:
        await asyncio.gather(process.stop(), other.stop())


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The runtime folder; a socket's path has to be short."""
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        yield Path(folder)


BINDS = """
import socket, sys, time
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
time.sleep(99)
"""


async def test_it_is_known_whether_it_is_what_listens_at_its_socket(runtime: Path) -> None:
    runner = runner_in(runtime / "engines", {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(runtime)})
    address = runner.new_address(wants_socket=True)
    assert not runner.was_usable(address)
    assert Path(address.socket).parent.stat().st_mode & 0o777 == 0o700
    process = await runner.start(launch(BINDS, address.socket))
    other = await runner.start(launch("import time; time.sleep(99)"))
    try:
        await until_said(runner, "ready")
        assert (await process.holds(address), await other.holds(address)) == (True, False)
        assert runner.was_usable(address)
    finally:
        await asyncio.gather(process.stop(), other.stop())
    for _ in range(2):
        runner.clear(address)
        assert not runner.was_usable(address)


@pytest.mark.parametrize(
    ("runtime", "why"),
    [
        ("", "XDG_RUNTIME_DIR is not set; start the daemon in a login session"),
        ("relative", "XDG_RUNTIME_DIR is not set"),
        ("/proc/readonly", "/proc/readonly/ollama-proxyd/engines cannot be made"),
        ("/tmp/" + "x" * 80, "is too long for the path of a socket"),
    ],
)
def test_where_no_socket_can_be_there_is_a_port_and_it_is_told_why(tmp_path: Path, runtime: str, why: str) -> None:
    runner = runner_in(tmp_path / "engines", {"XDG_RUNTIME_DIR": runtime})
    assert runner.new_address(wants_socket=True).port > 0
    assert why in runner.why_no_socket


def test_a_folder_that_others_can_enter_gets_no_sockets(runtime: Path) -> None:
    runner = runner_in(runtime / "engines", {"XDG_RUNTIME_DIR": str(runtime)})
    assert runner.new_address(wants_socket=True).socket
    (runtime / "ollama-proxyd/engines").chmod(0o755)
    assert runner.new_address(wants_socket=True).socket == ""
    assert runner.why_no_socket.endswith(f"; close it: chmod 700 {runtime}/ollama-proxyd/engines")


async def test_files_of_sockets_that_nobody_listens_at_are_removed(runtime: Path) -> None:
    runner = runner_in(runtime / "engines", {"XDG_RUNTIME_DIR": str(runtime)})
    left, young, used = (Path(runner.new_address(wants_socket=True).socket) for _ in range(3))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(used))
        listening.listen()
        for each in (left, young):
            with socket.socket(socket.AF_UNIX) as ended:
                ended.bind(str(each))
        for each in (left, used):
            os.utime(each, (1, 1))
        await runner.found()
    assert (left.exists(), young.exists(), used.exists()) == (False, True, True)


async def test_it_is_told_why_there_are_no_units(runner: Runner) -> None:
    assert runner.way is None
    process = await runner.start(launch("print('x')"))
    await process.ended()
    assert str(runner.way).startswith("engines are child processes of the daemon: the bus at")


async def test_what_systemd_says_to_the_daemon_alone_no_engine_hears(tmp_path: Path) -> None:
    runner = runner_in(tmp_path / "engines", {"NOTIFY_SOCKET": "/run/x", "PATH": os.environ["PATH"]})
    process = await runner.start(launch("import os; print('NOTIFY_SOCKET' in os.environ)"))
    await process.ended()
    assert await process.last_words() == "False"


async def test_its_memory_is_the_kernels_count(runner: Runner) -> None:
    process = await runner.start(
        launch("x=bytearray(b'1'*60_000_000);print('ready',flush=True);import time;time.sleep(99)")
    )
    try:
        await until_said(runner, "ready")
        assert 60_000_000 < (await process.memory_bytes() or 0) < 130_000_000
    finally:
        await process.stop()


async def test_what_it_writes_stays_small(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MOST_LOG_BYTES", 1000)
    process = await runner.start(launch("import time;print('x'*5000,flush=True);time.sleep(99)"))
    await until_said(runner, "x")
    await process.memory_bytes()
    assert runner.log_of("a/b c").stat().st_size == 0
    await process.stop()


def test_the_word_of_trouble_comes_before_the_last_one() -> None:
    assert last_words(["loading", "0.00.1 E error: no memory", "exiting"]) == "error: no memory"
    died = "mlx_lm.server generation thread died: Model type klama not supported."
    assert last_words([f"2026-11-30 09:06:58,624 - ERROR - {died}", "Traceback (most recent call last):"]) == died
    assert last_words(["one", "two"]) == "two"
    assert last_words([]) == ""
