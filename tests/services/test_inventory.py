"""Backends from several sources, merged to one list."""

from ollama_proxyd.services.inventory import BackendConfig, Backends, Inventory, Source
from tests.fakes import spec_of


def config(backend_id: str, endpoint: str = "") -> BackendConfig:
    return BackendConfig(spec_of(backend_id, endpoint=endpoint or f"http://{backend_id}"))


def ids(backends: Backends) -> list[str]:
    return [each.spec.id for each in backends]


def inventory(*offers: Backends) -> Inventory:
    inventory = Inventory(Source("configured"), Source("found"), Source("simulated", stands_in=True))
    inventory.put(offers)
    return inventory


def test_several_sources_are_in_force_together_and_the_earlier_one_wins() -> None:
    mine, found = config("a"), config("a", "http://elsewhere")
    merged = inventory((mine,), (found, config("b")), ())
    assert merged.backends == (mine, config("b"))
    assert merged.label == "configured and found"


def test_an_engine_that_was_found_at_a_configured_address_is_not_doubled() -> None:
    mine = config("mine", "http://localhost:8080/v1")
    assert ids(inventory((mine,), (config("found", "http://127.0.0.1:8080"),), ()).backends) == ["mine"]


def test_one_source_may_name_an_address_twice() -> None:
    twice = (config("chat", "http://127.0.0.1:1"), config("code", "http://127.0.0.1:1"))
    assert inventory(twice, (), ()).backends == twice


def test_a_stand_in_counts_only_while_there_is_nothing_else() -> None:
    simulated = (config("demo"),)
    merged = inventory((), (), simulated)
    assert (ids(merged.backends), merged.label) == (["demo"], "simulated")
    merged.sources[1].backends.set((config("found"),))
    assert (ids(merged.backends), merged.label) == (["found"], "found")


def test_an_empty_inventory_is_said_to_come_from_its_first_source() -> None:
    assert inventory((), (), ()).label == "configured"
