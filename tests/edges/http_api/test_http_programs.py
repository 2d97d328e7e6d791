"""Who asks, as the kernel tells it."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.programs import UNKNOWN, KnownBy, Program
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.peers import Owner, owner_by_netlink
from ollama_proxyd.edges.plumbing.programs import ProgramSearch
from tests.edges.http_api.conftest import Serve, Site
from tests.edges.http_api.test_http_peers import connected
from tests.fakes import FakeBackend, words

APP = "user.slice/user@1000.service/app.slice/app-flatpak-org.example.App-12.scope"
TERMINAL = "user.slice/user@1000.service/app.slice/vte-spawn-12.scope"


def laptop(tmp_path: Path) -> ProgramSearch:
    """A machine with an app in a group of its own, and a terminal in which a script asks."""
    groups, proc = tmp_path / "cgroup", tmp_path / "proc"
    for group in (APP, TERMINAL):
        (groups / group).mkdir(parents=True)
    (groups / "cgroup.procs").write_text("")
    (groups / TERMINAL / "cgroup.procs").write_text("41\n42\n43\n")
    for pid, number in ((42, 7), (43, 9)):
        (proc / str(pid) / "fd").mkdir(parents=True)
        (proc / str(pid) / "fd" / "3").symlink_to(f"socket:[{number}]")
        (proc / str(pid) / "comm").write_text("python3\n")
        (proc / str(pid) / "cmdline").write_bytes(f"python3\0/home/me/agent{pid}.py\0a prompt\0".encode())
        (proc / str(pid) / "cgroup").write_text(f"1:name=systemd:/x\n0::/{TERMINAL}\n")
    return ProgramSearch(proc, groups)


def group_id(tmp_path: Path, group: str) -> int:
    return (tmp_path / "cgroup" / group).stat().st_ino


def test_an_app_is_known_by_the_group_of_its_socket(tmp_path: Path) -> None:
    programs = laptop(tmp_path)
    assert programs.of_socket(Owner(1000, 5, group_id(tmp_path, APP))) == Program("org.example.App", KnownBy.FLATPAK)


def test_in_a_terminal_it_is_the_process_that_holds_the_socket(tmp_path: Path) -> None:
    programs = laptop(tmp_path)
    owner = Owner(1000, 9, group_id(tmp_path, TERMINAL))
    assert programs.of_socket(owner) == Program("agent43.py", KnownBy.EXECUTABLE)
    assert programs.of_process(42) == Program("agent42.py", KnownBy.EXECUTABLE)


def test_where_no_process_may_be_looked_into_it_is_not_known(tmp_path: Path) -> None:
    programs = laptop(tmp_path)
    assert programs.of_socket(Owner(1000, 99, group_id(tmp_path, TERMINAL))) == UNKNOWN
    assert programs.of_process(77) == UNKNOWN
    assert programs.of_socket(Owner(1000, 9)) == UNKNOWN


def test_a_group_that_begins_later_is_found_and_one_that_is_nowhere_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = laptop(tmp_path)
    assert programs.of_socket(Owner(1000, 5, 2**40)) == UNKNOWN
    later = tmp_path / "cgroup" / "app-later-1.scope"
    later.mkdir()
    assert programs.of_socket(Owner(1000, 5, later.stat().st_ino)) == Program("later", KnownBy.UNIT)
    programs.of_socket(Owner(1000, 5, 2**41))
    monkeypatch.setattr("ollama_proxyd.edges.plumbing.programs._folders", None)
    assert programs.of_socket(Owner(1000, 5, 2**41)) == UNKNOWN


def test_the_kernel_tells_the_group_of_a_socket() -> None:
    with connected("127.0.0.1") as (_, peer, own):
        owner = owner_by_netlink(peer, own)
    assert owner is not None
    assert owner.inode
    assert owner.cgroup_id


def test_a_group_that_names_its_program_takes_no_search_the_next_time(tmp_path: Path) -> None:
    programs = laptop(tmp_path)
    owner = Owner(1000, 5, group_id(tmp_path, APP))
    assert programs.at_once(owner) is None
    programs.of_socket(owner)
    assert programs.at_once(owner._replace(inode=6)) == Program("org.example.App", KnownBy.FLATPAK)


def test_connections_that_come_together_are_found_in_one_look_at_the_files_of_their_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = laptop(tmp_path)
    for number in range(4, 260):
        (tmp_path / "proc" / "42" / "fd" / str(number)).symlink_to(f"socket:[{number * 10}]")
    looked_at: list[str] = []
    look = os.readlink
    monkeypatch.setattr(os, "readlink", lambda path: looked_at.append(path) or look(path))  # type: ignore[func-returns-value]
    for number in range(4, 260):
        owner = Owner(1000, number * 10, group_id(tmp_path, TERMINAL))
        assert programs.of_socket(owner) == Program("agent42.py", KnownBy.EXECUTABLE)
    assert len(looked_at) < 2 * 256


async def asker_of(site: Site, **headers: str) -> Program:
    ends: list[AttemptEnded] = []
    stop = site.services.fleet.attempts.listen(ends.append)
    await site.chat(headers)
    stop()
    return ends[0].program


async def test_a_request_carries_who_asked_up_to_the_books(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    program = await asker_of(site, **{"User-Agent": "Hermes/1.2 (a prompt)"})
    assert program.known_by is not KnownBy.UNKNOWN
    assert "prompt" not in program.name


FOUND = Program("hermes", KnownBy.UNIT)


async def test_a_search_that_outlasts_its_request_is_a_guess_and_the_next_one_knows_more(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(ProgramSearch, "of_socket", lambda *_: may_end.wait(60) and FOUND)
    site = await serve(FakeBackend("npu"))
    assert await asker_of(site, **{"User-Agent": "Hermes/1.2"}) == Program("Hermes", KnownBy.GUESS)
    may_end.set()
    assert await asker_of(site) == FOUND


async def test_a_search_that_ends_while_the_request_is_under_way_names_it_in_the_books(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, goes_on = asyncio.Event(), asyncio.Event()

    async def find(_self: ProgramSearch, _holder: object) -> Program:
        await may_end.wait()
        asyncio.get_running_loop().call_soon(goes_on.set)
        return FOUND

    monkeypatch.setattr(ProgramSearch, "find", find)
    site = await serve(FakeBackend("npu", may_end.set, goes_on, *words("Hello")))
    assert await asker_of(site, **{"User-Agent": "Hermes/1.2"}) == FOUND


async def test_each_connection_is_looked_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def of_socket(_self: ProgramSearch, owner: Owner) -> Program:
        asked.append(owner)
        return Program("app", KnownBy.UNIT)

    monkeypatch.setattr(ProgramSearch, "of_socket", of_socket)
    site = await serve(FakeBackend("npu"))
    for _ in range(3):
        assert await asker_of(site) == Program("app", KnownBy.UNIT)
    assert len(asked) == 1


async def test_what_is_known_at_once_is_not_searched_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgramSearch, "at_once", lambda *_: FOUND)
    monkeypatch.setattr(ProgramSearch, "of_socket", lambda *_: UNKNOWN)
    assert await asker_of(await serve(FakeBackend("npu")), **{"User-Agent": "Another/1.2"}) == FOUND


async def test_searches_do_not_pile_up_behind_a_slow_one(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that ask once and leave had left 52,000 searches in 20 minutes, each for a socket that was gone."""
    may_end = threading.Event()
    asked: list[object] = []

    def of_socket(_self: ProgramSearch, owner: Owner) -> Program:
        asked.append(owner)
        may_end.wait(60)
        return FOUND

    monkeypatch.setattr(ProgramSearch, "of_socket", of_socket)
    monkeypatch.setattr("ollama_proxyd.edges.http_api.programs.PATIENCE_S", 0.0)
    monkeypatch.setattr("ollama_proxyd.edges.http_api.programs.MOST_SEARCHES", 8)
    site = await serve(FakeBackend("npu"))
    for _ in range(3):
        await asyncio.gather(*(site.chat({"Connection": "close"}) for _ in range(10)))
    named = [each for each in asyncio.all_tasks() if each.get_name() == "program of a connection"]
    assert len(named) == 8
    may_end.set()
    await asyncio.wait(named)
    assert len(asked) == 1


async def test_nothing_is_looked_for_where_that_is_not_wanted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgramSearch, "of_socket", None)
    site = await serve(FakeBackend("npu"), listen=ServerSettings(port=0, names_programs=False))
    assert await asker_of(site, **{"User-Agent": "Hermes/1.2"}) == UNKNOWN


def test_a_process_of_this_machine_is_known() -> None:
    assert ProgramSearch().of_process(os.getpid()).known_by is not KnownBy.UNKNOWN
