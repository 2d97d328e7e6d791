"""What-if questions: one parser for every edge."""

from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading
from ollama_proxyd.core.requests import Hints, Operation, Priority
from ollama_proxyd.core.what_if import NOT_SAID, read_what_if

GPU = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX", PowerState.AWAKE)


def test_an_empty_question_is_about_any_model_on_the_machine_as_it_is() -> None:
    asked = read_what_if({}, ())
    assert (asked.query, asked.mode, asked.system) == (Query(None, may_fetch_here=True), None, None)


def test_a_null_says_nothing() -> None:
    assert read_what_if({"model": None, "mode": None, "system": None}, ()) == read_what_if({}, ())


def test_each_part_of_a_question_arrives() -> None:
    hints = {"target": "npu", "max_power_watts": "12.5", "latency_critical": "on", "priority": "High"}
    asked = read_what_if(
        {
            "model": "tiny",
            "operation": "embedding",
            "prompt_tokens": 9,
            "needs_vision": True,
            "mode": "quiet",
            "hints": hints,
        },
        (),
    )
    expected = Hints(target="npu", max_power_watts=12.5, latency_critical=True, priority=Priority.HIGH)
    assert asked.query == Query("tiny", Operation.EMBEDDING, 9, needs_vision=True, may_fetch_here=True, hints=expected)
    assert asked.mode is Mode.QUIET


def test_an_imagined_machine_is_unknown_where_nothing_is_said() -> None:
    system = read_what_if({"system": {"on_battery": True, "fan_percent": None}}, (GPU,)).system
    assert system is not None
    assert system.on_battery == Reading(True, 0.0)
    assert system.fan_percent is system.battery_percent is NOT_SAID
    assert system.devices == ()


def test_a_battery_at_its_charge_limit_can_be_imagined() -> None:
    system = read_what_if({"system": {"battery_state": "pending-charge"}}, ()).system
    assert system is not None
    assert system.battery_state == Reading("pending-charge", 0.0)
    with pytest.raises(ProxyError, match="one of charging, discharging"):
        read_what_if({"system": {"battery_state": "full"}}, ())


def test_a_device_goes_by_its_id_or_its_class() -> None:
    devices = {"0000:01:00.0": {"asleep": True}, "npu": {"temperature_celsius": 50}}
    system = read_what_if({"system": {"devices": devices}}, (GPU,)).system
    assert system is not None
    known, imagined = system.devices
    assert (known.id, known.name, known.power_state) == (GPU.id, "RTX", PowerState.ASLEEP)
    assert (imagined.hardware, imagined.temperature_c) == (Hardware.NPU, Reading(50.0, 0.0))


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"max_tokens": float("nan")}, "max_tokens"),
        ({"max_tokens": 10**10}, "max_tokens"),
        ({"hints": {"deadline_ms": 0}}, "hints.deadline_ms"),
        ({"hints": {"max_latency_ms": float("inf")}}, "hints.max_latency_ms"),
        ({"hints": {"target": ""}}, "hints.target"),
        ({"hints": {"priority": None}}, "hints.priority"),
        ({"system": {"hottest_celsius": "hot"}}, "system.hottest_celsius"),
        ({"system": {"devices": {"npu": {"throttling": 5}}}}, "system.devices.npu.throttling"),
        ({"system": {"devices": {"tpu": {}}}}, "system.devices.tpu"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(values: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as refused:
        read_what_if(values, (GPU,))
    assert (refused.value.kind, refused.value.param) == (ErrorKind.INVALID_REQUEST, param)
    assert refused.value.message.startswith(f"{param} ")


def test_an_error_repeats_little_of_what_was_sent() -> None:
    for values in ({"x" * 10**6: 1}, {"model": ["x"] * 10**6}, {"mode": "x" * 10**6}, {"hints": "x" * 10**6}):
        with pytest.raises(ProxyError) as refused:
            read_what_if(values, ())
        assert len(refused.value.message) < 400


def test_an_edge_puts_its_own_word_for_the_field_and_leaves_the_rest() -> None:
    error = ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "deadline_ms passed", param="deadline_ms", code="deadline_exceeded")
    named = error.named({"deadline_ms": "X-Deadline-Ms"})
    assert (named.message, named.param) == ("X-Deadline-Ms passed", "X-Deadline-Ms")
    assert (named.kind, named.code) == (error.kind, error.code)
    assert error.named({"target": "X-Target-Backend"}) is error
