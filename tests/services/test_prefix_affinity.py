"""A conversation goes where its beginning was read already, as far as that engine is found to keep it."""

from dataclasses import replace

import pytest

from ollama_proxyd.core import prefixes
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Finished, Usage
from ollama_proxyd.core.features import EngineWishes, Feature
from ollama_proxyd.core.fleet import LoadedModel, Profile
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.requests import Operation, Request
from ollama_proxyd.services import delivery, prefix_affinity
from ollama_proxyd.services.bundle import Services
from tests.fakes import FakeBackend, FakeClock, services_of, spec_of
from tests.services.test_gateway import answer, begun, outcome, request, routed

TOKENS = 4000
LOADED = (LoadedModel("tiny:latest"),)
PROFILE = Profile(power_w=10, ttft_s=0.2, decode_tps=20, prefill_tps=400)


def asked(words: bytes, tokens: int = TOKENS, target: str | None = None) -> Request:
    return replace(request(target=target), body=words * (4 * tokens // len(words)), prompt_tokens=tokens)


def engine(
    backend_id: str,
    slots: int = 1,
    read_s: float = 0.0,
    clock: FakeClock | None = None,
    cached_tokens: int | None = None,
) -> FakeBackend:
    wait = (lambda: clock.advance(read_s),) if clock is not None else ()
    end = Finished(usage=Usage(prompt_tokens=TOKENS, completion_tokens=20, cached_tokens=cached_tokens))
    spec = replace(spec_of(backend_id), profile=PROFILE, slots=slots)
    return FakeBackend(spec, Accepted(), *wait, Delta(text="a"), end, loaded=LOADED)


async def switched_on(*backends: FakeBackend, clock: FakeClock | None = None) -> Services:
    services = await services_of(*backends, clock=clock)
    services.gateway.queries.take_wishes(EngineWishes(frozenset({Feature.PREFIX_CACHE})))
    return services


async def first(services: Services, prompt: Request) -> Ranked:
    return routed(await answer(services, prompt)).decision.ranked[0]


async def test_the_next_turn_goes_where_the_conversation_was_read() -> None:
    services = await switched_on(engine("a"), engine("b"))
    assert (await first(services, asked(b"other "))).backend_id == "a"
    await first(services, asked(b"talk ", target="b"))
    found = await first(services, asked(b"talk ", TOKENS + 400))
    assert (found.backend_id, found.stay.load_s) == ("b", 0)
    assert found.cached_tokens == pytest.approx(TOKENS, rel=0.05)
    assert found.prefill_s < 2 < found.prefill_s + found.cached_s
    assert "its cache is likely to hold" in " ".join(map(str, found.notes))
    assert found.terms["cached_tokens"] == found.cached_tokens


@pytest.mark.parametrize(("told", "counts"), [(TOKENS // 2, True), (0, False), (None, False)])
async def test_without_the_flag_it_counts_at_engines_that_have_told_of_their_cache(
    told: int | None, counts: bool
) -> None:
    services = await services_of(engine("a", cached_tokens=told), engine("b"))
    await first(services, asked(b"talk ", target="a"))
    assert bool((await first(services, asked(b"talk ", target="a"))).cached_tokens) is counts


@pytest.mark.parametrize(("slots", "is_kept"), [(1, False), (2, True)])
async def test_an_engine_keeps_as_many_prompts_as_it_has_slots(slots: int, is_kept: bool) -> None:
    services = await switched_on(engine("a", slots))
    for words in (b"talk ", b"other "):
        await first(services, asked(words))
    assert bool((await first(services, asked(b"talk ", TOKENS + 400))).cached_tokens) is is_kept


async def test_what_left_the_memory_is_read_anew() -> None:
    backend = engine("a")
    services = await switched_on(backend)
    await first(services, asked(b"talk "))
    services.fleet.note_unloaded("a", "tiny:latest")
    assert not (await first(services, asked(b"talk "))).cached_tokens
    services.fleet.note_unloaded("a", "tiny:latest")
    await first(services, asked(b"other "))
    assert not (await first(services, asked(b"talk "))).cached_tokens


async def test_an_engine_that_says_it_had_nothing_is_believed() -> None:
    services = await switched_on(engine("a", cached_tokens=0))
    shares = [(await first(services, asked(b"talk "))).cached_tokens / TOKENS for _ in range(5)]
    assert shares == pytest.approx([0, 1, 0.5, 0.25, 0.13], abs=0.03)


async def test_the_time_to_the_first_word_tells_it_of_an_engine_that_does_not() -> None:
    clock = FakeClock()
    for read_s, least, most in ((10.0, 0.0, 0.6), (0.3, 0.9, 1.0)):
        services = await switched_on(engine("a", read_s=read_s, clock=clock), clock=clock)
        shares = [(await first(services, asked(b"talk "))).cached_tokens / TOKENS for _ in range(3)]
        assert least <= shares[-1] <= most
        assert outcome(services).succeeded


async def test_an_unknown_part_of_a_prompt_teaches_no_speed_of_reading() -> None:
    clock = FakeClock()
    services = await switched_on(engine("a", read_s=10.0, clock=clock), clock=clock)
    speeds = []
    for _ in range(2):
        await first(services, asked(b"talk "))
        speeds.append(services.fleet.view("a").speeds["tiny:latest"].longer)
    assert speeds[0] == speeds[1]


async def test_short_prompts_and_vectors_are_not_followed() -> None:
    services = await switched_on(engine("a"))
    for prompt in (asked(b"talk ", 400), replace(asked(b"talk "), operation=Operation.EMBEDDING)):
        for _ in range(2):
            found = await first(services, prompt)
        assert not found.cached_tokens


async def test_a_short_prompt_takes_the_place_of_a_long_one() -> None:
    services = await switched_on(engine("a"))
    for prompt in (asked(b"talk "), asked(b"hi ", 400)):
        await first(services, prompt)
    assert not (await first(services, asked(b"talk "))).cached_tokens


async def test_no_more_places_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_affinity, "MOST_PLACES", 2)
    services = await switched_on(*[engine(each) for each in "abcd"])
    for each in "abcd":
        await first(services, asked(b"talk ", target=each))
    assert [place for place, _ in services.gateway.queries.affinity._prompts] == ["c", "d"]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests whose beginning was hashed."""
    found: list[Request] = []

    def noted(request: Request) -> prefixes.Blocks:
        found.append(request)
        return prefixes.prompt_blocks(request)

    monkeypatch.setattr(delivery, "prompt_blocks", noted)
    return found


async def test_the_beginning_of_a_prompt_is_hashed_once_for_all_that_looks_at_it(hashed: list[Request]) -> None:
    services = await switched_on(engine("a"), engine("b"))
    prompts = [asked(b"talk "), asked(b"other ")]
    for prompt in prompts:
        await first(services, prompt)
    assert hashed == prompts


async def test_what_goes_on_from_a_broken_answer_is_another_prompt(hashed: list[Request]) -> None:
    def breaks() -> None:
        raise ProxyError(ErrorKind.UPSTREAM_FAILED, "it broke off")

    spec = replace(spec_of("a"), profile=PROFILE)
    broken = FakeBackend(spec, Accepted(), Delta(text="a"), breaks, loaded=LOADED)
    services = await switched_on(broken, engine("b"))
    await answer(services, begun(prompt_tokens=TOKENS))
    assert [each.spoken is None for each in hashed] == [True, False]
