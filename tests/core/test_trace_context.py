"""What is read of a client's place in a trace, as W3C's Trace Context has it, and what is passed on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.trace_context import NO_TRACE, Trace, beneath, read_trace

IDS = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
PARENT = f"00-{IDS}-01"
MANY = [f"k{at}={'y' * 30}" for at in range(20)]
WIRE = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"cc-{IDS}-01-more", PARENT),  # of a later version what is known of it
        (f"00-{IDS}-ff", f"00-{IDS}-03"),  # flags that mean nothing are off
        (f"00-{IDS}-01-more", ""),
        (f"ff-{IDS}-01", ""),
        (f"00-{IDS.upper()}-01", ""),
        (f" {PARENT}", ""),
        ("", ""),
    ],
)
def test_a_place_is_read_as_version_00_or_not_at_all(written: str, read: str) -> None:
    assert read_trace([written], ["a=1"]) == (Trace(read, "a=1") if read else NO_TRACE)


def test_two_places_are_none() -> None:
    assert read_trace([PARENT, PARENT], ()) == NO_TRACE


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        (["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (["a=1 ,\tb=2", ",,c@d=3"], "a=1,b=2,c@d=3"),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a=b=c"], ""),
        (["a=\x07"], ""),
        (["a"], ""),
        ([",".join(f"k{at}=1" for at in range(33))], ""),
        ([f"long={'x' * 200}", *MANY[:14]], ",".join(MANY[:14])),
        (MANY, ",".join(MANY[:14])),
    ],
)
def test_what_tracing_systems_note_is_passed_on_within_bounds(lines: list[str], passed: str) -> None:
    assert read_trace([PARENT], lines).tracestate == passed


@given(st.lists(st.text(max_size=700), max_size=3), st.lists(st.text("ab=,@ \tA\x00ü", max_size=900), max_size=3))
def test_whatever_is_written_what_is_passed_on_is_short_and_of_the_standard(
    parents: list[str], states: list[str]
) -> None:
    for trace in (read_trace(parents, states), read_trace([PARENT], states)):
        assert trace == NO_TRACE or WIRE.fullmatch(trace.traceparent)
        assert len(trace.tracestate) <= 512
        assert trace.tracestate.isascii()
        assert trace.tracestate.isprintable()


def test_a_span_of_ours_is_beneath_its_clients_or_begins_a_trace() -> None:
    ids = IDS.split("-", maxsplit=1)[0]
    assert beneath(Trace(PARENT, "a=1"), 5, 6) == Trace(f"00-{ids}-{6:016x}-01", "a=1", PARENT)
    assert beneath(NO_TRACE, 5, 6) == Trace(f"00-{5:032x}-{6:016x}-01", above="")


def test_what_a_client_has_not_sampled_has_no_span_of_ours() -> None:
    unsampled = Trace(f"00-{IDS}-00", "a=1")
    assert beneath(unsampled, 5, 6) == unsampled
