"""What holds of every decision, whatever the fleet."""

from dataclasses import replace
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from ollama_proxyd.core.binding import device_of
from ollama_proxyd.core.fleet import (
    BackendSpec,
    BackendView,
    FleetView,
    Hardware,
    Health,
    LoadedModel,
    Model,
    ModelRules,
    Profile,
)
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.eligibility import Situation
from ollama_proxyd.core.policy.mode_limits import Tier, is_too_busy, tier
from ollama_proxyd.core.policy.priors import known_power_w
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, best_under, rank
from ollama_proxyd.core.readings import (
    NO_SENSOR,
    UNKNOWN_SYSTEM,
    DeviceState,
    PowerState,
    Reading,
    SystemState,
    known,
)
from ollama_proxyd.core.requests import Api, Hints, Operation, Priority
from tests.core.reference_profile import order, priced, setting

NAMES = ("tiny:latest", "tiny", "other:8b", "EMBED")
names = st.sampled_from(NAMES)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


anything = maybe(st.floats())
"""What a careless file or engine may say, nan and infinity among it."""
sensible = st.floats(0.01, 500)

wild_profiles = st.builds(Profile, *[anything] * 10)
sane_profiles = st.builds(
    Profile,
    power_w=maybe(sensible),
    ttft_s=maybe(st.floats(0.01, 30)),
    decode_tps=maybe(sensible),
    prefill_tps=maybe(sensible),
    wake_s=maybe(sensible),
    load_s=maybe(sensible),
    load_j=maybe(sensible),
    idle_w=maybe(sensible),
)
globs = st.lists(st.sampled_from(("*", "tiny*", "[", "*:8b", "")), max_size=2).map(tuple)
capabilities = maybe(st.frozensets(st.sampled_from(("completion", "vision", "embedding"))))
sizes = maybe(st.integers(-1, 10**30))


def fleets_of(most: int, profiles: st.SearchStrategy, wild: bool) -> st.SearchStrategy:
    sizes_of_fleets = st.integers(0 if wild else 1, most)
    return sizes_of_fleets.flatmap(lambda size: st.tuples(*(backends(f"b{at}", profiles, wild) for at in range(size))))


def backends(backend_id: str, profiles: st.SearchStrategy, wild: bool) -> st.SearchStrategy:
    held = st.builds(Model, names, size_bytes=sizes, capabilities=capabilities)
    spec = st.builds(
        BackendSpec,
        id=st.just(backend_id),
        name=st.just(backend_id),
        api=st.sampled_from(Api),
        endpoint=st.just(""),
        hardware=st.sampled_from(Hardware),
        profile=profiles,
        rules=st.just(ModelRules()) | st.builds(ModelRules, globs, globs, globs, sizes)
        if wild
        else st.just(ModelRules()),
        priority=st.integers(-5, 5),
    )
    speed = st.builds(Speed, anything, anything, anything, st.integers(-1, 99))
    return st.builds(
        BackendView,
        spec=spec,
        health=st.just(Health.UP) | st.sampled_from(Health) if wild else st.just(Health.UP),
        models=st.just((Model("tiny"),)) | st.lists(held, max_size=3).map(tuple) if wild else st.just((Model("tiny"),)),
        loaded=maybe(st.lists(st.builds(LoadedModel, names), max_size=2).map(tuple)),
        slots=st.integers(-1 if wild else 1, 4),
        in_flight=st.integers(0, 6),
        speeds=st.dictionaries(names, speed, max_size=2) if wild else st.just({}),
    )


fleets = fleets_of(5, sane_profiles, wild=False)
wild_fleets = fleets_of(5, wild_profiles, wild=True)
hints = st.builds(
    Hints,
    target=st.sampled_from((None, None, None, "b0", "nobody")),
    latency_critical=st.booleans(),
    power_efficient=st.booleans(),
    max_latency_ms=st.sampled_from((None, None, 300, 900, 1e5)),
    max_power_watts=st.sampled_from((None, None, 12, 60.5)),
    priority=maybe(st.sampled_from(Priority)),
)
queries = st.builds(
    Query,
    model=st.just("tiny") | maybe(names),
    operation=st.sampled_from(Operation),
    prompt_tokens=st.integers(-1, 5000) | st.just(10**400),
    max_tokens=maybe(st.integers(-2, 5000) | st.just(10**400)),
    needs_vision=st.sampled_from((False, False, True)),
    time_left_s=st.sampled_from((None, None, 0.5, 100)),
    hints=hints,
    tried=st.sampled_from((frozenset(), frozenset(), frozenset({"b0"}))),
    cached_tokens=st.just({}) | st.dictionaries(st.sampled_from(("b0", "b1", "none")), st.floats(0, 6000)),
)
numbers = st.just(NO_SENSOR) | st.builds(Reading, st.floats() | st.floats(20, 110), st.just(1.0))
devices = st.builds(
    DeviceState,
    id=st.sampled_from(("a", "b", "c")),
    hardware=st.sampled_from(Hardware),
    name=st.just(""),
    power_state=st.sampled_from(PowerState),
    temperature_c=numbers,
    critical_c=numbers,
    slope_c_per_s=numbers,
    fan_percent=numbers,
    throttling=st.just(NO_SENSOR) | st.builds(Reading, st.sampled_from(("", "too hot")), st.just(1.0)),
)
machines = st.builds(
    SystemState,
    games=st.just(NO_SENSOR) | st.builds(Reading, st.integers(0, 2), st.just(1.0)),
    devices=st.lists(devices, max_size=4).map(tuple),
)
"""What sensors may say of the devices, much of it absurd."""
plain_queries = st.builds(
    Query, model=st.just("tiny"), prompt_tokens=st.integers(0, 5000), max_tokens=maybe(st.integers(0, 5000))
)
modes = st.sampled_from(Mode)


@given(wild_fleets, queries, modes, machines)
def test_every_backend_is_either_ranked_or_rejected_with_a_reason(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState
) -> None:
    decision = rank(query, fleet, machine, setting(mode))
    placed = order(decision) + [each.backend_id for each in decision.rejected]
    assert sorted(placed) == sorted(view.spec.id for view in fleet)
    assert all(each.rejections for each in decision.rejected)
    assert decision.reason


@given(wild_fleets, queries, modes, machines)
def test_every_term_is_a_number_and_what_keeps_the_limits_comes_first_the_cheapest_before_others(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState
) -> None:
    decision = rank(query, fleet, machine, setting(mode))
    ranked = decision.ranked[decision.reason.code == "trial" :]
    assert all(0 <= value < float("inf") for each in ranked for value in each.terms.values())
    situation = Situation(query, setting(mode), machine, sum(view.in_flight for view in fleet))
    tiers = [tier(each.beyond, situation) for each in ranked]
    first = next((each for each, place in zip(ranked, tiers, strict=True) if place is Tier.WITHIN), None)
    if first is not None and is_too_busy(first.beyond):
        tiers = [Tier.WITHIN if place is Tier.BEYOND else place for place in tiers]
    places = [(place, each.cost_j) for place, each in zip(tiers, ranked, strict=True)]
    assert places == sorted(places)


@given(wild_fleets, queries, modes, modes, machines)
def test_what_another_mode_would_choose_is_the_first_of_its_ranking(
    fleet: FleetView, query: Query, mode: Mode, other: Mode, machine: SystemState
) -> None:
    best = best_under(assess(query, fleet, machine, setting(mode)), setting(other))
    decision = rank(query, fleet, machine, setting(other))
    ranked = decision.ranked[decision.reason.code == "trial" :]
    assert (None if best is None else best.backend_id) == (ranked[0].backend_id if ranked else None)
    assert best is None or best.energy_j == ranked[0].energy_j


@given(fleets, plain_queries, st.floats(0, 100), st.floats(0, 100))
def test_a_lower_price_of_time_never_picks_a_backend_of_higher_energy(
    fleet: FleetView, query: Query, one_w: float, other_w: float
) -> None:
    # What others lose is worth the price as well, and so is how long a model stays: its tail is another at each price.
    idle = tuple(with_profile(replace(view, in_flight=0), idle_w=0) for view in fleet)
    thrifty, hasty = (rank(query, idle, UNKNOWN_SYSTEM, priced(each)) for each in sorted((one_w, other_w)))
    assert thrifty.ranked[0].energy_j <= hasty.ranked[0].energy_j * (1 + 1e-9)
    assert thrifty.ranked[0].terms["time_s"] >= hasty.ranked[0].terms["time_s"] * (1 - 1e-9) or one_w == other_w


def place(fleet: FleetView, query: Query, mode: Mode, backend_id: str) -> int:
    """A backend's place in the ranking, behind all others when it is rejected."""
    ids = order(rank(query, fleet, UNKNOWN_SYSTEM, setting(mode)))
    return ids.index(backend_id) if backend_id in ids else len(fleet)


def with_profile(view: BackendView, **profile: float) -> BackendView:
    return replace(view, spec=replace(view.spec, profile=replace(view.spec.profile, **profile)))


@given(fleets, plain_queries, modes, st.floats(1.01, 10))
def test_raising_a_backends_watts_never_improves_its_rank(
    fleet: FleetView, query: Query, mode: Mode, factor: float
) -> None:
    first, *others = fleet
    power_w = first.spec.profile.power_w
    assume(power_w is not None)
    hungrier = with_profile(first, power_w=power_w * factor)
    assert place((hungrier, *others), query, mode, "b0") >= place(fleet, query, mode, "b0")


@given(fleets, plain_queries, modes, st.floats(1.01, 10))
def test_raising_a_backends_latency_never_improves_its_rank(
    fleet: FleetView, query: Query, mode: Mode, factor: float
) -> None:
    first, *others = fleet
    ttft_s = first.spec.profile.ttft_s
    assume(ttft_s is not None)
    slower = with_profile(first, ttft_s=ttft_s * factor)
    assert place((slower, *others), query, mode, "b0") >= place(fleet, query, mode, "b0")


@given(wild_fleets, queries, modes, machines)
def test_no_limit_that_is_firm_is_ever_exceeded(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState
) -> None:
    asked, known_w = query.hints, {view.spec.id: known_power_w(view) for view in fleet}
    decision = rank(query, fleet, machine, setting(mode))
    for each in decision.ranked:
        assert asked.max_power_watts is None or (known_w[each.backend_id] or 0) <= asked.max_power_watts
        assert asked.max_latency_ms is None or each.latency_ms <= asked.max_latency_ms
        assert query.time_left_s is None or each.latency_ms <= query.time_left_s * 1000
        assert asked.target in {None, each.backend_id}
        assert each.backend_id not in query.tried


@given(wild_fleets, queries, modes, st.sampled_from(("row", "request")), machines)
def test_strict_limits_are_never_exceeded(
    fleet: FleetView, query: Query, mode: Mode, who: str, machine: SystemState
) -> None:
    in_force = setting(mode)
    if who == "row":
        assume(query.hints.target is None)
        in_force = replace(in_force, row=replace(in_force.row, strict=True))
    else:
        query = replace(query, hints=replace(query.hints, strict_limits=True))
    row, known_w = in_force.row, {view.spec.id: known_power_w(view) for view in fleet}
    for each in rank(query, fleet, machine, in_force).ranked:
        assert row.max_power_w is None or (known_w[each.backend_id] or 0) <= row.max_power_w
        assert {limit.code for limit in each.beyond} <= {"mode_wait", "mode_concurrency", "deadline_of_end"}


@given(wild_fleets, queries, modes, machines, st.randoms())
def test_the_order_of_the_configuration_changes_nothing(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState, random: Random
) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)
    decision, again = (rank(query, views, machine, setting(mode)) for views in (fleet, tuple(shuffled)))
    assert order(decision) == order(again)
    assert {each.backend_id: each.rejections for each in decision.rejected} == {
        each.backend_id: each.rejections for each in again.rejected
    }


@given(wild_fleets, queries, modes, modes, machines)
def test_no_mode_leaves_a_request_without_an_answer_that_another_would_give(
    fleet: FleetView, query: Query, mode: Mode, other: Mode, machine: SystemState
) -> None:
    one, another = (rank(query, fleet, machine, setting(each)) for each in (mode, other))
    assert sorted(order(one)) == sorted(order(another))


@given(wild_fleets, queries, modes, modes, machines)
def test_chosen_held_and_auto_follow_one_rule(
    fleet: FleetView, query: Query, mode: Mode, other: Mode, machine: SystemState
) -> None:
    chosen = setting(mode)
    for same in (replace(chosen, chosen=other, held=mode), replace(chosen, chosen=Mode.AUTO)):
        assert rank(query, fleet, machine, same).ranked == rank(query, fleet, machine, chosen).ranked


@given(fleets, plain_queries, modes)
def test_a_guess_of_watts_exceeds_no_limit(fleet: FleetView, query: Query, mode: Mode) -> None:
    guessed = {view.spec.id for view in fleet if view.spec.profile.power_w is None}
    ranked = rank(query, fleet, UNKNOWN_SYSTEM, setting(mode)).ranked
    assert all(
        "mode_power" not in {limit.code for limit in each.beyond} for each in ranked if each.backend_id in guessed
    )


def without_heat(machine: SystemState) -> SystemState:
    """The same machine, cool and with quiet fans."""
    cool = {"temperature_c": NO_SENSOR, "fan_percent": NO_SENSOR, "throttling": NO_SENSOR}
    return replace(machine, devices=tuple(replace(device, **cool) for device in machine.devices))


@given(wild_fleets, queries, modes, machines)
def test_heat_alone_leaves_only_those_out_whose_device_is_in_danger(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState
) -> None:
    hot, cool = (rank(query, fleet, each, setting(mode)) for each in (machine, without_heat(machine)))
    in_danger = {each.backend_id for each in hot.rejected if "critical_heat" in {no.code for no in each.rejections}}
    assert set(order(cool)) - in_danger == set(order(hot))


@given(fleets, plain_queries, machines)
def test_a_device_that_holds_itself_back_serves_only_where_every_other_does_too(
    fleet: FleetView, query: Query, machine: SystemState
) -> None:
    decision = rank(query, fleet, replace(machine, games=NO_SENSOR), setting(Mode.PERFORMANCE))
    bound = {view.spec.id: device_of(view.spec, machine.devices) for view in fleet}
    throttled = {each for each, device in bound.items() if device is not None and known(device.throttling)}
    if decision.ranked and decision.ranked[0].backend_id in throttled:
        assert set(order(decision)) <= throttled
        assert "although" in str(decision.reason)
