"""A decision looks at few backends in full, and comes to the order that pricing all of them would give."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_proxyd.core.fleet import FleetView, Health, LoadedModel, Profile
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Answer, Speed, learn
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy import least_costs
from ollama_proxyd.core.policy import rank as ranking
from ollama_proxyd.core.policy import table as tables
from ollama_proxyd.core.policy.cost import Candidate, Demand, Line, line, price
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.mode_limits import tier
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, SystemState
from ollama_proxyd.core.requests import Hints
from ollama_proxyd.core.watts import Watts
from ollama_proxyd.core.workload import Ahead, Followers, Following, QueueAhead, UnderWay
from tests.core.reference_profile import PROFILES, TINY, backend, setting
from tests.core.test_rank_properties import fleets, machines, modes, queries

QUERY = Query(TINY.name, prompt_tokens=3000)
UNKNOWN = (replace(backend("b0", PROFILES["nvidia"]), loaded=None),)
"""One of which nobody knows what is in its memory."""


def many(count: int) -> FleetView:
    views = (backend(("npu", "igpu", "nvidia", "cpu")[at % 4]) for at in range(count))
    specs = ((view, replace(view.spec, id=f"b{at:03}", is_local=False)) for at, view in enumerate(views))
    return tuple([replace(view, spec=spec) for view, spec in specs])


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends that were priced."""
    seen: list[str] = []

    def counted(candidate: Candidate, asked: Demand) -> Ranked:
        seen.append(candidate.view.spec.id)
        return price(candidate, asked)

    monkeypatch.setattr(ranking, "price", counted)
    return seen


beside = st.dictionaries(st.sampled_from(("b0", "b1", "b2")), st.floats(0, 2), max_size=2)


waiting = st.builds(
    lambda number, each_s, slots: (Followers(number, each_s * number), (Ahead(0.0, 90.0, each_s * number),), slots),
    st.integers(0, 40),
    st.floats(0, 60),
    st.integers(1, 4),
)


def fit(table: tables.Table) -> list[Candidate]:
    """All that can do the work, as they stand among equals."""
    return [table.candidate(number) for number in range(len(table.order))]


@given(fleets, queries, modes, machines, st.lists(waiting, max_size=4), st.floats(0, 200))
def test_nothing_costs_less_than_is_reckoned_whatever_waits(
    fleet: FleetView,
    query: Query,
    mode: Mode,
    machine: SystemState,
    waits: list[tuple[Followers, tuple[Ahead, ...], int]],
    due_s: float,
) -> None:
    ids = [view.spec.id for view in fleet]
    followers = tuple([Following(frozenset({name}), each) for name, (each, _, _) in zip(ids, waits, strict=False)])
    queues = {name: QueueAhead(due_s, slots, lines) for name, (_, lines, slots) in zip(ids, waits, strict=False)}
    query = replace(query, followers=followers, queues=queues, waits_s=dict.fromkeys(queues, 1.0))
    assessment = assess(query, fleet, machine, setting(mode))
    asked, table = assessment.asked, assessment.table
    for least_j, candidate in zip(table.least_costs(asked), fit(table), strict=True):
        cost_j = price(candidate, asked).cost_j
        assert not least_j > cost_j + 1e-6 * abs(cost_j) + 1e-6


@given(fleets, queries, modes, machines, st.sampled_from((0.0, 400.0, 7000.0)), beside)
def test_nothing_costs_less_than_is_reckoned_whatever_is_cached_and_whatever_works_beside_it(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState, tokens: float, slowing: dict[str, float]
) -> None:
    fleet = tuple(replace(view, speeds={"tiny": Speed(samples=9, beside=slowing)}) for view in fleet)
    query = replace(query, background={view.spec.id: 1 for view in fleet[1:]})
    if tokens:
        cached = {view.spec.id: tokens for view in fleet[::2]}
        query = replace(query, prompt_tokens=8000, cached_tokens=cached)
    assessment = assess(query, fleet, machine, setting(mode))
    asked, table = assessment.asked, assessment.table
    for least_j, candidate in zip(table.least_costs(asked), fit(table), strict=True):
        cost_j = price(candidate, asked).cost_j
        assert not least_j > cost_j + 1e-6 * abs(cost_j) + 1e-6


@given(st.integers(1, 16), st.floats(0, 2), st.floats(0, 1), st.tuples(st.integers(0, 40), st.integers(0, 6)), modes)
def test_nothing_costs_less_than_is_reckoned_however_full_a_batch_gets(
    slots: int, each_slows: float, more_w: float, numbers: tuple[int, int], mode: Mode
) -> None:
    waiting, in_flight = numbers
    fleet = tuple(
        replace(
            view := backend(each),
            slots=slots,
            in_flight=in_flight,
            speeds={TINY.name: Speed(samples=9, beside={view.spec.id: each_slows})},
            watts=Watts(40.0, 60.0, more_w),
        )
        for each in ("nvidia", "igpu", "npu")
    )
    waits = Following(frozenset([view.spec.id for view in fleet]), Followers(waiting, 10.0 * waiting))
    query = replace(QUERY, followers=(waits,))
    assessment = assess(query, fleet, UNKNOWN_SYSTEM, setting(mode))
    asked, table = assessment.asked, assessment.table
    for least_j, candidate in zip(table.least_costs(asked), fit(table), strict=True):
        assert not least_j > price(candidate, asked).cost_j + 1e-6


def test_those_that_wait_and_take_no_time_share_what_starts_a_device_as_well() -> None:
    fleet = tuple([replace(backend(each), loaded=()) for each in ("nvidia", "igpu")])
    quick = Following(frozenset({"nvidia"}), Followers(30, 0.0))
    slow = Following(frozenset({"nvidia", "igpu"}), Followers(1, 1e9))
    assessment = assess(replace(QUERY, followers=(quick, slow)), fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    asked, table = assessment.asked, assessment.table
    for least_j, candidate in zip(table.least_costs(asked), fit(table), strict=True):
        assert not least_j > price(candidate, asked).cost_j + 1e-6


gaps = st.sampled_from(((), (0.0,) * 4, (3.0,) * 4, (40.0,) * 4, (0.0, 0.0, 3.0, 40.0)))


@given(st.lists(gaps, min_size=2, max_size=3), st.floats(0, 90), st.booleans())
def test_nothing_costs_less_than_is_reckoned_whenever_later_requests_come(
    each_time: list[tuple[float, ...]], leaves_s: float, is_loaded: bool
) -> None:
    tables._tables.clear()
    gaps_s, name = dict[str, tuple[float, ...]](), canonical(TINY.name)
    memory = Memory(is_kept_by_us=True, gaps_s=gaps_s, expires_s={TINY.name: leaves_s})
    loaded = (LoadedModel(TINY.name),) if is_loaded else ()
    fleet = tuple([replace(backend(each), memory=memory, loaded=loaded) for each in ("nvidia", "igpu")])
    for found in each_time:
        gaps_s[name] = found
        assessment = assess(QUERY, fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
        asked, table = assessment.asked, assessment.table
        for least_j, candidate in zip(table.least_costs(asked), fit(table), strict=True):
            assert not least_j > price(candidate, asked).cost_j + 1e-6


def test_with_a_part_of_a_prompt_cached_somewhere_as_few_are_priced(priced: list[str]) -> None:
    cached = {f"b{at:03}": 60.0 * at for at in range(20)}
    query = replace(QUERY, cached_tokens=cached)
    decision = rank(query, many(400), UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    assert len(set(priced)) <= 3
    assert decision.ranked[0].cost_j == pytest.approx(min(each.cost_j for each in decision.ranked))


def test_of_equal_backends_that_work_as_few_are_priced_where_one_has_read_the_prompt(priced: list[str]) -> None:
    views = [backend("nvidia") for _ in range(100)]
    fleet = tuple(
        [
            replace(view, spec=replace(view.spec, id=f"b{at:03}", is_local=False), in_flight=1, slots=4)
            for at, view in enumerate(views)
        ]
    )
    query = replace(QUERY, cached_tokens={"b007": 2500.0})
    ranked = rank(query, fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED)).ranked
    assert (ranked[0].backend_id, ranked[1].backend_id) == ("b007", "b000")
    assert len(set(priced)) <= 3


def test_where_nothing_can_be_tried_nothing_is_priced_to_find_that_out(priced: list[str]) -> None:
    known = {TINY.name: Speed(ttft_s=0.4, decode_tps=24.0, samples=90, output_tokens=200)}
    within = [replace(backend(each), speeds=known) for each in ("igpu", "cpu")]
    card = backend("nvidia", Profile(power_w=90, ttft_s=0.4, decode_tps=70))
    beyond = [replace(card, spec=replace(card.spec, id=f"b{at:03}")) for at in range(50)]
    decision = rank(QUERY, (*within, *beyond), UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    assert decision.reason.code == "cheapest"
    assert priced == ["igpu", "cpu"]


def test_a_trial_has_no_more_priced(priced: list[str]) -> None:
    untold = [replace(backend("igpu"), spec=replace(backend("igpu").spec, id=f"b{at:03}")) for at in range(400)]
    speeds = [{TINY.name: Speed(ttft_s=0.4, decode_tps=tps, samples=90, output_tokens=200)} for tps in (24.0, 6.0)]
    fleet = (untold[0], *[replace(view, speeds=speeds[at > 1]) for at, view in enumerate(untold) if at])
    decision = rank(QUERY, fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    assert decision.reason.code == "trial"
    assert len(set(priced)) <= 3
    assert len({each.backend_id for each in decision.ranked}) == len(decision.ranked) == 400


@given(fleets, queries, modes, machines)
def test_the_order_is_that_of_all_prices(fleet: FleetView, query: Query, mode: Mode, machine: SystemState) -> None:
    assessment = assess(query, fleet, machine, setting(mode))
    found = [(tier(each.beyond, assessment.situation), each.cost_j) for each in ranking._ordered(assessment)[0]]
    tiers = [place for place, _ in found]
    for place in set(tiers) if tiers == sorted(tiers) else ():
        costs = [cost_j for each, cost_j in found if each is place]
        assert costs == pytest.approx(sorted(costs))


some = st.dictionaries(st.sampled_from([f"b{at}-{again}" for at in range(3) for again in range(3)]), st.floats(0, 90))


@given(fleets, queries, modes, machines, some, some)
@example(
    UNKNOWN, replace(QUERY, hints=Hints(power_efficient=True)), Mode.PERFORMANCE, UNKNOWN_SYSTEM, {"b0-0": 9.0}, {}
)
@example(UNKNOWN, QUERY, Mode.BALANCED, UNKNOWN_SYSTEM, {}, {"b0-1": 50.0})
def test_those_that_are_alike_stand_as_if_each_were_priced(
    fleet: FleetView,
    query: Query,
    mode: Mode,
    machine: SystemState,
    waits_s: dict[str, float],
    read_tokens: dict[str, float],
) -> None:
    again = [replace(view, spec=replace(view.spec, id=f"{view.spec.id}-{at}")) for view in fleet for at in range(3)]
    doubled = tuple([replace(view, in_flight=0, loaded=view.loaded and ()) for view in again]) + fleet
    cached = {**query.cached_tokens, **{each: 60 * tokens for each, tokens in read_tokens.items()}}
    query = replace(query, waits_s=waits_s, cached_tokens=cached)

    def order() -> list[tuple[str, float]]:
        tables._tables.clear()
        ranked = ranking._ordered(assess(query, doubled, machine, setting(mode)))[0]
        return [(each.backend_id, each.cost_j) for each in ranked]

    found = order()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(least_costs, "mark_of", lambda *_: None)
        assert found == order()


@pytest.mark.parametrize("mode", [Mode.BALANCED, Mode.EFFICIENCY, Mode.ULTRA_EFFICIENCY])
def test_of_idle_backends_that_are_alike_one_is_priced_however_many_wait_for_a_model(
    mode: Mode, priced: list[str]
) -> None:
    cold = tuple([replace(view, loaded=()) for view in many(400)[2::4]])
    followers = (Following(frozenset([view.spec.id for view in cold]), Followers(9, 90.0)),)
    decision = rank(replace(QUERY, followers=followers), cold, UNKNOWN_SYSTEM, setting(mode))
    assert decision.ranked[0].backend_id == "b002"
    assert len(priced) <= 2
    assert [each.backend_id for each in decision.ranked[:3]] == ["b002", "b006", "b010"]
    assert len(priced) == 3
    assert len({each.cost_j for each in decision.ranked}) == 1


def test_of_many_backends_only_those_that_may_be_the_best_are_priced(priced: list[str]) -> None:
    decision = rank(QUERY, many(400), UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    best = decision.ranked[0]
    assert len(priced) <= 3
    assert len(decision.ranked) == len(list(decision.ranked)) == 400
    assert len(set(priced)) == 400
    assert best.cost_j == pytest.approx(min(each.cost_j for each in decision.ranked))


def test_of_many_backends_beyond_the_mode_as_few_are_priced(priced: list[str]) -> None:
    views = [backend("nvidia") for _ in range(100)]
    fleet = tuple(
        [
            replace(view, spec=replace(view.spec, id=f"b{at:03}", is_local=False), loaded=(LoadedModel(TINY.name),))
            for at, view in enumerate(views)
        ]
    )
    best = rank(QUERY, fleet, UNKNOWN_SYSTEM, setting(Mode.ULTRA_EFFICIENCY)).ranked[0]
    assert [each.code for each in best.beyond] == ["mode_power"]
    assert len(set(priced)) <= 3


def test_of_equal_backends_the_idle_one_comes_first_however_many_are_busy(priced: list[str]) -> None:
    fleet = tuple([replace(view, in_flight=1) for view in many(400)[:-3]])
    last = many(400)[-3]
    waits_s = {view.spec.id: UnderWay(0.0, 5.0).left_s(0.0) for view in fleet}
    decision = rank(replace(QUERY, waits_s=waits_s), (*fleet, last), UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    assert decision.ranked[0].backend_id == last.spec.id
    assert len(priced) <= 3


def test_a_place_from_the_end_and_a_part_are_those_of_the_whole() -> None:
    ranked = rank(QUERY, many(6), UNKNOWN_SYSTEM, setting(Mode.BALANCED)).ranked
    assert ranked[-1] == list(ranked)[5]
    assert ranked[1:3] == list(ranked)[1:3]
    assert ranked == tuple(ranked)
    with pytest.raises(IndexError):
        ranked[6]


@given(
    st.lists(st.tuples(st.sampled_from(("learns", "begins", "ends", "loads", "fails")), st.integers(0, 3)), max_size=8),
    st.booleans(),
)
def test_a_table_that_was_followed_is_that_of_the_moment(changes: list[tuple[str, int]], are_equal: bool) -> None:
    tables._tables.clear()
    shown = [dict[str, Speed]() for _ in range(4)]
    first = many(4 * 4)[::4] if are_equal else many(4)
    fleet = [replace(view, speeds=speeds) for view, speeds in zip(first, shown, strict=True)]
    answer = Answer(ttft_s=0.2, decode_tps=40.0, output_tokens=90.0)
    for moment, (change, at) in enumerate((("starts", 0), *changes)):
        view = fleet[at]
        if change == "learns":
            shown[at][TINY.name] = learn(shown[at].get(TINY.name), answer, moment)
        elif change in {"begins", "ends"}:
            fleet[at] = replace(view, in_flight=max(view.in_flight + (1 if change == "begins" else -1), 0))
        elif change == "loads":
            fleet[at] = replace(view, loaded=() if view.loaded else (LoadedModel(TINY.name),))
        elif change == "fails":
            fleet[at] = replace(view, health=Health.DOWN if view.health is Health.UP else Health.UP)
        followed = tuple(rank(QUERY, tuple(fleet), UNKNOWN_SYSTEM, setting(Mode.BALANCED)).ranked)
        remembered = dict(tables._tables)
        tables._tables.clear()
        assert followed == tuple(rank(QUERY, tuple(fleet), UNKNOWN_SYSTEM, setting(Mode.BALANCED)).ranked)
        tables._tables.update(remembered)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from((None, (), (LoadedModel(TINY.name),)))), min_size=4))
def test_of_a_few_that_cost_the_same_the_first_by_name_stands_first(
    states: list[tuple[int, tuple[LoadedModel, ...] | None]],
) -> None:
    tables._tables.clear()
    fleet = many(4 * 4)[::4]
    for at, (in_flight, loaded) in enumerate(states):
        changed = replace(fleet[at % 4], in_flight=in_flight, loaded=loaded)
        fleet = (*fleet[: at % 4], changed, *fleet[at % 4 + 1 :])
        found = assess(QUERY, fleet, UNKNOWN_SYSTEM, setting(Mode.EFFICIENCY))
        assert tuple(ranking._ordered(found)[0]) == ranking._order(found.table.in_fleet, found)[0]


def test_of_a_few_backends_one_that_has_changed_is_priced_and_no_line_of_it_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = list[str]()

    def noting(candidate: Candidate, *others: Any) -> Line:
        drawn.append(candidate.view.spec.id)
        return line(candidate, *others)

    monkeypatch.setattr(least_costs, "line", noting)
    tables._tables.clear()
    fleet = many(4)
    for busy, count in ((0, 4), (1, 0), (2, 0), (4, 4)):
        drawn.clear()
        changed = tuple([replace(view, in_flight=1) for view in fleet[:busy]])
        rank(QUERY, changed + fleet[busy:], UNKNOWN_SYSTEM, setting())
        assert len(drawn) == count


@given(fleets, queries, modes, machines)
def test_the_others_are_named_without_being_priced_the_next_best_first(
    fleet: FleetView, query: Query, mode: Mode, machine: SystemState
) -> None:
    decision = rank(query, fleet, machine, setting(mode))
    chosen = decision.ranked[0].backend_id if decision.ranked else None
    looked_at = [each.backend_id for each in decision.settled.ranked]
    named = decision.named_alternatives(chosen)
    assert [each.backend_id for each in decision.settled.ranked] == looked_at
    assert [*named[: len(looked_at[1:])]] == looked_at[1:]
    assert sorted(named) == sorted(each.backend_id for each in decision.alternatives(chosen))


def test_what_was_not_priced_is_named_by_the_least_that_it_costs() -> None:
    decision = rank(QUERY, many(20), UNKNOWN_SYSTEM, setting())
    named, priced = decision.named_alternatives("b000"), decision.settled.ranked
    assert len(priced) < len(named) == len(decision.alternatives("b000"))
    assert named == tuple(each.backend_id for each in decision.alternatives("b000"))
