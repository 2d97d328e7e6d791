"""What an answer would cost on a backend, in joules and seconds, each term by name."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.heat import heat_share
from ollama_proxyd.core.policy.priors import MOST, expect, is_known, slowdown
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.residence import KeepingAt, residence
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Hints, Operation, Priority

TYPICAL_OUTPUT_TOKENS = 200.0
"""An answer's length where nothing was learned of the model's answers."""
URGENT_PRICE_W = 300.0
"""What a second is worth at least to a request that calls itself latency-critical: as much as in Performance."""


class Demand(NamedTuple):
    """What a request asks of a backend."""

    prompt_tokens: float
    output_tokens: float
    is_length_known: bool
    waits_s: Mapping[str, float]
    """The estimated waits for a slot, by backend."""
    price_of_time_w: float = 0.0
    max_temp_c: float | None = None
    """How hot devices may become for it, beside what they bear."""
    keeping: KeepingAt = KeepingAt(0.0, 0.0)


class Candidate(NamedTuple):
    """A backend that can do the work, its model, and its device where known."""

    view: BackendView
    model: Model
    device: DeviceState | None = None
    unbound: Reason | None = None
    """Why the device is not known, None where none is to be expected."""
    neighbours: int = 0
    """How many other requests will be under way on the same device."""


def price_of_time_w(row: ModeRow, hints: Hints) -> float:
    """What one second of waiting is worth for this request.

    A client that asks for both speed and thrift has not asked for either: the mode's own price holds. Work of the
    lowest priority has no one waiting, unless it is latency-critical.
    """
    if hints.latency_critical and not hints.power_efficient:
        return max(row.price_of_time_w, URGENT_PRICE_W)
    if hints.power_efficient and not hints.latency_critical:
        return 0.0
    return 0.0 if hints.priority is Priority.BEST_EFFORT else row.price_of_time_w


def demand(query: Query, row: ModeRow, speeds: Iterable[Speed]) -> Demand:
    """What a request asks for; how long an answer gets is the model's habit, the same on every backend."""
    typical = _typical_output_tokens(speeds)
    is_embedding = query.operation is Operation.EMBEDDING
    expected = 0.0 if is_embedding else typical or TYPICAL_OUTPUT_TOKENS
    if query.max_tokens is not None and query.max_tokens >= 0:
        expected = float(min(query.max_tokens, expected))
    asked = Demand(
        prompt_tokens=min(max(query.prompt_tokens, 0), MOST),
        output_tokens=expected,
        is_length_known=is_embedding or typical is not None,
        waits_s=query.waits_s,
    )
    return under(asked, query, row)


def under(asked: Demand, query: Query, row: ModeRow) -> Demand:
    """The same in another mode."""
    return asked._replace(
        price_of_time_w=price_of_time_w(row, query.hints),
        max_temp_c=row.max_temp_c if query.hints.target is None else None,
        keeping=KeepingAt(query.now_s, row.price_of_time_w),
    )


def price(candidate: Candidate, asked: Demand) -> Ranked:
    """What the request would cost on this backend."""
    view, model = candidate.view, candidate.model
    expected = expect(view, model)
    power_w = expected.power_w
    queue_wait_s = asked.waits_s.get(view.spec.id, 0.0)
    stay, stay_notes = residence(view, model, candidate.device, power_w, asked.keeping)
    prefill_s = expected.prefill_s(asked.prompt_tokens)
    decode_s = expected.decode_s(asked.prompt_tokens, asked.output_tokens) * slowdown(candidate.neighbours)
    latency_s = queue_wait_s + stay.wake_s + stay.load_s + prefill_s
    time_s = latency_s + decode_s
    prefill_j, decode_j = power_w * prefill_s, power_w * decode_s
    energy_j = prefill_j + decode_j + stay.load_j + stay.wake_j + stay.idle_tail_j
    share, heat_note = _heat(candidate, asked.max_temp_c)
    heat_j = share * ((power_w + asked.price_of_time_w) * (prefill_s + decode_s))
    money, money_j, money_note = _money(view, asked)
    notes = (*expected.notes, *stay_notes, *[each for each in (heat_note, money_note) if each is not None])
    cost_j = energy_j + heat_j + money_j - stay.spared_j + asked.price_of_time_w * (time_s - stay.spared_s)
    terms = {
        "queue_wait_s": queue_wait_s,
        "prefill_s": prefill_s,
        "decode_s": decode_s,
        "time_s": time_s,
        "prefill_j": prefill_j,
        "decode_j": decode_j,
        **stay._asdict(),
        "energy_j": energy_j,
        "heat_j": heat_j,
        "money": money,
        "money_j": money_j,
        "price_of_time_w": asked.price_of_time_w,
        "cost_j": cost_j,
        "power_w": power_w,
        "latency_ms": latency_s * 1000,
    }
    figures = (cost_j, energy_j, latency_s * 1000, power_w)
    known = expected.is_guess, asked.is_length_known, view.spec.tariff
    return Ranked(view.spec.id, model.name, *figures, terms, notes, *known)


def cost_under(candidate: Candidate, priced: Ranked, asked: Demand) -> tuple[float, float]:
    """Cost and joules in another mode: the price of time, the heat that counts and the keep-alive differ."""
    terms, price_w = priced.terms, asked.price_of_time_w
    stay, _ = residence(candidate.view, candidate.model, candidate.device, priced.power_w, asked.keeping)
    energy_j = priced.energy_j - terms["idle_tail_j"] + stay.idle_tail_j
    share, _ = _heat(candidate, asked.max_temp_c)
    heat_j = share * (priced.power_w + price_w) * (terms["prefill_s"] + terms["decode_s"])
    added_j = heat_j + terms["money_j"] - stay.spared_j
    return energy_j + added_j + price_w * (terms["time_s"] - stay.spared_s), energy_j


def _money(view: BackendView, asked: Demand) -> tuple[float, float, Reason | None]:
    """What the service takes for the tokens, and the joules that this stands for, with a note."""
    tariff = view.spec.tariff
    if tariff is None:
        return 0.0, 0.0, None
    money = tariff.spent(asked.prompt_tokens, asked.output_tokens)
    money_j, costs = tariff.joules(money), tariff.costs
    values = {"money": money, "money_joules": money_j, "price_per_kwh": costs.electricity_per_kwh}
    return money, money_j, Reason("money_counted", currency=costs.currency, **values)


def _typical_output_tokens(speeds: Iterable[Speed]) -> float | None:
    """The mean of what was learned on each backend, weighed by how often; None where nothing was."""
    tokens, samples = 0.0, 0
    for speed in speeds:
        if speed.samples > 0 and is_known(speed.output_tokens):
            tokens += speed.output_tokens * speed.samples
            samples += speed.samples
    return tokens / samples if samples else None


def _heat(candidate: Candidate, max_temp_c: float | None) -> tuple[float, Reason | None]:
    """What heat adds, as a share of the work: a device that must slow down takes up to twice the time."""
    if candidate.device is None:
        return 0.0, candidate.unbound
    return heat_share(candidate.device, max_temp_c)
