"""While engines of ours evict each other, requests for models in memory go before those that would evict one."""

from ollama_proxyd.core.admission import Ticket
from ollama_proxyd.core.faults import Work
from ollama_proxyd.core.fleet import LoadedModel, Probe
from ollama_proxyd.core.requests import Hints, Priority
from ollama_proxyd.services.warm_models import WarmModels
from tests.fakes import FakeBackend, FakeClock, FakeFleet
from tests.services.engines.machine import engine_spec

MOST_S = 30.0


class Turns:
    """A backend with the models a and b in memory, of which a was asked for last."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.fleet = FakeFleet(self.clock)
        self.fleet.have(FakeBackend(engine_spec()))
        self.fleet.note_up("llama", Probe((), loaded=(LoadedModel("a"), LoadedModel("b"))))
        self.warm = WarmModels(self.fleet, self.clock)
        self.warm.begin("llama", "b")
        self.warm.begin("llama", "a")

    def waits(self, ticket: Ticket) -> bool:
        return self.warm.free_from_s(ticket, Hints(), MOST_S, is_followed=True) > self.clock.monotonic()


def ticket(model: str) -> Ticket:
    return Ticket("", Priority.NORMAL, 0.0, frozenset({"llama"}), "llama", 1.0, model)


def test_a_model_waits_that_would_evict_another_but_for_a_while_only() -> None:
    turns, waiting = Turns(), ticket("c")
    turns.warm.note_eviction("llama")
    assert turns.waits(waiting)
    turns.clock.advance(MOST_S)
    turns.warm.begin("llama", "b")
    assert not turns.waits(waiting)


def test_any_model_in_memory_or_on_its_way_there_goes_at_once() -> None:
    turns = Turns()
    turns.warm.note_eviction("llama")
    assert not turns.waits(ticket("b"))
    turns.fleet.lease("llama", Work("c"))
    assert not turns.waits(ticket("c"))


def test_nothing_waits_where_no_engine_had_to_leave_of_late() -> None:
    turns = Turns()
    assert not turns.waits(ticket("c"))
    turns.warm.note_eviction("llama")
    turns.clock.advance(1000.0)
    assert not turns.waits(ticket("c"))


def test_requests_for_each_model_in_memory_are_followed() -> None:
    assert list(Turns().warm.models_of("llama")) == ["a", "b"]
