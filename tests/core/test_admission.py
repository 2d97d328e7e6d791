"""The queue: who goes next, and that nobody is lost."""

import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import inf
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ollama_proxyd.core.admission import ADVANCE_S, AdmissionQueue, Ticket
from ollama_proxyd.core.requests import Priority
from ollama_proxyd.core.workload import MOST_YIELDED_S, Followers, followers_of

BEST_EFFORT, NORMAL, HIGH, CRITICAL = Priority


def ticket(arrived_s: float = 0.0, priority: Priority = NORMAL, *backends: str, **facts: Any) -> Ticket:
    backends = backends or ("npu",)
    return Ticket(
        **{
            "kind": "tiny",
            "priority": priority,
            "arrived_s": arrived_s,
            "backends": frozenset(backends),
            "preferred": backends[0],
            "expected_s": 2.0,
            "model": "tiny",
            **facts,
        }
    )


def queue_of(tickets: Iterable[Ticket]) -> AdmissionQueue:
    queue = AdmissionQueue()
    for each in tickets:
        queue.add(each)
    return queue


def order(queue: AdmissionQueue, backend_id: str | None = None) -> list[Ticket]:
    """Everything in the order in which it goes when there is room for all."""
    gone: list[Ticket] = []

    def choose(each: Ticket) -> bool:
        gone.append(each)
        return True

    queue.admit(choose, backend_id)
    return gone


def ahead_s(queue: AdmissionQueue, backend_id: str, due_s: float = inf, but: Ticket | None = None) -> float:
    """The work that waits for a backend and is due before a moment."""
    return sum(each.work_s * each.before(due_s) for each in queue.ahead(backend_id, but))


def test_of_one_priority_the_shortest_goes_first_unless_another_has_waited_long() -> None:
    long = ticket(0.0, kind="chat", expected_s=12.0)
    soon, late = (ticket(at_s, kind="embedding", expected_s=2.0) for at_s in (29.0, 31.0))
    assert order(queue_of([long, soon, late])) == [soon, long, late]


def test_a_request_lets_none_before_it_for_ever_however_long_it_takes() -> None:
    endless, brief = (
        ticket(0.0, kind="chat", expected_s=1e9),
        ticket(MOST_YIELDED_S + 0.1, kind="typed", expected_s=0.0),
    )
    assert order(queue_of([brief, endless])) == [endless, brief]
    assert min(after - before for before, after in pairwise(ADVANCE_S[each] for each in Priority)) >= MOST_YIELDED_S


def test_a_higher_priority_goes_first_and_equals_in_the_order_of_arrival() -> None:
    tickets = [ticket(at_s, priority) for at_s, priority in enumerate([NORMAL, BEST_EFFORT, CRITICAL, NORMAL, HIGH])]
    assert [tickets.index(each) for each in order(queue_of(tickets))] == [2, 4, 0, 3, 1]


def test_one_that_waits_long_enough_goes_before_a_higher_priority() -> None:
    old = ticket(0.0, BEST_EFFORT)
    for priority in (NORMAL, HIGH, CRITICAL):
        late = ticket(ADVANCE_S[priority] + 1, priority)
        early = ticket(ADVANCE_S[priority] - 1, priority)
        assert order(queue_of([old, early, late])) == [early, old, late]


def test_only_requests_that_a_freed_backend_can_serve_are_asked() -> None:
    here, there, both = ticket(0, NORMAL, "npu"), ticket(1, NORMAL, "igpu"), ticket(2, NORMAL, "igpu", "npu")
    assert order(queue_of([here, there, both]), "igpu") == [there, both]


def test_the_first_of_a_line_that_stays_keeps_its_place_and_lets_other_lines_go() -> None:
    stays, behind, other = ticket(0), ticket(1), ticket(2, kind="large")
    queue, asked = queue_of([stays, behind, other]), []

    def choose(each: Ticket) -> bool:
        asked.append(each)
        return each is not stays

    queue.admit(choose)
    assert asked == [stays, other]
    assert list(queue) == [stays, behind]


def test_one_that_comes_back_stands_before_its_equals() -> None:
    first, second = ticket(0), ticket(1)
    queue = queue_of([second])
    queue.add(first, first=True)
    assert order(queue) == [first, second]


def test_the_work_that_waits_is_known_by_backend_and_priority() -> None:
    own = ticket(0, NORMAL, expected_s=3.0)
    queue = queue_of([own, ticket(1, BEST_EFFORT, expected_s=50.0), ticket(2, HIGH, expected_s=4.0)])
    assert ahead_s(queue, "npu", 0) == 7.0
    assert ahead_s(queue, "npu", 0, own) == 4.0
    assert ahead_s(queue, "npu", -ADVANCE_S[CRITICAL]) == 0
    assert ahead_s(queue, "igpu", 0) == 0
    queue.remove(own)
    assert ahead_s(queue, "npu", 0) == 4.0


def test_a_line_whose_first_can_go_elsewhere_now_is_asked_there() -> None:
    waiting = ticket(0, NORMAL, "npu")
    queue = queue_of([waiting])
    queue.move(waiting, frozenset({"igpu"}), "igpu", 9.0)
    assert ahead_s(queue, "npu") == 0
    assert ahead_s(queue, "igpu") == 9.0
    assert order(queue, "npu") == []
    assert order(queue, "igpu") == [waiting]


def test_who_waits_for_a_model_of_a_backend_is_known_by_priority() -> None:
    queue = queue_of([ticket(0, NORMAL, model="small"), ticket(1, HIGH, kind="large", model="large")])
    assert queue.is_asked_for("small", "npu", NORMAL)
    assert queue.is_asked_for("large", "npu", NORMAL)
    assert not queue.is_asked_for("small", "npu", HIGH)
    assert not queue.is_asked_for("small", "igpu", NORMAL)


def operations_of_a_freed_slot(waiting: int) -> int:
    """The calls and lines that an arrival, a freed slot and a leave cost beside so many that wait."""
    queue = queue_of(ticket(at_s, Priority(at_s % 4), kind=at_s % 5) for at_s in range(waiting))
    late, count = ticket(waiting, kind=1), 0

    def counted(*_: Any) -> Any:
        nonlocal count
        count += 1
        return counted

    sys.settrace(counted)
    try:
        queue.add(late)
        queue.admit(lambda _: False, "npu")
        assert queue.remove(late)
    finally:
        sys.settrace(None)
    return count


def test_the_work_does_not_grow_with_the_length_of_the_queue() -> None:
    with ThreadPoolExecutor(1) as thread:  # else what measures coverage would have lost its own trace function
        few, *more = thread.map(operations_of_a_freed_slot, (40, 1_000, 100_000))
    assert few > 50
    assert more == [few, few]


@pytest.mark.parametrize("idle", [10, 1_000])
def test_a_freed_slot_asks_none_of_the_lines_for_other_backends(idle: int) -> None:
    queue = queue_of([*(ticket(0, NORMAL, f"idle-{each}") for each in range(idle)), ticket(1)])
    asked = Counter[Ticket]()
    queue.admit(lambda each: bool(asked.update([each])), "npu")
    assert asked.total() == 1


class Engines(RuleBasedStateMachine):
    """Requests arrive, leave and are granted the slots of two backends, in any order."""

    SLOTS: ClassVar = {"npu": 1, "igpu": 2}

    def __init__(self) -> None:
        super().__init__()
        self.queue = AdmissionQueue()
        self.now_s = 0.0
        self.waiting: list[Ticket] = []
        self.working: list[tuple[Ticket, str]] = []

    def free(self, backend_id: str) -> int:
        return self.SLOTS[backend_id] - sum(1 for _, there in self.working if there == backend_id)

    def choose(self, each: Ticket) -> bool:
        where = next((there for there in sorted(each.backends) if self.free(there) > 0), None)
        if where is None:
            return False
        alike = [other for other in self.waiting if (other.backends, other.priority) == (each.backends, each.priority)]
        assert alike[0] is each, "in order within one line"
        self.waiting.remove(each)
        self.working.append((each, where))
        return True

    @rule(priority=st.sampled_from(Priority), where=st.sets(st.sampled_from(["npu", "igpu"]), min_size=1))
    def arrive(self, priority: Priority, where: set[str]) -> None:
        self.now_s += 1
        new = ticket(self.now_s, priority, *sorted(where))
        self.waiting.append(new)
        self.queue.add(new)
        self.queue.admit(self.choose)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(gone)
        assert self.queue.remove(gone)
        assert not self.queue.remove(gone)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        ended = data.draw(st.sampled_from(self.working))
        self.working.remove(ended)
        self.queue.admit(self.choose, ended[1], lambda: self.free(ended[1]) > 0)

    @invariant()
    def nobody_is_lost_and_no_slot_is_given_twice(self) -> None:
        assert set(self.queue) == set(self.waiting)
        assert sum(self.queue.depth.values()) == len(self.queue) == len(self.waiting)
        assert all(self.free(backend_id) >= 0 for backend_id in self.SLOTS)
        assert all(self.free(there) == 0 for each in self.waiting for there in each.backends)
        for there in self.SLOTS:
            queued_s = sum(each.expected_s for each in self.waiting if each.preferred == there)
            assert ahead_s(self.queue, there) == pytest.approx(queued_s)


TestEngines = Engines.TestCase


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 3)), max_size=30))
def test_everybody_goes_once_and_the_oldest_of_each_priority_first(arrivals: list[tuple[Priority, int]]) -> None:
    tickets = [ticket(at_s, priority, kind=kind) for at_s, (priority, kind) in enumerate(arrivals)]
    gone = order(queue_of(tickets))
    assert sorted(map(id, gone)) == sorted(map(id, tickets))
    for priority in Priority:
        arrived_s = [each.arrived_s for each in gone if each.priority is priority]
        assert arrived_s == sorted(arrived_s)


def test_one_that_now_prefers_another_backend_does_not_hold_up_those_behind_it() -> None:
    first, behind = ticket(0, NORMAL, "npu", "igpu"), ticket(1, NORMAL, "npu", "igpu")
    queue, gone = queue_of([first, behind]), []

    def choose(each: Ticket) -> bool:
        if each is first:
            queue.move(first, first.backends, "igpu", 1.0)
            return False
        gone.append(each)
        return True

    queue.admit(choose, "npu")
    assert gone == [behind]
    assert order(queue) == [first]


def test_of_a_long_line_whose_every_request_changes_its_mind_only_a_few_are_asked() -> None:
    queue, asked = queue_of(ticket(each, NORMAL, "npu", "igpu") for each in range(1_000)), []

    def choose(each: Ticket) -> bool:
        asked.append(each)
        queue.move(each, each.backends, "igpu", 1.0)
        return False

    queue.admit(choose)
    assert len(asked) <= 8


def test_who_shares_what_starts_a_device_is_known_by_backend_at_the_work_of_one_look_at_each_line() -> None:
    queue = queue_of(
        [
            ticket(1, NORMAL, "a", "b", asked="m", expected_s=2.0),
            ticket(2, NORMAL, "b", asked="m", expected_s=3.0),
            ticket(3, BEST_EFFORT, "b", asked="m"),
            ticket(4, NORMAL, "a", asked="other"),
        ]
    )
    own = next(iter(queue))
    for but, followers in ((None, (Followers(1, 2.0), Followers(2, 5.0))), (own, (Followers(0, 0), Followers(1, 3.0)))):
        found = queue.followers("m", but)
        assert (followers_of(found, "a"), followers_of(found, "b")) == followers
    queue.remove(own)
    assert followers_of(queue.followers("m"), "b") == Followers(1, 3.0)


def test_what_nobody_waits_for_leaves_nothing_behind() -> None:
    queue = queue_of([ticket(1, NORMAL, "a", asked="m")])
    for at in range(1000):
        assert not queue.followers(f"model {at}")
        assert not queue.ahead(f"backend {at}")
    assert len(queue._following or ()) + len(queue._aheads) <= 1


def test_those_that_left_do_not_fill_a_line() -> None:
    queue = AdmissionQueue()
    queue.add(ticket(0))
    for at_s in range(10_000):
        queue.add(gone := ticket(at_s))
        queue.remove(gone)
    (line,) = queue._lines.values()
    assert len(line._heap) < 200
