"""The same request that was answered before is answered again from memory, where that is asked for and exact."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.answer_cache import CacheSettings
from ollama_proxyd.core.cache_control import CacheControl
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason
from ollama_proxyd.core.fleet import Model, ModelRules
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints, Priority, Request
from ollama_proxyd.core.routed import Routed
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.services.bundle import Services
from tests.fakes import FakeBackend, FakeClock, reload, services_of, settle, spec_of, vectors, words

ON = CacheSettings(enabled=True)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
SIGNED = Model("tiny:latest", digest="aa")


def chat(control: CacheControl | None = None, hints: Hints | None = None, **fields: Any) -> Request:
    hints = replace(hints or Hints(), cache=control or CacheControl())
    return OpenAI.calls["/v1/chat/completions"](json.dumps({**CHAT, **fields}).encode(), hints)


def embedding(text: str = "hello") -> Request:
    return OpenAI.calls["/v1/embeddings"](json.dumps({"model": "tiny", "input": text}).encode(), Hints())


async def ask(services: Services, request: Request) -> list[Event]:
    """The answer's events; the first says whether it was a hit."""
    async with aclosing(services.answers.answer(request)) as events:
        return [event async for event in events]  # type: ignore[misc]


async def hits(services: Services, request: Request) -> bool | None:
    routed, *_ = await ask(services, request)
    assert isinstance(routed, Routed)
    return routed.is_hit


async def test_the_same_request_is_answered_again_without_a_backend() -> None:
    npu = FakeBackend("npu")
    services = await services_of(npu, cache=ON)
    first, again = await ask(services, chat()), await ask(services, chat())
    assert [event for event in again if isinstance(event, Delta)] == [e for e in first if isinstance(e, Delta)]
    assert len(npu.requests) == 1
    routed = again[0]
    assert isinstance(routed, Routed)
    assert routed.is_hit
    assert routed.decision.reason.code == "cached"
    assert routed.decision.reason.values["backend_id"] == "npu"
    outcome, today = services.ledger.recent()[-1], services.ledger.today
    assert (outcome.is_cached, outcome.backend_id, outcome.model) == (True, None, "tiny:latest")
    assert outcome.spared_j == pytest.approx(services.ledger.recent()[0].energy_j)
    assert (today.requests, today.cached, today.cache_saved_j) == (2, 1, outcome.spared_j)


async def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    services = await services_of(FakeBackend("npu"))
    assert [await hits(services, chat()) for _ in range(2)] == [None, None]
    assert len(services.answers) == 0


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": None, "seed": 7}, True),
        ({"temperature": 0.7, "seed": 0}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": None}, False),
        ({"temperature": False}, False),
        ({"temperature": 1, "seed": -1}, False),
        ({"temperature": 1, "seed": 2**32 - 1}, False),
        ({"keep_alive": 0}, False),
        ({"keep_alive": "5m"}, True),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]}]},
            False,
        ),
    ],
)
async def test_only_what_would_come_out_the_same_is_kept(fields: dict[str, Any], is_kept: bool) -> None:
    services = await services_of(FakeBackend(spec_of("npu", https_images=True)), cache=ON)
    for _ in range(2):
        found = await hits(services, chat(**fields))
    assert found is is_kept


async def test_embeddings_are_kept() -> None:
    services = await services_of(FakeBackend("npu", *vectors((0.5, 0.25))), cache=ON)
    assert [await hits(services, embedding(text)) for text in ("a", "a", "b")] == [False, True, False]


async def test_another_request_is_not_the_same() -> None:
    services = await services_of(FakeBackend("npu"), cache=ON)
    await ask(services, chat())
    others = [
        chat(stream=True),
        chat(max_tokens=3),
        chat(messages=[{"role": "user", "content": "hello "}]),
        chat(hints=Hints(target="npu")),
        chat(hints=Hints(include_energy=True)),
        Ollama.calls["/api/chat"](json.dumps({**CHAT, "options": {"temperature": 0}}).encode(), Hints()),
    ]
    assert [await hits(services, other) for other in others] == [False] * len(others)
    blanks = OpenAI.calls["/v1/chat/completions"](json.dumps(dict(reversed(CHAT.items())), indent=2).encode(), Hints())
    assert await hits(services, blanks)


async def test_a_request_whose_fields_stand_twice_is_not_kept() -> None:
    services = await services_of(FakeBackend("npu"), cache=ON)
    body = json.dumps(CHAT).encode()[:-1] + b',"temperature":0}'
    assert [await hits(services, OpenAI.calls["/v1/chat/completions"](body, Hints())) for _ in range(2)] == [False] * 2


async def test_the_client_says_what_it_takes_and_what_is_kept() -> None:
    clock = FakeClock()
    services = await services_of(FakeBackend("npu"), cache=ON, clock=clock)
    assert not await hits(services, chat(CacheControl(may_take=False, may_keep=False)))
    assert len(services.answers) == 0
    await ask(services, chat())
    assert not await hits(services, chat(CacheControl(may_take=False)))
    clock.advance(10)
    assert not await hits(services, chat(CacheControl(max_age_s=5)))
    assert await hits(services, chat(CacheControl(max_age_s=5)))


@pytest.mark.parametrize(
    "script",
    [
        (Accepted(), Delta(text="a"), ProxyError(ErrorKind.UPSTREAM_FAILED, "broke")),
        (Accepted(), Delta(text="a"), Finished(FinishReason.CONTENT_FILTER)),
        (Accepted(), Delta(text="a"), Finished(skipped_frames=1)),
    ],
)
async def test_an_answer_that_is_not_whole_is_not_kept(script: tuple[Any, ...]) -> None:
    services = await services_of(FakeBackend("npu", *script), cache=ON)
    with suppress(ProxyError):
        await ask(services, chat())
    assert len(services.answers) == 0


async def test_an_answer_whose_client_left_is_not_kept() -> None:
    services = await services_of(FakeBackend("npu", *words("a", "b", "c")), cache=ON)
    async with aclosing(services.answers.answer(chat())) as events:
        await anext(events)
        await anext(events)
    assert len(services.answers) == 0


async def test_a_model_that_was_replaced_answers_anew() -> None:
    npu = FakeBackend("npu", models=(SIGNED,))
    services = await services_of(npu, cache=ON)
    await ask(services, chat())
    npu.models = (replace(SIGNED, digest="bb"),)
    await services.health.check_all()
    assert not await hits(services, chat())
    npu.models = ()
    await services.health.check_all()
    with pytest.raises(ProxyError):
        await ask(services, chat())


async def test_it_answers_while_every_backend_is_down_and_says_so() -> None:
    npu = FakeBackend("npu", models=(SIGNED,))
    services = await services_of(npu, cache=ON)
    await ask(services, chat())
    services.fleet.note_down("npu", Reason("backend_down", detail="gone"))
    routed = (await ask(services, chat()))[0]
    assert isinstance(routed, Routed)
    assert str(routed.decision.reason).endswith("npu is down")


@pytest.mark.parametrize("model", [SIGNED, Model("tiny:latest")])
async def test_a_backend_that_comes_back_may_hold_other_weights_unless_it_tells_their_digest(model: Model) -> None:
    services = await services_of(FakeBackend("npu", models=(model,)), cache=ON)
    following = asyncio.create_task(services.fleet.summary.follow(lambda _: services.answers.look()))
    await ask(services, chat())
    await settle()
    services.fleet.note_down("npu", Reason("backend_down", detail="gone"))
    await settle()
    assert await hits(services, chat())
    await services.health.check_all()
    await settle()
    assert await hits(services, chat()) is (model is SIGNED)
    following.cancel()


async def test_a_model_that_a_reload_excludes_is_refused() -> None:
    services = await services_of(FakeBackend("npu"), cache=ON)
    await ask(services, chat())
    await reload(services, FakeBackend(spec_of("npu", rules=ModelRules(excluded=("tiny*",)))))
    with pytest.raises(ProxyError):
        await ask(services, chat())


async def test_switched_off_it_is_empty() -> None:
    services = await services_of(FakeBackend("npu"), cache=ON)
    await ask(services, chat())
    services.answers.reconfigure(CacheSettings())
    assert (len(services.answers), services.answers.size_bytes) == (0, 0)
    services.answers.reconfigure(ON)
    assert not await hits(services, chat())


async def test_answers_leave_by_age_and_for_room_the_oldest_first() -> None:
    clock = FakeClock()
    long = FakeBackend("npu", *words("x" * 20_000))
    settings = CacheSettings(enabled=True, max_size_mb=1, max_age_s=60)
    services = await services_of(long, cache=settings, clock=clock)
    for at in range(20):
        await ask(services, chat(max_tokens=at + 1))
    assert services.answers.size_bytes <= 1_000_000
    assert await hits(services, chat(max_tokens=20))
    assert not await hits(services, chat(max_tokens=1))
    clock.advance(61)
    assert not await hits(services, chat(max_tokens=20))
    assert len(services.answers) == 1


async def test_an_answer_too_large_for_the_cache_is_not_kept() -> None:
    large = FakeBackend("npu", *words("x" * 40_000))
    services = await services_of(large, cache=CacheSettings(enabled=True, max_size_mb=1))
    await ask(services, chat())
    assert (len(services.answers), services.answers.size_bytes) == (0, 0)


async def test_a_request_past_its_deadline_gets_no_kept_answer_either() -> None:
    services = await services_of(FakeBackend("npu"), cache=ON)
    await ask(services, chat())
    with pytest.raises(ProxyError):
        await ask(services, chat(hints=Hints(deadline_ms=1)))


@pytest.mark.parametrize("make", [chat, embedding, lambda: chat(stream=True)])
async def test_twenty_at_once_are_one_computation_and_each_gets_its_answer(make: Callable[[], Request]) -> None:
    npu = FakeBackend("npu", *(vectors((0.5,)) if make is embedding else words("a", "b")))
    services = await services_of(npu, cache=ON)
    answers = await asyncio.gather(*(ask(services, make()) for _ in range(20)))
    assert len(npu.requests) == 1
    assert (
        sorted([bool(routed.is_hit) for routed, *_ in answers if isinstance(routed, Routed)]) == [False] + [True] * 19
    )
    assert len({str(each[1:-1]) for each in answers}) == 1
    assert (services.ledger.today.requests, services.ledger.today.cached) == (20, 19)
    assert services.ledger.today.cache_saved_j == pytest.approx(19 * (services.ledger.recent()[0].energy_j or 0.0))


async def test_where_the_first_one_fails_each_of_the_others_is_tried() -> None:
    npu = FakeBackend("npu", Accepted(), Delta(text="a"), ProxyError(ErrorKind.UPSTREAM_FAILED, "broke"))
    services = await services_of(npu, cache=ON)
    ends = await asyncio.gather(*(ask(services, chat()) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, ProxyError) for each in ends)
    assert len(npu.requests) >= 5
    assert services.ledger.today.requests == 5


async def test_where_the_first_client_leaves_the_next_request_takes_its_place() -> None:
    npu = FakeBackend("npu", *words("a", "b", "c"))
    services = await services_of(npu, cache=ON)
    first = services.answers.answer(chat())
    await anext(first)
    others = [asyncio.create_task(ask(services, chat())) for _ in range(3)]
    await settle()
    assert len(npu.requests) == 1
    await first.aclose()
    answers = await asyncio.gather(*others)
    assert len(npu.requests) == 2
    assert sorted([bool(routed.is_hit) for routed, *_ in answers if isinstance(routed, Routed)]) == [False, True, True]


async def test_a_client_that_takes_its_answer_slowly_holds_no_other_back() -> None:
    npu = FakeBackend(spec_of("npu", slots=4), *words("a", "b", "c"))
    services = await services_of(npu, cache=ON)
    first = services.answers.answer(chat())
    await anext(first)  # and reads no further
    answers = await asyncio.gather(*(ask(services, chat()) for _ in range(3)))
    assert len(npu.requests) == 2
    assert sorted([bool(routed.is_hit) for routed, *_ in answers if isinstance(routed, Routed)]) == [False, True, True]
    assert [event async for event in first]
    assert not services.answers._first


async def test_a_client_that_leaves_while_it_waits_costs_the_others_nothing() -> None:
    services = await services_of(FakeBackend("npu", *words("a", "b")), cache=ON)
    first = services.answers.answer(chat())
    await anext(first)
    leaving, staying = (asyncio.create_task(hits(services, chat())) for _ in range(2))
    await settle()
    leaving.cancel()
    assert [event async for event in first]
    assert await staying
    assert not services.answers._first


@pytest.mark.parametrize(
    ("patient", "other"),
    [
        (Hints(), chat(CacheControl(may_take=False))),
        (Hints(priority=Priority.BEST_EFFORT), chat(hints=Hints(priority=Priority.HIGH))),
        (Hints(), chat(hints=Hints(deadline_ms=9_000_000_000_000))),
        (Hints(), chat(hints=Hints(max_latency_ms=9_000_000))),
    ],
)
async def test_none_waits_for_a_request_that_may_wait_longer_than_it(patient: Hints, other: Request) -> None:
    npu = FakeBackend("npu", *words("a", "b"))
    services = await services_of(npu, cache=ON)
    first = services.answers.answer(chat(hints=patient))
    await anext(first)
    asking = asyncio.create_task(ask(services, other))
    await settle()
    assert [event async for event in first]
    await asking
    assert len(npu.requests) == 2


async def test_a_reload_that_switches_the_cache_off_lets_those_who_wait_go_their_own_way() -> None:
    npu = FakeBackend("npu", *words("a", "b"))
    services = await services_of(npu, cache=ON)
    first = services.answers.answer(chat())
    await anext(first)
    waiting = asyncio.create_task(hits(services, chat()))
    await settle()
    services.answers.reconfigure(CacheSettings())
    assert [event async for event in first]
    assert await waiting is False
    assert len(npu.requests) == 2
