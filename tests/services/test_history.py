"""What ended is handed over to the history in batches."""

import asyncio
from collections.abc import Sequence

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Account, Source
from ollama_proxyd.core.energy_sums import Sums
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.history import Values, attempt_row
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.decision import Ranking
from ollama_proxyd.core.programs import Asker, KnownBy, Program
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.services.booking import WHOLE_EACH_S
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.energy import EnergyAccounts
from ollama_proxyd.services.history import BATCH_S, MOST_NOTED
from ollama_proxyd.services.tasks import Tasks
from tests.core.test_history import ENDED
from tests.fakes import FakeBackend, FakeClock, MemoryHistory, pass_by, services_of, settle
from tests.services.test_gateway import answer, failed, request

ASKER = Program("org.example.App", KnownBy.FLATPAK)


def handed_over(services: Services) -> Sequence[tuple[str, Values]]:
    services.history.hand_over()
    assert isinstance(services.history.store, MemoryHistory)
    return [(row.table, row.values) for row in services.history.store.rows if row.table != "devices"]


async def test_a_request_is_one_row_and_each_of_its_attempts_another() -> None:
    broken, whole = FakeBackend("npu", failed(ErrorKind.UPSTREAM_FAILED)), FakeBackend("cpu")
    services = await services_of(broken, whole)
    await answer(services, request(asker=Asker(ASKER), priority=Priority.HIGH, request_id="my own words"))
    (one, first), (two, second), (three, whole_request) = handed_over(services)
    assert (one, two, three) == ("attempts", "attempts", "requests")
    assert (first["backend"], first["result"], first["hardware"]) == ("npu", "upstream_failed", "npu")
    assert (second["backend"], second["result"], second["completion_tokens"]) == ("cpu", "ok", 2)
    assert (whole_request["attempts"], whole_request["result"], whole_request["priority"]) == (2, "ok", "high")
    assert {each["program"] for each in (first, second, whole_request)} == {"org.example.App"}
    assert "my own words" not in str((first, second, whole_request))


async def test_a_row_has_the_time_of_day_at_which_the_attempt_ended() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    await answer(services, request())
    ended_s = clock.unix()
    clock.advance(100)
    assert handed_over(services)[0][1]["unix_s"] == ended_s


async def test_what_ended_before_the_machine_slept_is_not_of_the_morning_after() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    await answer(services, request())
    ended_s = clock.unix()
    clock.nap(8 * 3600.0)
    (_, attempt), (_, whole) = handed_over(services)
    assert (attempt["unix_s"], whole["unix_s"]) == (ended_s, ended_s)


async def test_many_requests_at_once_are_one_batch() -> None:
    services = await services_of(FakeBackend("npu"))
    tasks = Tasks("test")
    services.history.follow(services.system, services.governor.setting, tasks)
    await asyncio.gather(*(answer(services, request()) for _ in range(20)))
    store = services.history.store
    assert isinstance(store, MemoryHistory)
    await pass_by(BATCH_S - 0.1)
    assert store.rows == []
    await pass_by(0.2)
    assert [row.table for row in store.rows].count("attempts") == 20
    await tasks.close()


async def test_what_the_others_would_have_cost_is_reckoned_now_and_then_where_many_ask() -> None:
    clock = FakeClock()
    services = await services_of(*map(FakeBackend, ("npu", "igpu", "nvidia", "cpu")), clock=clock)
    for pause_s in (0.0, WHOLE_EACH_S, 0.0):
        await answer(services, request())
        clock.advance(pause_s)
    kept = [values["alternatives"] for table, values in handed_over(services) if table == "attempts"]
    first, second, third = map(len, kept)
    assert first == third == 3 > second > 0


async def test_what_ended_holds_nothing_that_was_left_unpriced_also_where_it_failed() -> None:
    broken = FakeBackend("igpu", failed(ErrorKind.UPSTREAM_FAILED))
    services, ended = await services_of(broken, *map(FakeBackend, ("npu", "nvidia"))), list[AttemptEnded]()
    services.fleet.attempts.listen(ended.append)
    await answer(services, request())
    assert [(each.backend_id, each.succeeded) for each in ended] == [("igpu", False), ("nvidia", True)]
    assert not any(isinstance(each.decision.ranked, Ranking) for each in ended if each.decision is not None)


async def test_nothing_wakes_the_machine_where_nothing_ends() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    tasks = Tasks("test")
    services.history.follow(services.system, services.governor.setting, tasks)
    await pass_by(3600)
    assert clock.sleeps == []
    await tasks.close()


async def test_what_waits_is_bounded() -> None:
    services = await services_of(FakeBackend("npu"))
    for _ in range(MOST_NOTED + 10):
        services.history.note(ENDED)
    assert len(handed_over(services)) == MOST_NOTED


async def test_the_last_attempts_come_back_the_oldest_first() -> None:
    services = await services_of(FakeBackend("npu"))
    for request_id in ("1", "2", "3"):
        await answer(services, request(request_id=request_id))
    ends = [each.ended_s for each in await services.history.recent(2)]
    assert len(ends) == 2
    assert ends == sorted(ends)


def drawn(services: Services) -> dict[tuple[str, str], float]:
    """Joules by day and account that were handed over."""
    assert isinstance(services.history.store, MemoryHistory)
    rows = [row.values for row in services.history.store.rows if row.table == "devices"]
    days = {(row["day"], row["account"]) for row in rows}
    return {key: sum(row["joules"] for row in rows if (row["day"], row["account"]) == key) for key in days}


async def test_what_devices_drew_is_handed_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    services = await services_of(FakeBackend("npu"))
    totals = {("npu", Account.ACTIVE, Source.ESTIMATED): 5.0, ("npu", Account.IDLE_TAIL, Source.ESTIMATED): 2.0}
    monkeypatch.setattr(EnergyAccounts, "totals", Sums(totals, totals))
    services.history.hand_over()
    services.history.hand_over()
    assert drawn(services) == {("2027-01-15", "active"): 5.0, ("2027-01-15", "idle_tail"): 2.0}


async def test_what_a_device_draws_in_idle_belongs_to_the_day_on_which_it_drew_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, tasks = FakeClock(), Tasks("test")
    services = await services_of(FakeBackend("npu"), clock=clock)
    services.history.follow(services.system, services.governor.setting, tasks)
    for reading, joules in enumerate((1.0, 3.0, 3.5)):
        total = {("npu", Account.BASE, Source.MEASURED): joules}
        monkeypatch.setattr(EnergyAccounts, "totals", Sums(total, total))
        services.system.set(SystemState(cpu_percent=Reading(reading, 0.0)))
        await settle()
        clock.advance(12.01 * 3600 if reading == 0 else 60)
    services.history.hand_over()
    assert drawn(services) == {("2027-01-15", "base"): 3.0, ("2027-01-16", "base"): 0.5}
    await tasks.close()


async def test_a_row_in_another_versions_words_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def recent(limit: int) -> Sequence[Values]:
        return ({"unix_s": 1.0}, {"unix_s": "soon", "busy_s": None}, dict(attempt_row(ENDED, 1.0, "npu").values))

    services = await services_of(FakeBackend("npu"))
    monkeypatch.setattr(services.history.store, "recent", recent)
    assert [each.backend_id for each in await services.history.recent(3)] == [ENDED.backend_id]


async def test_another_mode_is_kept_and_a_new_reason_for_the_same_is_not() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    tasks = Tasks("test")
    services.history.follow(services.system, services.governor.setting, tasks)
    store = services.history.store
    assert isinstance(store, MemoryHistory)
    await pass_by(60)
    services.governor.select(Mode.QUIET)
    await pass_by(BATCH_S + 1)
    services.governor.select(Mode.QUIET)
    services.governor.hold(Mode.ULTRA_EFFICIENCY, "", "", "one")
    await pass_by(BATCH_S + 1)
    services.governor.hold(Mode.ULTRA_EFFICIENCY, "", "", "two")
    await pass_by(BATCH_S + 1)
    kept = [(row.values["mode"], row.values["effective_mode"]) for row in store.rows if row.table == "modes"]
    assert kept == [("Balanced", "Balanced"), ("Quiet", "Quiet"), ("Quiet", "UltraEfficiency")]
    await tasks.close()
