"""The routing headers, each parsed strictly."""

from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Hints, MediaType, Priority
from ollama_proxyd.edges.http_api.hints import read_hints, read_request_id
from ollama_proxyd.edges.plumbing.hint_headers import HEADERS


def headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def read(name: str, value: str) -> Hints:
    return read_hints(headers((name, value)), "id")


def test_without_routing_headers_nothing_is_hinted_but_the_request_has_its_name() -> None:
    assert read_hints(headers(("X-Stainless-Lang", "python")), "id") == Hints(request_id="id")


@pytest.mark.parametrize(
    ("name", "value", "field", "meaning"),
    [
        ("X-Target-Backend", "npu", "target", "npu"),
        ("x-target-backend", " npu ", "target", "npu"),
        ("X-Latency-Critical", "true", "latency_critical", True),
        ("X-Latency-Critical", "ON", "latency_critical", True),
        ("X-Latency-Critical", "0", "latency_critical", False),
        ("X-Power-Efficient", "yes", "power_efficient", True),
        ("X-Power-Efficient", "1", "power_efficient", True),
        ("X-Power-Efficient", "off", "power_efficient", False),
        ("X-Power-Efficient", "no", "power_efficient", False),
        ("X-Strict-Limits", "true", "strict_limits", True),
        ("X-Include-Energy", "true", "include_energy", True),
        ("X-Defer", "AC", "defer", "ac"),
        ("X-Defer-Max-Wait", "90", "defer_max_wait_seconds", 90.0),
        ("X-Max-Latency-Ms", "500", "max_latency_ms", 500.0),
        ("X-Max-Latency-Ms", "0.5", "max_latency_ms", 0.5),
        ("X-Max-Power-Watts", "15.5", "max_power_watts", 15.5),
        ("X-Max-Power-Watts", ".5", "max_power_watts", 0.5),
        ("X-Priority", "best-effort", "priority", Priority.BEST_EFFORT),
        ("X-Priority", "low", "priority", Priority.BEST_EFFORT),
        ("X-Priority", "normal", "priority", Priority.NORMAL),
        ("X-Priority", "High", "priority", Priority.HIGH),
        ("X-Priority", "critical", "priority", Priority.CRITICAL),
        ("X-Priority", "realtime", "priority", Priority.CRITICAL),
        ("X-Media-Type", "code", "media_type", MediaType.CODE),
        ("X-Media-Type", "video", "media_type", MediaType.VIDEO),
        ("X-Deadline-Ms", "1800000000000", "deadline_ms", 1_800_000_000_000),
    ],
)
def test_each_header_fills_its_hint(name: str, value: str, field: str, meaning: Any) -> None:
    hints = read(name, value)
    assert getattr(hints, field) == meaning
    assert type(getattr(hints, field)) is type(meaning)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Target-Backend", ""),
        ("X-Latency-Critical", ""),
        ("X-Latency-Critical", "maybe"),
        ("X-Latency-Critical", "2"),
        ("X-Power-Efficient", "truee"),
        *(
            (name, value)
            for name in ("X-Max-Latency-Ms", "X-Max-Power-Watts")
            for value in ("", "0", "0.0", "-1", "nan", "inf", "1e3", "1_000", "0x10", "5 W", "1,5", "٣", "1.", "9" * 40)
        ),
        ("X-Priority", "urgent"),
        ("X-Priority", "3"),
        ("X-Media-Type", "smell"),
        ("X-Deadline-Ms", "0"),
        ("X-Deadline-Ms", "-5"),
        ("X-Deadline-Ms", "1.5"),
        ("X-Deadline-Ms", "soon"),
        ("X-Deadline-Ms", "9" * 30),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_header(name: str, value: str) -> None:
    with pytest.raises(ProxyError) as refused:
        read(name, value)
    assert refused.value.kind is ErrorKind.INVALID_REQUEST
    assert refused.value.message.startswith(f"{name} must be ")
    assert refused.value.param == name


@pytest.mark.parametrize("name", HEADERS.values())
def test_a_repeated_header_is_refused(name: str) -> None:
    good = {"X-Latency-Critical": "1", "X-Power-Efficient": "1", "X-Priority": "low", "X-Media-Type": "text"}
    good |= {"X-Strict-Limits": "1", "X-Include-Energy": "1", "X-Defer": "ac"}
    value = good.get(name, "5")
    with pytest.raises(ProxyError, match=f"{name} is given more than once"):
        read_hints(headers((name, value), (name.lower(), value)), "id")


def test_the_clients_name_for_its_request_is_kept_and_a_missing_one_is_made() -> None:
    assert read_request_id(headers(("x-request-id", "a b/c~1"))) == "a b/c~1"
    made = {read_request_id(headers()) for _ in range(20)}
    assert len(made) == 20
    assert all(len(name) == 16 for name in made)


@pytest.mark.parametrize("value", ["", "x" * 129, "a\x01b", "naïve", "\x7f", " ", "tab\tbed"])
def test_a_name_that_does_not_fit_into_a_log_line_is_refused(value: str) -> None:
    with pytest.raises(ProxyError, match="X-Request-ID must be 1 to 128 printable"):
        read_request_id(headers(("X-Request-ID", value)))


def test_two_names_are_refused() -> None:
    with pytest.raises(ProxyError, match="X-Request-ID is given more than once"):
        read_request_id(headers(("X-Request-ID", "a"), ("X-Request-ID", "a")))
