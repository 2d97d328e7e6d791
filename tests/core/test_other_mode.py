"""What another mode would decide, followed from one moment to the next, is what it would decide among things unseen."""

from copy import deepcopy
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.breaker import Breaker
from ollama_proxyd.core.faults import Fault, Work
from ollama_proxyd.core.fleet import BackendView, FleetView, Health, LoadedModel
from ollama_proxyd.core.keeping import Memory
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import assess, best_under, decide, in_mode, rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.watts import Watts
from tests.core.reference_profile import REFERENCE, TINY, backend, setting
from tests.core.test_rank_properties import machines, modes, wild_fleets

speeds = st.builds(
    Speed, ttft_s=st.floats(0.01, 9), decode_tps=st.floats(1, 90), samples=st.integers(1, 9), at_s=st.floats(0, 9)
)
watts = st.builds(Watts, power_w=st.floats(1, 90), seconds=st.floats(0, 900))
memories = st.none() | st.lists(st.sampled_from((TINY.name, "other")), unique=True, max_size=2)
breakers = st.sampled_from(((), (Breaker(Fault.RATE_LIMIT, Work(TINY.name), failures=3, retry_at_s=9.0),)))
kept = st.sampled_from(
    (
        Memory(),
        Memory(load_s={TINY.name: 9.0}),
        Memory(is_kept_by_us=True, idle_w=30.0),
        Memory(gaps_s={TINY.name: (9.0,) * 9}),
    )
)
steps = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.one_of(
            st.tuples(st.just("learned"), speeds),
            st.tuples(st.just("in_flight"), st.integers(0, 3)),
            st.tuples(st.just("loaded"), memories),
            st.tuples(st.just("there"), memories),
            st.tuples(st.just("watts"), watts),
            st.tuples(st.just("degraded"), st.sampled_from((None, Reason("degraded")))),
            st.tuples(st.just("slots"), st.integers(1, 4)),
            st.tuples(st.just("health"), st.sampled_from(Health)),
            st.tuples(st.just("breakers"), breakers),
            st.tuples(st.just("memory"), kept),
            st.tuples(st.just("system"), machines),
        ),
    ),
    min_size=1,
    max_size=6,
)

_moments = count()


class Moment:
    """A fleet and a machine that change, and what backends would have in memory in another mode."""

    def __init__(self, fleet: FleetView) -> None:
        self.speeds = [dict(view.speeds) for view in fleet]
        name = str(next(_moments))  # so that it is taken for no fleet of an earlier example
        pairs = zip(fleet, self.speeds, strict=True)
        self.fleet = [replace(view, spec=replace(view.spec, name=name), speeds=known) for view, known in pairs]
        self.there: dict[int, Any] = {}
        self.system: SystemState = UNKNOWN_SYSTEM

    def change(self, at: int, what: str, value: Any) -> None:
        at %= len(self.fleet)
        loaded = tuple(map(LoadedModel, value)) if isinstance(value, list) else None
        if what == "learned":
            self.speeds[at][TINY.name] = value
        elif what == "system":
            self.system = value
        elif what == "there":
            self.there[at] = loaded
        elif what == "loaded":
            self.fleet[at] = replace(self.fleet[at], loaded=loaded)
        else:
            self.fleet[at] = replace(self.fleet[at], **{what: value})

    def beside(self, at: int, view: BackendView) -> BackendView:
        loaded = self.there.get(at)
        return view if loaded is None or view.loaded is None else replace(view, loaded=loaded)

    def decided(self, query: Query, mode: Mode, other: Mode) -> str:
        """All that the other mode decides, from what was compiled for this one."""
        assessment = assess(query, tuple(self.fleet), self.system, setting(mode))
        fleet = tuple([self.beside(at, view) for at, view in enumerate(self.fleet)])
        return repr(decide(in_mode(replace(assessment, fleet=fleet), setting(other))))

    def decided_unseen(self, query: Query, other: Mode) -> str:
        """The same, decided in that mode among things that nothing is remembered of."""
        fleet = tuple([self.beside(at, view) for at, view in enumerate(deepcopy(self.fleet))])
        return repr(rank(query, fleet, deepcopy(self.system), setting(other)))


@given(wild_fleets.filter(bool) | st.just(REFERENCE), modes, modes, steps)
def test_whatever_changes_the_other_mode_decides_what_it_would_decide_anew(
    fleet: FleetView, mode: Mode, other: Mode, changes: list[tuple[int, tuple[str, Any]]]
) -> None:
    moment, query = Moment(fleet), Query(TINY.name, prompt_tokens=300)
    moment.decided(query, mode, other)
    for at, (what, value) in changes:
        moment.change(at, what, value)
        assert moment.decided(query, mode, other) == moment.decided_unseen(query, other)


@pytest.mark.parametrize(
    ("other", "at", "what", "value"),
    [
        pytest.param(Mode.PERFORMANCE, 2, "there", [], id="what is in memory there"),
        pytest.param(Mode.QUIET, 1, "watts", Watts(14.0, 900.0), id="watts within its limit"),
        pytest.param(Mode.EFFICIENCY, 0, "watts", Watts(16.0, 900.0), id="watts beyond its limit"),
    ],
)
def test_what_counts_in_the_other_mode_alone_changes_what_it_decides(
    other: Mode, at: int, what: str, value: Any
) -> None:
    moment, query = Moment(REFERENCE), Query(TINY.name)
    before = moment.decided(query, Mode.BALANCED, other)
    moment.change(at, what, value)
    assert before != moment.decided(query, Mode.BALANCED, other) == moment.decided_unseen(query, other)


def test_what_was_learned_since_the_decision_counts_in_neither_mode() -> None:
    known = dict[str, Speed]()
    fleet = (replace(backend("npu"), speeds=known), backend("nvidia"))
    assessment = assess(Query(TINY.name), fleet, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    known[TINY.name] = Speed(ttft_s=0.001, decode_tps=90_000.0, samples=9)
    best = best_under(assessment, setting(Mode.PERFORMANCE))
    assert best is not None
    assert best.backend_id == "nvidia"
