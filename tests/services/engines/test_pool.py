"""Processes of engines: one start for all who wait, never more in memory than fits, and no request that is lost."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from ollama_proxyd.core.engine_instances import Phase
from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.errors import IN_USE, NOT_LOADED, ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Model, Probe
from ollama_proxyd.core.policy.obstacles import MORE_ROOM
from ollama_proxyd.services.engines import footprints
from ollama_proxyd.services.engines.restarts import PAUSES_S
from ollama_proxyd.services.engines.starting import HUNG_S
from tests.belady import fewest_evictions
from tests.fakes import pass_by, settle
from tests.services.engines.machine import GB, ONE_GB_MODEL, PROGRAM, Answering, Case, engine_spec, file


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    case = Case()
    yield case
    await case.pool.close()


@pytest.fixture
async def narrow() -> AsyncIterator[Case]:
    """Two models of a gigabyte fit."""
    case = Case(budget_gb=2.5 * ONE_GB_MODEL / GB)
    yield case
    await case.pool.close()


async def test_twenty_requests_at_once_start_one_process(case: Case) -> None:
    pids = await asyncio.gather(*(case.used("tiny") for _ in range(20)))
    assert set(pids) == {"0"}
    assert len(case.machine.started) == 1


async def test_each_process_has_a_port_and_a_key_of_its_own(case: Case) -> None:
    await asyncio.gather(case.used("a"), case.used("b"))
    launches = [process.launch for process in case.machine.started]
    assert len({each.address for each in launches}) == len({each.api_key for each in launches}) == 2
    assert [each.words for each in launches] == [
        ("run", f"/models/{name}.gguf", name, str(each.address.port)) for name, each in zip("ab", launches, strict=True)
    ]
    assert all(f"LLAMA_API_KEY={each.api_key}" in each.environment for each in launches)


async def test_who_leaves_while_it_loads_does_not_end_the_start_for_others(case: Case) -> None:
    first = asyncio.create_task(case.used("tiny"))
    await settle()
    second = asyncio.create_task(case.used("tiny"))
    await settle()
    first.cancel()
    assert await second == "0"


async def test_a_model_that_nobody_waits_for_any_longer_is_not_started(narrow: Case) -> None:
    async with narrow.holding("a", "b"):
        waits = asyncio.create_task(narrow.used("c"))
        await settle()
        waits.cancel()
        await settle()
    await pass_by(10)
    assert "c" not in {process.name for process in narrow.machine.started}


async def test_the_least_recently_used_leaves_for_what_is_wanted(narrow: Case) -> None:
    await narrow.used("a")
    await narrow.used("b")
    await pass_by(10)
    await narrow.used("a")
    await pass_by(10)
    await narrow.used("c")
    assert narrow.machine.names == ["a", "c"]
    assert narrow.pool.evictions == 1


async def test_an_engine_at_work_is_drained_and_never_broken_off(narrow: Case) -> None:
    works = asyncio.create_task(narrow.used("a", for_s=30))
    await settle()
    await narrow.used("b", for_s=1)
    await pass_by(5)
    async with narrow.holding("b"):
        waits = asyncio.create_task(narrow.used("c"))
        await pass_by(10)
        assert narrow.machine.names == ["a", "b"]
        assert not works.done()
    assert await works == "0"
    await waits
    assert "c" in narrow.machine.names


async def test_a_request_for_what_drains_waits_for_its_next_process(narrow: Case) -> None:
    works = asyncio.create_task(narrow.used("a", 2.4 * GB, for_s=10))
    await pass_by(5)
    other = asyncio.create_task(narrow.used("b", 2.4 * GB, for_s=1))
    await settle()
    again = asyncio.create_task(narrow.used("a", 2.4 * GB))
    assert [await works, await other, await again] == ["0", "1", "2"]


async def test_pinned_models_stay_whatever_else_is_wanted(narrow: Case) -> None:
    narrow.spec = engine_spec(program=EngineProgram(command=("run", "{model}", "{name}", "{port}"), pinned=("a",)))
    await narrow.used("a")
    for name in "bcd":
        await pass_by(10)
        await narrow.used(name)
    assert narrow.machine.names == ["a", "d"]


async def test_a_model_that_can_never_fit_is_refused_with_the_numbers(narrow: Case) -> None:
    with pytest.raises(ProxyError, match=r"'huge' needs 13\.1 GB of ram on llama, and engines may have 3\.5 GB") as why:
        await narrow.used("huge", 10 * GB)
    assert why.value.kind is ErrorKind.NO_ROOM
    assert narrow.machine.started == []
    assert why.value.message == f"{narrow.pool.unfit(narrow.spec, file('huge', 10 * GB))}; {MORE_ROOM}"
    assert narrow.pool.unfit(narrow.spec, file("a")) is None


async def test_what_other_programs_have_is_waited_for(case: Case) -> None:
    case.machine.others = case.machine.whole
    waits = asyncio.create_task(case.used("a"))
    await pass_by(10)
    assert not waits.done()
    case.machine.others = 0
    assert await waits == "0"


async def test_it_is_waited_for_so_long_only(case: Case) -> None:
    case.machine.others = case.machine.whole
    with pytest.raises(ProxyError) as why:
        await case.used("a")
    assert why.value.kind is ErrorKind.NO_ROOM
    assert why.value.message.endswith("; other programs have the rest: end some of them, and try again")


async def test_nothing_is_refused_by_the_estimate_of_a_pinned_model_that_has_answered(narrow: Case) -> None:
    narrow.spec = engine_spec(program=EngineProgram(command=PROGRAM.command, pinned=("a",)))
    narrow.machine.sizes["a"] = int(0.5 * GB)
    await narrow.used("a")
    await settle()
    await narrow.used("b", 1.77 * GB)
    assert narrow.machine.names == ["a", "b"]


@pytest.mark.parametrize("seed", range(5))
async def test_twenty_requests_at_once_for_six_models_all_end_and_two_are_in_memory_at_most(seed: int) -> None:
    case, dice, most = Case(budget_gb=2.5 * ONE_GB_MODEL / GB), Random(seed), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(case.machine.names))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    wishes = (case.used(dice.choice("abcdef"), for_s=dice.random()) for _ in range(100))
    turns = asyncio.Semaphore(20)

    async def ask(wish: object) -> None:
        async with turns:
            await asyncio.sleep(dice.random())
            await wish  # type: ignore[misc]

    async with asyncio.timeout(3000):
        await asyncio.gather(*map(ask, wishes))
    watching.cancel()
    assert most == 2
    await case.pool.close()


@pytest.mark.parametrize("seed", range(3))
async def test_one_request_after_the_other_evicts_at_most_half_more_than_belady(narrow: Case, seed: int) -> None:
    wanted = Random(seed).choices("abcdef", [1 / (1 + rank) for rank in range(6)], k=200)
    for model in wanted:
        await narrow.used(model)
        narrow.machine.clock.advance(1.0)
    fewest = fewest_evictions(wanted, 2)
    assert fewest <= narrow.pool.evictions < 1.5 * fewest


async def test_what_the_queue_wants_next_stays(narrow: Case) -> None:
    await narrow.used("a")
    await narrow.used("b")
    narrow.pool.waiting_for = lambda _backend_id, model: int(model == "a")
    await narrow.used("c")
    assert narrow.machine.names == ["a", "c"]


async def test_a_process_that_ends_while_it_loads_is_told_with_its_last_words(case: Case) -> None:
    case.machine.dies.add("a")
    with pytest.raises(
        ProxyError, match="could not load model 'a': its process ended with status 1: out of luck"
    ) as why:
        await case.used("a")
    assert why.value.code == NOT_LOADED
    (ended,) = case.pool.ends
    assert (ended.model, ended.times) == ("a", 1)
    case.machine.dies.clear()
    await case.used("a")
    assert list(case.pool.ends) == []


async def test_one_that_something_else_ends_while_it_loads_is_started_again_for_all_who_wait(case: Case) -> None:
    case.machine.kills = 2
    waits = [asyncio.create_task(case.used("a")) for _ in range(20)]
    await pass_by(0.2)
    case.machine.started[-1].end("its process was ended by SIGTERM")
    assert set(await asyncio.gather(*waits)) == {"2"}
    assert list(case.pool.ends) == []


async def test_one_that_is_ended_each_time_it_loads_is_told_with_the_cause_and_where_to_look(case: Case) -> None:
    case.machine.kills = 100
    with pytest.raises(ProxyError, match=r"'a': its process was ended by SIGKILL.*; see .*engines log llama a") as why:
        await case.used("a")
    assert why.value.code == NOT_LOADED
    assert [each.times for each in case.pool.ends] == [len(case.machine.started)] == [4]
    assert [each for each in case.machine.clock.sleeps if each in PAUSES_S] == sorted(PAUSES_S)


async def test_one_that_gives_up_by_itself_is_not_started_again(case: Case) -> None:
    case.machine.dies.add("a")
    with pytest.raises(ProxyError):
        await case.used("a")
    assert len(case.machine.started) == 1


async def test_one_that_says_while_it_loads_that_it_is_dead_is_told_at_once_with_its_last_words(case: Case) -> None:
    case.machine.dead.add("a")
    began_s = case.machine.clock.monotonic()
    with pytest.raises(ProxyError, match="could not load model 'a': out of luck; see"):
        await case.used("a")
    assert case.machine.clock.monotonic() - began_s < 10
    assert (case.machine.names, len(case.machine.started)) == ([], 1)


async def test_a_process_that_is_well_before_its_model_is_in_memory_is_waited_for(case: Case) -> None:
    case.machine.settle_s = 60.0
    case.machine.sizes["a"] = int(0.705 * ONE_GB_MODEL)
    told: set[tuple[Phase, int | None]] = set()
    case.pool.changed.listen(lambda changed: told.add((changed.instance.phase, changed.instance.loaded_percent)))
    async with case.pool.use(case.spec, file("a")) as running:
        assert running.load_s is not None
        assert running.load_s >= 60
    assert (Phase.LOADING, 70) in told


async def test_one_that_is_ended_while_nobody_waits_any_longer_is_not_started_again(case: Case) -> None:
    waits = asyncio.create_task(case.used("a"))
    await pass_by(1)
    waits.cancel()
    case.machine.started[0].end("its process was ended by SIGKILL")
    await pass_by(20)
    assert (len(case.machine.started), case.pool.instances) == (1, ())


async def test_one_that_is_stopped_by_hand_between_two_starts_stays_so(case: Case) -> None:
    case.machine.kills = 1
    waits = asyncio.create_task(case.used("a"))
    await pass_by(0.1)
    stopped = asyncio.create_task(case.pool.stop("llama", "a", drains=True))
    await settle()
    waits.cancel()
    async with asyncio.timeout(60):
        await stopped
    assert (case.machine.names, case.pool.instances) == ([], ())


async def test_a_process_that_never_is_ready_is_ended(case: Case) -> None:
    case.machine.load_s = 1e9
    with pytest.raises(ProxyError, match="it was not ready after 180 s"):
        await case.used("a")
    assert case.machine.names == []


async def test_a_port_that_another_program_took_meanwhile_costs_one_more_start(case: Case) -> None:
    case.machine.taken.add(case.machine.ports[0])
    assert await case.used("a") == "1"
    assert len(case.machine.started) == 2


def behind_sockets() -> EngineProgram:
    return EngineProgram(command=("run", "{model}", "{name}", "{host}", "{port}"))


async def test_a_process_is_behind_a_socket_of_its_own_whose_file_goes_with_it(case: Case) -> None:
    case.spec = engine_spec(program=behind_sockets())
    await case.used("a")
    launch = case.machine.started[0].launch
    assert launch.words[-2:] == (launch.address.socket, "0")
    assert case.machine.cleared == set()
    await case.pool.stop("llama", "a")
    assert case.machine.cleared == {launch.address}
    await case.used("b")
    last = case.machine.started[1].launch.address
    await case.pool.close()
    assert last in case.machine.cleared


async def test_a_program_that_makes_no_socket_is_started_at_a_port_from_then_on(case: Case) -> None:
    case.spec = engine_spec(program=behind_sockets())
    case.machine.makes_sockets = False
    assert [await case.used("a"), await case.used("b")] == ["1", "2"]
    kinds = [bool(each.launch.address.socket) for each in case.machine.started]
    assert kinds == [True, False, False]
    assert case.machine.started[-1].launch.words[-2] == "127.0.0.1"


async def test_one_that_is_killed_before_it_has_made_its_socket_gets_another_socket(case: Case) -> None:
    case.spec = engine_spec(program=behind_sockets())
    case.machine.kills = 1
    await case.used("a")
    assert [bool(each.launch.address.socket) for each in case.machine.started] == [True, True]
    assert str(case.pool.starter.listening) == "engines listen at sockets in /run, which only this user can enter"


async def test_why_an_engine_is_at_a_port_is_told(case: Case) -> None:
    case.spec = engine_spec(program=behind_sockets())
    case.machine.makes_sockets = False
    await case.used("a")
    assert (
        str(case.pool.starter.listening)
        == "engines listen at ports of this machine, each with a key: run makes no socket"
    )


async def test_a_model_that_fails_behind_its_socket_is_not_tried_at_a_port(case: Case) -> None:
    case.spec = engine_spec(program=behind_sockets())
    case.machine.dies.add("a")
    with pytest.raises(ProxyError, match="could not load"):
        await case.used("a")
    assert len(case.machine.started) == 1


async def test_why_an_engine_ended_is_told_as_long_as_its_backend_is_there(case: Case) -> None:
    case.machine.dies.add("a")
    with pytest.raises(ProxyError, match="could not load"):
        await case.used("a")
    case.pool.reconcile({"llama": case.spec})
    assert [each.backend_id for each in case.pool.ends] == ["llama"]
    case.pool.reconcile({})
    assert list(case.pool.ends) == []


async def test_no_request_goes_to_a_program_that_only_listens_there(case: Case) -> None:
    case.machine.taken.update(case.machine.ports)
    with pytest.raises(ProxyError, match="could not load"):
        await case.used("a")


async def test_a_program_that_is_not_there_is_told(case: Case) -> None:
    case.machine.refuses = FileNotFoundError(2, "run cannot be started: No such file or directory")
    with pytest.raises(ProxyError, match="could not load model 'a': run cannot be started: No such file"):
        await case.used("a")


async def test_one_that_died_gives_its_memory_back_and_is_started_by_the_next_request(narrow: Case) -> None:
    await narrow.used("a")
    await narrow.used("b")
    narrow.machine.started[0].end("its process was ended by SIGKILL")
    await settle()
    (ended,) = narrow.pool.ends
    assert str(ended.reason) == "the process of a ended unasked: its process was ended by SIGKILL"
    await narrow.used("c")
    assert narrow.machine.names == ["b", "c"]
    assert await narrow.used("a") == "3"


async def test_one_that_hangs_at_work_is_ended_as_if_it_had_crashed(case: Case) -> None:
    async with case.pool.use(case.spec, file("a")) as running:
        case.machine.started[0].hangs = True
        for answers in (False, False, True, False, False):
            case.machine.started[0].hangs = not answers
            await case.pool.measure("llama")
            await settle()
            case.machine.clock.advance(HUNG_S / 2)
        assert case.machine.names == ["a"], "it has answered in between"
        await case.pool.measure("llama")
        await running.gone.wait()
        (ended,) = case.pool.ends
        assert str(ended.reason) == "a answered nothing any more, and was ended: stopped"
    assert await case.used("a") == "1"


async def test_one_that_is_silent_for_a_moment_or_writes_an_answer_does_not_hang(case: Case) -> None:
    async with case.pool.use(case.spec, file("a")) as running:
        case.machine.started[0].hangs = True
        for _ in range(9):
            await case.pool.measure("llama")
            await settle()
        for _ in range(9):
            case.machine.clock.advance(HUNG_S)
            running.note_sign()
            await case.pool.measure("llama")
            await settle()
        await pass_by(2 * case.machine.stop_s)
        assert case.machine.names == ["a"]
    case.machine.clock.advance(HUNG_S)
    async with case.pool.use(case.spec, file("a")):
        await case.pool.measure("llama")
        await pass_by(2 * case.machine.stop_s)
        assert case.machine.names == ["a"], "nothing was asked of it meanwhile"


async def test_one_that_does_not_answer_is_asked_once_at_a_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def probe(_self: Answering) -> Probe:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    async with case.pool.use(case.spec, file("a")):
        monkeypatch.setattr(Answering, "probe", probe)
        for _ in range(9):
            await case.pool.measure("llama")
            await settle()
        assert asked == 1


async def test_one_that_is_not_at_work_is_not_asked(case: Case) -> None:
    await case.used("a")
    case.machine.started[0].hangs = True
    for _ in range(9):
        await case.pool.measure("llama")
        await settle()
    assert case.machine.names == ["a"]


async def test_a_model_is_not_ended_while_requests_are_under_way(case: Case) -> None:
    async with case.holding("a"):
        with pytest.raises(ProxyError) as why:
            await case.pool.stop("llama", "a")
        assert why.value.code == IN_USE
    await case.pool.stop("llama", "a")
    assert case.machine.names == []


async def test_a_changed_program_is_drained_and_replaced(case: Case) -> None:
    changed = engine_spec(program=EngineProgram(command=("run", "{model}", "{name}", "{port}", "-x")))
    async with case.holding("a"):
        case.pool.reconcile({"llama": changed})
        await pass_by(5)
        assert case.machine.names == ["a"]
    await pass_by(5)
    assert case.machine.names == []
    case.spec = changed
    await case.used("a")
    assert case.machine.started[-1].launch.words[-1] == "-x"


async def test_an_unchanged_program_outlives_a_reload(case: Case) -> None:
    await case.used("a")
    case.pool.reconcile({"llama": engine_spec(priority=7)})
    await pass_by(5)
    assert case.machine.names == ["a"]


async def test_a_removed_one_ends(case: Case) -> None:
    await case.used("a")
    case.pool.reconcile({})
    await pass_by(5)
    assert case.machine.names == []


async def test_nothing_runs_once_the_pool_is_closed_not_even_what_loads(case: Case) -> None:
    await case.used("a")
    loads = asyncio.create_task(case.used("b"))
    await pass_by(1)
    await case.pool.close()
    assert case.machine.names == []
    loads.cancel()


async def test_an_engine_that_cannot_be_ended_is_told_and_is_not_the_others_matter(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await case.used("a")
    await case.used("b")
    (stubborn,) = (each for each in case.pool.running("llama") if each.file.name == "a")

    async def stop() -> None:
        raise OSError("it does not listen")

    monkeypatch.setattr(stubborn.process, "stop", stop)
    await case.pool.close()
    assert "a of llama could not be ended: it does not listen" in caplog.text
    assert case.machine.names == ["a"]


async def test_a_restart_leaves_units_that_answer_to_the_next_daemon_and_ends_all_else(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    await case.used("child")
    case.machine.unit = "ollama-proxyd-engine-x.service"
    await case.used("unit")
    loads = asyncio.create_task(case.used("loading"))
    await pass_by(1)
    with caplog.at_level("INFO"):
        await case.pool.close(keeps_units=True)
    assert "unit of llama goes on" in caplog.text
    assert "systemctl --user stop ollama-proxyd-engine-x.service" in caplog.text
    assert case.machine.names == ["unit"]
    assert [kept.model for kept, _ in case.machine.kept] == ["unit"]
    loads.cancel()


async def test_the_kernels_count_stands_for_the_estimate_next_time(case: Case) -> None:
    case.machine.sizes["a"] = int(3 * GB)
    await case.used("a")
    await case.pool.measure("llama")
    await case.pool.stop("llama", "a")
    assert footprints.Footprints(case.store).expected(case.spec, file("a")) == pytest.approx(3.15 * GB)


async def test_idle_engines_leave_where_they_have_more_than_was_expected(narrow: Case) -> None:
    await narrow.used("a")
    await narrow.used("b")
    narrow.machine.sizes["b"] = int(3 * GB)
    await narrow.pool.measure("llama")
    await pass_by(5)
    assert narrow.machine.names == ["b"]


async def test_the_phases_of_a_load_are_told(case: Case) -> None:
    told: list[Phase] = []
    case.pool.changed.listen(lambda changed: told.append(changed.instance.phase))
    await case.used("a")
    await case.pool.stop("llama", "a")
    assert list(dict.fromkeys(told)) == [
        *(Phase.WAITING, Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.STOPPING, Phase.GONE)
    ]


async def test_idle_engines_leave_a_card_that_others_want_and_those_at_work_stay(case: Case) -> None:
    pinning = EngineProgram(command=PROGRAM.command, pinned=("c",))
    card = engine_spec("card", program=pinning, hardware=Hardware.NVIDIA)
    await case.used("in main memory")
    async with case.pool.use(card, file("a")):
        for name in "bc":
            async with case.pool.use(card, file(name)):
                pass
        (leaving,) = case.pool.leave_cards()
        await leaving.gone.wait()
        assert case.machine.names == ["a", "c", "in main memory"]


async def test_while_it_loads_it_tells_how_much_of_its_model_is_in_memory(case: Case) -> None:
    case.machine.sizes["tiny"] = int(0.405 * ONE_GB_MODEL)
    told: list[tuple[Phase, int | None]] = []
    case.pool.changed.listen(lambda changed: told.append((changed.instance.phase, changed.instance.loaded_percent)))
    await case.used("tiny")
    assert (Phase.LOADING, 40) in told
    assert told[-1] == (Phase.READY, None)


async def test_a_model_that_is_stopped_by_hand_answers_first_what_is_under_way(case: Case) -> None:
    async with case.holding("tiny"):
        stopped = asyncio.create_task(case.pool.stop("llama", "tiny", drains=True))
        await pass_by(5)
        assert case.machine.names == ["tiny"]
    await stopped
    assert case.machine.names == []


async def test_a_program_that_gives_the_model_its_path_is_asked_by_that(case: Case) -> None:
    async with case.pool.use(case.spec, file("tiny")) as running:
        assert running.served_name == "tiny"
        running.note(Probe(models=(Model("cached/other"), Model("/models/tiny.gguf"))))
        assert running.served_name == "/models/tiny.gguf"
        running.note(Probe(models=(Model("cached/other"), Model("/mnt/models/tiny.gguf"))))
        assert running.served_name == "/mnt/models/tiny.gguf"
