"""A backend that answers its health checks and fails requests is set aside, and comes back by one real request."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from ollama_proxyd.core.breaker import Phase
from ollama_proxyd.core.errors import UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta
from ollama_proxyd.core.fleet import Health
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.requests import Api, Chat, Operation, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.services.bundle import Services
from ollama_proxyd.services.settings import GatewaySettings
from tests.fakes import FakeBackend, FakeClock, Step, pass_by, reload, services_of, settle, words

FAILED = ErrorKind.UPSTREAM_FAILED
CHUNK = Delta(text="w")


def request(stream: bool = True, model: str = "tiny") -> Request:
    return Request(Operation.CHAT, Api.OLLAMA, "chat", model, stream, b"{}", lambda: Chat(()))


async def used(services: Services, asked: Request | None = None) -> str | None:
    """The backend whose answer came whole, None where none did."""
    first: Routed | None = None
    try:
        async with aclosing(services.gateway.answer(asked or request())) as events:
            async for event in events:
                first = first or (event if isinstance(event, Routed) else None)
    except ProxyError:
        return None
    return first.backend_id if first else None


KINDS: dict[str, tuple[Step, ...]] = {
    "500": (ProxyError(FAILED, "x", status=500, detail='{"error":"boom"}'),),
    "502 in HTML": (ProxyError(FAILED, "x", status=502, detail="<html>bad gateway</html>"),),
    "HTML with 200": (ProxyError(FAILED, "x", status=200),),
    "silence": (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x"),),
    "silence after the head": (Accepted(), ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x")),
    "silence after a chunk": (Accepted(), CHUNK, ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x")),
    "reset before the answer": (ProxyError(FAILED, "x"),),
    "reset after chunks": (Accepted(), CHUNK, CHUNK, CHUNK, ProxyError(FAILED, "x")),
    "nothing listens": (ProxyError(FAILED, "x", code=UNREACHABLE),),
    "an error in the stream": (Accepted(), ProxyError(FAILED, "x", detail='{"error":"cuda error: device lost"}')),
    "out of memory": (ProxyError(FAILED, "x", status=500, detail="cudaMalloc failed: out of memory"),),
    "429": (ProxyError(FAILED, "x", status=429, detail="slow down"),),
    "503 with a queue": (ProxyError(FAILED, "x", status=503, detail="server busy, maximum pending requests exceeded"),),
    "a key that is refused": (ProxyError(FAILED, "x", status=401),),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_of_forty_requests_only_a_few_reach_one_that_fails(kind: str) -> None:
    bad, good = FakeBackend("igpu", *KINDS[kind]), FakeBackend("npu")
    services = await services_of(bad, good)
    answered = [await used(services) for _ in range(40)]
    assert len(bad.requests) <= 3
    assert set(answered[3:]) == {"npu"}


@pytest.mark.parametrize("kind", KINDS)
async def test_over_a_minute_it_is_tried_ever_more_rarely(kind: str) -> None:
    bad, good = FakeBackend("igpu", *KINDS[kind]), FakeBackend("npu")
    services = await services_of(bad, good)
    for _ in range(120):
        await used(services)
        await services.health.check_all()  # it passes, and changes nothing
        await pass_by(0.5)
    assert len(bad.requests) <= (70 if kind in {"429", "503 with a queue"} else 9)


@pytest.mark.parametrize("script", [words("a", "b"), (Accepted(), CHUNK)])
async def test_one_request_finds_out_while_twenty_wait(script: Sequence[Step]) -> None:
    backend = FakeBackend("npu", ProxyError(FAILED, "x", status=500))
    services = await services_of(backend)
    for _ in range(3):
        assert await used(services) is None
    await pass_by(5.0)
    backend.requests.clear()
    go_on = asyncio.Event()
    backend.script = (go_on, *words("a", "b"))
    asked = [asyncio.ensure_future(used(services)) for _ in range(21)]
    await settle()
    assert len(backend.requests) == 1
    go_on.set()
    assert await asyncio.gather(*asked) == ["npu"] * 21
    assert services.fleet.view("npu").breakers == ()


async def test_when_the_one_fails_again_those_who_waited_are_told_when_to_come_back() -> None:
    backend = FakeBackend("npu", ProxyError(FAILED, "x", status=500))
    services = await services_of(backend)
    for _ in range(3):
        await used(services)
    await pass_by(5.0)
    backend.requests.clear()
    go_on = asyncio.Event()
    backend.script = (go_on, ProxyError(FAILED, "x", status=500))
    asked = [asyncio.ensure_future(anext(services.gateway.answer(request()))) for _ in range(21)]
    await settle()
    go_on.set()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert len(backend.requests) == 1
    told = [each for each in ends if isinstance(each, ProxyError) and each.kind is ErrorKind.UNAVAILABLE]
    assert len(told) == 20
    assert all(each.retry_after_s and 2.0 < each.retry_after_s < 6.0 for each in told)


async def test_a_client_that_leaves_while_it_tries_lets_the_next_one_try() -> None:
    backend = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x"))
    services = await services_of(backend)
    await used(services)
    backend.script = (asyncio.Event(), *words("a"))
    trying = asyncio.ensure_future(used(services))
    await settle()
    waiting = asyncio.ensure_future(used(services))
    await settle()
    trying.cancel()
    backend.script = words("a")
    await settle()
    assert await used(services) == "npu"
    assert await waiting == "npu"


async def test_those_who_wait_are_served_though_the_client_that_tried_for_them_left() -> None:
    bad, good = FakeBackend("igpu", ProxyError(FAILED, "x")), FakeBackend("npu")
    good.script = (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x"),)
    services = await services_of(bad, good)
    await used(services)
    await used(services)
    good.script = (asyncio.Event(), *words("a"))
    trying = asyncio.ensure_future(used(services))
    await settle()
    waiting = [asyncio.ensure_future(used(services)) for _ in range(20)]
    await settle()
    good.script = words("a")
    trying.cancel()
    assert await asyncio.gather(*waiting) == ["npu"] * 20


async def test_of_two_that_are_tried_the_first_to_end_decides() -> None:
    fleet = {each: FakeBackend(each, ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x")) for each in ("igpu", "npu")}
    services = await services_of(*fleet.values())
    assert await used(services) is None
    go_on = asyncio.Event()
    for each in fleet.values():
        each.requests.clear()
        each.script = (go_on if each.spec.id == "npu" else asyncio.Event(), *words("a"))
    trying = [asyncio.ensure_future(used(services)) for _ in fleet]
    await settle()
    assert [len(each.requests) for each in fleet.values()] == [1, 1]
    waiting = [asyncio.ensure_future(used(services)) for _ in range(20)]
    await settle()
    go_on.set()
    fleet["npu"].script = words("a")
    assert await asyncio.gather(*waiting) == ["npu"] * 20
    assert [task.done() for task in trying].count(False) == 1
    for task in trying:
        task.cancel()


async def test_where_the_first_of_two_that_are_tried_fails_again_the_other_may_still_serve() -> None:
    fleet = {each: FakeBackend(each, ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x")) for each in ("igpu", "npu")}
    services = await services_of(*fleet.values())
    assert await used(services) is None
    fails, serves = asyncio.Event(), asyncio.Event()
    fleet["igpu"].script = (fails, ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x"))
    fleet["npu"].script = (serves, *words("a"))
    trying = [asyncio.ensure_future(used(services)) for _ in fleet]
    await settle()
    waiting = [asyncio.ensure_future(used(services)) for _ in range(20)]
    await settle()
    fails.set()
    await settle()
    assert not any(each.done() for each in waiting)
    serves.set()
    assert await asyncio.gather(*waiting) == ["npu"] * 20
    await asyncio.gather(*trying)


async def test_a_slot_that_is_given_back_unused_ends_the_trial() -> None:
    backend = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "x"))
    services = await services_of(backend)
    await used(services)
    with services.fleet.lease("npu", services.fleet.view("npu").breakers[0].work):
        assert [each.phase for each in services.fleet.view("npu").breakers] == [Phase.HALF_OPEN]
    assert [each.phase for each in services.fleet.view("npu").breakers] == [Phase.OPEN]
    backend.script = words("a")
    assert await used(services) == "npu"


async def test_a_reload_keeps_the_breaker_of_an_unchanged_backend() -> None:
    bad, good = FakeBackend("igpu", *KINDS["500"]), FakeBackend("npu")
    services = await services_of(bad, good)
    for _ in range(3):
        await used(services)
    await reload(services, bad, good, FakeBackend("cpu"))
    assert await used(services) == "npu"
    assert len(bad.requests) == 3


async def test_one_that_is_back_is_not_said_to_refuse_connections_until_somebody_asks_it() -> None:
    gone = FakeBackend("npu", *KINDS["nothing listens"])
    services = await services_of(gone)
    await used(services)
    await services.health.check_all()
    assert "refuses connections" in str(services.fleet.view("npu").reason)
    await pass_by(60.0)
    await services.health.check_all()
    assert services.fleet.view("npu").reason is None


async def test_switching_a_backend_off_and_on_forgets_its_failures() -> None:
    bad = FakeBackend("igpu", *KINDS["500"])
    services = await services_of(bad, FakeBackend("npu"))
    for _ in range(3):
        await used(services)
    services.fleet.set_enabled("igpu", False)
    services.fleet.set_enabled("igpu", True)
    assert services.fleet.view("igpu").breakers == ()


async def test_what_is_the_fault_of_the_request_opens_nothing() -> None:
    backend = FakeBackend("igpu", ProxyError(ErrorKind.UPSTREAM_REJECTED, "temperature is wrong", status=400))
    services = await services_of(backend)
    for _ in range(10):
        await used(services)
    assert services.fleet.view("igpu").breakers == ()


async def test_two_that_fail_above_a_good_one_never_mean_a_failure() -> None:
    fleet = [FakeBackend("nvidia", *KINDS["500"]), FakeBackend("igpu", *KINDS["reset before the answer"])]
    services = await services_of(*fleet, FakeBackend("cpu"), mode=Mode.PERFORMANCE, settings=GatewaySettings())
    assert [await used(services) for _ in range(20)] == ["cpu"] * 20


async def test_twenty_at_once_are_all_served_by_the_good_one() -> None:
    fleet = [FakeBackend(each, *KINDS["500"]) for each in ("nvidia", "igpu", "npu")]
    services = await services_of(*fleet, FakeBackend("cpu"), clock=FakeClock())
    assert await asyncio.gather(*(used(services) for _ in range(20))) == ["cpu"] * 20


async def test_a_silent_backend_costs_what_it_needed_before_many_times_and_not_the_configured_bound() -> None:
    bad, good, clock = FakeBackend("igpu"), FakeBackend("npu"), FakeClock()
    services = await services_of(bad, good, clock=clock)
    known = Speed(ttft_s=0.35, decode_tps=22.0, output_tokens=50.0, samples=5)
    services.fleet.views.set(tuple(replace(view, speeds={"tiny:latest": known}) for view in services.fleet.views.value))
    bad.script = (asyncio.Event(),)
    began_s = clock.monotonic()
    assert await used(services) == "npu"
    assert clock.monotonic() - began_s <= 30.0


@pytest.mark.parametrize("answered", [True, False], ids=["a limit used up by an answer", "429"])
async def test_a_service_that_limits_its_rate_is_not_asked_before_the_time_it_names(answered: bool) -> None:
    refused = ProxyError(FAILED, "x", status=429, detail="slow down", retry_after_s=40.0)
    service, clock = FakeBackend("igpu", *words("Hello"), models=["tiny"]), FakeClock()
    if answered:
        service.script = (Accepted(rest_s=40.0), *words("Hello")[1:])
    else:
        service.script = (refused,)
    services = await services_of(service, clock=clock)
    assert await used(services) == ("igpu" if answered else None)
    asked, service.down = len(service.requests), ProxyError(FAILED, "it was asked for its health")
    for _ in range(20):
        assert await used(services) is None
        await services.health.check_all()
    with pytest.raises(ProxyError, match=r"left alone for 40 s: it asked to be left alone") as told:
        await anext(services.gateway.answer(request()))
    assert told.value.retry_after_s == 40.0
    assert (len(service.requests), services.fleet.view("igpu").health) == (asked, Health.UP)
    service.down = None
    clock.advance(40.0)
    service.script = words("Hello")
    assert await used(services) == "igpu"
    assert services.fleet.view("igpu").breakers == ()
