"""How many requests a backend answers at once, as trials show."""

from ollama_proxyd.core.slots import MISSES, Slots, SlotsFrom, after_trial

ONE = Slots(1, SlotsFrom.ASSUMED)


def test_a_request_that_begins_while_another_is_written_proves_a_second_slot() -> None:
    assert after_trial(ONE, 2, 2, together=True) == (Slots(2, SlotsFrom.INFERRED), 0)


def test_one_that_never_does_keeps_one_slot() -> None:
    known, misses = ONE, 0
    for _ in range(2 * MISSES):
        known, misses = after_trial(known, 2, misses, together=False)
    assert known == ONE
    assert misses >= MISSES


def test_what_was_proven_falls_when_it_does_not_hold_again_and_again() -> None:
    known, misses = Slots(2, SlotsFrom.INFERRED), 0
    for _ in range(MISSES - 1):
        known, misses = after_trial(known, 2, misses, together=False)
    assert known.count == 2
    assert after_trial(known, 2, misses, together=False)[0] == Slots(1, SlotsFrom.INFERRED)


def test_fewer_at_once_than_are_proven_prove_nothing_new() -> None:
    known = Slots(4, SlotsFrom.INFERRED)
    assert after_trial(known, 2, 0, together=True) == (known, 0)
