"""What ended is handed over to the history in batches."""

import asyncio
from collections.abc import Sequence

from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.history import Values
from ollama_proxyd.core.programs import KnownBy, Program
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.history import BATCH_S, MOST_NOTED
from tests.core.test_history import ENDED
from tests.fakes import FakeBackend, FakeClock, MemoryHistory, pass_by, services_of
from tests.services.test_gateway import answer, failed, request

ASKER = Program("org.example.App", KnownBy.FLATPAK)


def handed_over(services: Services) -> Sequence[tuple[str, Values]]:
    services.history.hand_over()
    assert isinstance(services.history.store, MemoryHistory)
    return [(row.table, row.values) for row in services.history.store.rows]


async def test_a_request_is_one_row_and_each_of_its_attempts_another() -> None:
    broken, whole = FakeBackend("npu", failed(ErrorKind.UPSTREAM_FAILED)), FakeBackend("cpu")
    services = await services_of(broken, whole)
    await answer(services, request(program=ASKER, priority=Priority.HIGH, request_id="my own words"))
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


async def test_many_requests_at_once_are_one_batch() -> None:
    services = await services_of(FakeBackend("npu"))
    follower = asyncio.create_task(services.history.follow())
    await asyncio.gather(*(answer(services, request()) for _ in range(20)))
    store = services.history.store
    assert isinstance(store, MemoryHistory)
    await pass_by(BATCH_S - 0.1)
    assert store.rows == []
    await pass_by(0.2)
    assert len(store.rows) == 40
    follower.cancel()


async def test_nothing_wakes_the_machine_where_nothing_ends() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), clock=clock)
    follower = asyncio.create_task(services.history.follow())
    await pass_by(3600)
    assert clock.sleeps == []
    follower.cancel()


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
