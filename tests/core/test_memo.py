"""What is remembered never shows: a decision is the same as one that nothing was remembered for."""

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given

from ollama_proxyd.core.fleet import BackendView, FleetView, Hardware, LoadedModel, Model
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.memo import MOST_RESULTS, Once, by_identity
from ollama_proxyd.core.model_names import canonical
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.cost import Candidate, Line, LineKey, line
from ollama_proxyd.core.policy.crowd import Crowd
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, best_under, decide, rank
from ollama_proxyd.core.policy.trial import known_until_s
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, DeviceState, Reading, SystemState
from tests.core.reference_profile import PROFILES, TINY, backend, only, setting
from tests.core.test_rank_properties import machines, modes, queries, wild_fleets


@given(wild_fleets, queries, modes, modes, machines)
def test_a_decision_of_what_was_seen_before_is_that_of_equal_things_never_seen(
    fleet: FleetView, query: Query, mode: Mode, other: Mode, machine: SystemState
) -> None:
    rank(query, fleet, machine, setting(other))
    seen = decided(query, fleet, machine, mode, other)
    assert seen == decided(*deepcopy((query, fleet, machine)), mode, other)


@given(wild_fleets, wild_fleets, queries, modes, machines, machines)
def test_whatever_changes_of_a_fleet_or_the_machine_is_seen_by_the_next_decision(
    fleet: FleetView, other: FleetView, query: Query, mode: Mode, machine: SystemState, later: SystemState
) -> None:
    decided(query, fleet, machine, mode, mode)
    changed = tuple(
        replace(
            view,
            health=another.health,
            models=another.models,
            loaded=another.loaded,
            in_flight=another.in_flight,
            speeds=another.speeds,
        )
        for view, another in zip(fleet, other, strict=False)
    )
    for views, state in ((changed, machine), (fleet, later), (changed, later)):
        plain = decided(*deepcopy((query, views, state)), mode, mode)
        assert decided(query, views, state, mode, mode) == plain


def decided(query: Query, fleet: FleetView, machine: SystemState, mode: Mode, other: Mode) -> str:
    """All that is decided, in this mode and in another one."""
    assessment = assess(query, fleet, machine, setting(mode))
    return repr((decide(assessment), best_under(assessment, setting(other))))


def test_what_changes_in_place_counts_at_once() -> None:
    speeds, loads_s, gaps_s = dict[str, Speed](), dict[str, float](), dict[str, tuple[float, ...]]()
    expires_s = dict[str, float]()
    memory = Memory(is_kept_by_us=True, expires_s=expires_s, gaps_s=gaps_s, load_s=loads_s)
    view = replace(backend("nvidia"), speeds=speeds, memory=memory, loaded=(LoadedModel("other"),))
    terms = [only(view).terms]
    speeds[TINY.name] = Speed(ttft_s=9.0, decode_tps=1.0, samples=9)
    terms.append(only(view).terms)
    loads_s[TINY.name] = 77.0
    terms.append(only(view).terms)
    gaps_s[canonical(TINY.name)] = (10.0,) * 9
    terms.append(only(view).terms)
    expires_s["other"] = 1.0
    terms.append(only(view).terms)
    assert terms[1]["decode_s"] == 200 != terms[0]["decode_s"]
    assert terms[2]["load_s"] == 77 != terms[1]["load_s"]
    assert terms[3]["spared_j"] > 0 == terms[2]["spared_j"]
    assert terms[4]["idle_tail_j"] > terms[3]["idle_tail_j"]


def test_it_is_computed_once_for_the_same_objects_and_anew_for_others() -> None:
    asked = list[list[int]]()

    @by_identity
    def total(numbers: list[int]) -> int:
        asked.append(numbers)
        return sum(numbers)

    first, equal = [1, 2], [1, 2]
    assert [total(first), total(first), total(equal)] == [3, 3, 3]
    assert len(asked) == 2


def test_no_more_is_remembered_than_the_bound_and_no_other_object_takes_a_result() -> None:
    @by_identity
    def own(numbers: list[int]) -> int:
        return numbers[0]

    assert [own([number]) for number in range(3 * MOST_RESULTS)] == list(range(3 * MOST_RESULTS))


def test_what_is_used_again_and_again_is_computed_once_however_much_else_passes_by() -> None:
    computed = list[list[int]]()

    @by_identity
    def own(numbers: list[int]) -> int:
        computed.append(numbers)
        return numbers[0]

    used = [-1]
    for number in range(3 * MOST_RESULTS):
        own(used)
        own([number])
    assert computed.count(used) == 1


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends that were compiled."""
    seen: list[str] = []

    def counted(view: BackendView, model: Model) -> float:
        seen.append(view.spec.id)
        return known_until_s(view, model)

    monkeypatch.setattr("ollama_proxyd.core.policy.candidates.known_until_s", counted)
    return seen


def test_a_request_that_comes_or_goes_compiles_no_price_anew(compiled: list[str]) -> None:
    idle = tuple(backend(name) for name in ("npu", "igpu", "nvidia"))
    busy = (replace(idle[0], in_flight=1), *idle[1:])
    for fleet, expected in ((idle, ["npu", "igpu", "nvidia"]), (idle, []), (busy, []), (idle, [])):
        compiled.clear()
        rank(Query(TINY.name), fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
        assert compiled == expected


def test_what_sensors_say_compiles_only_those_anew_that_it_concerns(compiled: list[str]) -> None:
    fleet = tuple([backend(name) for name in ("igpu", "nvidia")])
    first, second = (DeviceState(each, Hardware.NVIDIA, each) for each in ("0000:01:00.0", "0000:02:00.0"))
    drawn = SystemState(devices=(replace(first, energy_j=Reading(9.0, 1.0)), second))
    chip = DeviceState("igpu", Hardware.IGPU, "igpu")
    moments: list[tuple[tuple[DeviceState, ...], list[str]]] = [
        ((first, second), ["igpu", "nvidia"]),
        (drawn.devices, []),
        ((first, second, chip), ["igpu"]),
        ((first, chip), ["nvidia"]),
    ]
    for devices, expected in moments:
        compiled.clear()
        rank(Query(TINY.name), fleet, SystemState(devices=devices), setting(Mode.BALANCED))
        assert compiled == expected


def test_the_time_since_the_last_request_counts_and_compiles_no_price_anew(compiled: list[str]) -> None:
    gaps_s = {canonical(TINY.name): (10.0,) * 9}
    memory = Memory(is_kept_by_us=True, gaps_s=gaps_s)
    fleet = tuple(replace(backend(name), memory=memory, loaded=()) for name in ("npu", "igpu", "nvidia"))
    tails = []
    for gap_s in (10.0, 20.0):
        gaps_s[canonical(TINY.name)] = (gap_s,) * 9
        ranked = rank(Query(TINY.name), fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED)).ranked
        tails += [each.stay.idle_tail_j for each in ranked if each.backend_id == "nvidia"]
    assert tails[1] > tails[0] > 0
    assert len(compiled) == len(fleet)


def test_a_request_that_comes_or_goes_costs_work_for_its_own_backend_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def counted(candidate: Candidate, view: BackendView, crowd: Crowd, key: LineKey) -> Line:
        drawn.append(view.spec.id)
        return line(candidate, view, crowd, key)

    monkeypatch.setattr("ollama_proxyd.core.policy.least_costs.line", counted)
    idle = tuple(backend(f"b{at}", PROFILES["igpu"], hardware=Hardware.IGPU) for at in range(40))
    busy = (*idle[:7], replace(idle[7], in_flight=1), *idle[8:])
    for fleet, expected in ((idle, 40), (busy, 1), (idle, 1), (idle, 0)):
        drawn.clear()
        rank(Query(TINY.name), fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
        assert len(drawn) == expected


def test_what_is_made_once_is_made_when_it_is_asked_for_first_and_again_after_a_failure() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        if len(made) == 1:
            raise LookupError
        return made[-1]

    once = Once(make)
    assert made == []
    with pytest.raises(LookupError):
        once()
    assert once() is once() is made[1]
    assert len(made) == 2
