"""The benchmark of the picker tells what a process had of its core apart from what it waited for it."""

import os

from bench.picker import Spent


def test_time_on_the_core_and_waits_for_it_are_told_for_each_request() -> None:
    before, after = Spent(ran_s=1.0, waited_s=0.5), Spent(ran_s=1.5, waited_s=0.75)

    assert after.since(before, requests=1000) == (500.0, 250.0)


def test_a_process_that_works_is_seen_to_run() -> None:
    before = Spent.of(os.getpid())
    sum(range(1_000_000))

    assert Spent.of(os.getpid()).ran_s > before.ran_s
