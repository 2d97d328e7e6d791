"""Which of several holds counts."""

from ollama_proxyd.core.holds import Hold, thriftiest
from ollama_proxyd.core.modes import THRIFT, Mode


def hold(cookie: int, mode: Mode) -> Hold:
    return Hold(cookie, mode, "", "", ":1.1", until_s=1.0, ends_unix_s=1.0)


def test_without_holds_none_counts() -> None:
    assert thriftiest(()) is None


def test_the_thriftiest_hold_counts_whatever_its_age() -> None:
    holds = [hold(at, mode) for at, mode in enumerate(THRIFT)]
    assert thriftiest(holds) is holds[-1]
    assert thriftiest(reversed(holds)) is holds[-1]


def test_of_equal_holds_the_first_counts() -> None:
    first, second = hold(1, Mode.QUIET), hold(2, Mode.QUIET)
    assert thriftiest((first, second)) is first


def test_every_mode_has_its_place_in_the_order_of_thrift() -> None:
    assert set(THRIFT) == set(Mode)
    assert len(THRIFT) == len(Mode)
