"""What a service's price does to a decision."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.fleet import BackendView, Hardware, Profile
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.comparison import compare
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, decide
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.tariff import CostSettings, Tariff
from tests.core.reference_profile import REFERENCE, ask, backend, only, order, setting

FAST = Profile(ttft_s=0.4, decode_tps=100)
CHEAP = Tariff(input_price=0.15, output_price=0.6)


def cloud(tariff: Tariff | None = None, **spec: object) -> BackendView:
    return backend("cloud", FAST, is_local=False, tariff=tariff, **spec)


def test_money_counts_as_the_electricity_that_it_buys() -> None:
    priced = only(cloud(Tariff(1.0, 10.0, CostSettings("EUR", 0.25))), prompt_tokens=1000, max_tokens=100)
    assert priced.terms["money"] == pytest.approx(0.001 + 0.001)
    assert priced.terms["money_j"] == pytest.approx(0.002 / 0.25 * 3.6e6)
    waiting_j = priced.terms["price_of_time_w"] * priced.terms["time_s"]
    assert priced.cost_j == pytest.approx(priced.energy_j + priced.terms["money_j"] + waiting_j)
    said = next(note for note in priced.notes if note.code == "money_counted")
    assert str(said) == "its tokens cost about 0.002 EUR, which counts as 28800 J at 0.25 EUR/kWh"


@pytest.mark.parametrize(("given", "amount"), [(Tariff(2.0, None), 0.002), (Tariff(None, 2.0), 0.0002)])
def test_a_price_that_is_not_configured_is_none(given: Tariff, amount: float) -> None:
    assert only(cloud(given), prompt_tokens=1000, max_tokens=100).terms["money"] == pytest.approx(amount)


def test_elsewhere_only_the_radio_draws_from_this_machine() -> None:
    for hardware in Hardware:
        priced = only(cloud(hardware=hardware))
        assert priced.power_w == 1.0
        assert "power_of_radio" in {note.code for note in priced.notes}
    assert only(backend("cloud", replace(FAST, power_w=9.0), is_local=False)).power_w == 9.0


def test_the_price_of_time_decides_between_joules_and_money() -> None:
    """A cent for a thousand answers: in Performance waiting is dearer, in the others the money."""
    fleet = (REFERENCE[0], cloud(Tariff(0.01, 0.1)))
    assert order(ask(fleet, Mode.PERFORMANCE)) == ["cloud", "npu"]
    assert order(ask(fleet, Mode.EFFICIENCY)) == ["npu", "cloud"]
    assert order(ask((REFERENCE[0], cloud()), Mode.EFFICIENCY)) == ["cloud", "npu"]


def test_the_reason_tells_the_money() -> None:
    assert ", 0.00012 USD and " in str(ask((cloud(CHEAP),)).reason)
    assert "USD" not in str(ask((cloud(),)).reason)


def test_what_performance_would_have_chosen_pays_the_price_as_well() -> None:
    dear = cloud(Tariff(output_price=1000.0))
    assessment = assess(Query("tiny"), (REFERENCE[0], dear), UNKNOWN_SYSTEM, setting(Mode.EFFICIENCY))
    compared = compare(decide(assessment), assessment, DEFAULT_TABLE[Mode.PERFORMANCE], lambda fleet: fleet)
    assert compared is not None
    assert compared.instead.backend_id == "npu"
