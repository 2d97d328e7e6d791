"""The dry run: the same decision, and no effect."""

import json
from typing import Any

import pytest

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, SystemState
from tests.edges.http_api.conftest import Serve
from tests.fakes import FakeBackend, reference_fleet, spec_of

EXPLAIN = "/routing/explain"
NONE = "the default, as none was chosen"


async def test_it_tells_the_decision_that_the_request_then_gets(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    told = (await site.post(EXPLAIN, {"model": "tiny", "max_tokens": 200, "prompt_tokens": 11})).json
    answer = await site.chat(max_tokens=200)
    assert told["backend"] == answer.headers["X-Backend-Used"] == "igpu"
    assert [ranked["backend_id"] for ranked in told["ranked"][1:]] == answer.headers["X-Alternatives"].split(",")
    assert told["mode"] == told["effective_mode"] == "Balanced"
    assert told["reason"]


async def test_it_tells_every_term_and_every_rejection(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    told = (await site.post(EXPLAIN, {"hints": {"max_power_watts": 20}})).json
    terms = told["ranked"][0]["terms"]
    assert terms["cost_joules"] == pytest.approx(
        terms["energy_joules"] + terms["price_of_time_watts"] * terms["time_seconds"], rel=1e-5
    )
    codes = {each["backend_id"]: [no["reason_code"] for no in each["rejections"]] for each in told["rejected"]}
    assert codes == {"nvidia": ["hint_power"], "cpu": ["hint_power"]}
    assert len(told["ranked"]) + len(told["rejected"]) == 4


async def test_where_would_this_go_on_battery_at_twenty_percent(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    imagined = {"mode": "Auto", "system": {"on_battery": True, "battery_percent": 19.5}}
    told = (await site.post(EXPLAIN, imagined)).json
    assert (told["mode"], told["effective_mode"]) == ("Auto", "UltraEfficiency")
    assert "19.5" in told["mode_reason"]
    assert told["backend"] == "npu"


async def test_a_mode_that_is_only_asked_about_is_not_said_to_be_chosen(serve: Serve) -> None:
    site = await serve(*reference_fleet(), mode=Mode.EFFICIENCY)
    for asked, why in (({"mode": "Balanced"}, "as asked"), ({"mode": "Efficiency"}, NONE), ({}, NONE)):
        assert (await site.post(EXPLAIN, asked)).json["mode_reason"] == why


async def test_what_counts_in_auto_only_is_said_in_every_other_mode(serve: Serve) -> None:
    site = await serve(*reference_fleet(), mode=Mode.EFFICIENCY)
    battery = {"on_battery": True, "battery_percent": 15}
    told = (await site.post(EXPLAIN, {"system": battery})).json["mode_reason"]
    assert told == f"{NONE}; on_battery, battery_percent would count in the mode Auto only"
    assert "Auto only" not in (await site.post(EXPLAIN, {"system": battery, "mode": "Auto"})).json["mode_reason"]
    assert (await site.post(EXPLAIN, {"system": {"games": 1}})).json["mode_reason"] == NONE


async def test_where_would_this_go_if_that_device_slept_or_were_hot_or_a_game_ran(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    real = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX", PowerState.AWAKE)
    site.services.system.set(SystemState(devices=(real,)))
    told: dict[str, Any] = {}
    for name, system in {
        "now": {},
        "asleep": {"devices": {"nvidia": {"asleep": True}}},
        "hot": {"devices": {"0000:01:00.0": {"temperature_celsius": 96, "critical_celsius": 95}}},
        "throttled": {"devices": {"nvidia": {"throttling": "too hot"}}},
        "game": {"games": 1},
    }.items():
        told[name] = (await site.post(EXPLAIN, {"mode": "Performance", "system": system})).json
    assert told["now"]["backend"] == "nvidia"
    (nvidia,) = (each for each in told["asleep"]["ranked"] if each["backend_id"] == "nvidia")
    assert nvidia["terms"]["wake_seconds"] > 0
    rejected = {
        name: [no["reason_code"] for each in told[name]["rejected"] for no in each["rejections"]] for name in told
    }
    assert rejected == {"now": [], "asleep": [], "hot": ["critical_heat"], "throttled": [], "game": []}
    beyond = {
        name: [limit["reason_code"] for each in told[name]["ranked"] for limit in each["beyond"]] for name in told
    }
    assert beyond == {"now": [], "asleep": [], "hot": [], "throttled": ["throttling"], "game": ["game"]}
    assert all(each["ranked"][-1]["backend_id"] == "nvidia" for name, each in told.items() if beyond[name])


async def test_imagined_devices_on_which_no_backend_runs_are_named(serve: Serve) -> None:
    site = await serve(FakeBackend(spec_of("npu")), FakeBackend(spec_of("igpu", is_local=False)))
    hot = {"temperature_celsius": 105, "critical_celsius": 100}
    told = (await site.post(EXPLAIN, {"system": {"devices": {"igpu": hot, "npu": hot, "nvidia": {}}}})).json
    assert told["reason"].endswith("; no backend is known to run on igpu, nvidia, so what they do does not count")
    assert (told["reason_code"], told["reason_details"]["devices"]) == ("devices_unused", "igpu, nvidia")
    assert [each["backend_id"] for each in told["rejected"]] == ["npu"]
    for counts in ({}, {"devices": {"npu": hot}}, {"games": 1}):
        assert "known to run" not in (await site.post(EXPLAIN, {"system": counts})).json["reason"]


async def test_what_gave_way_is_told_with_the_decision_and_with_each_candidate(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    told = (await site.post(EXPLAIN, {"mode": "Efficiency", "hints": {"X-Max-Latency-Ms": 200}})).json
    assert told["backend"] == "nvidia"
    assert [limit["reason_code"] for limit in told["conceded"]] == ["mode_power"]
    assert told["conceded"] == told["ranked"][0]["beyond"]
    strict = {"mode": "Efficiency", "hints": {"X-Max-Latency-Ms": 200, "X-Strict-Limits": True}}
    assert (await site.post(EXPLAIN, strict)).json["backend"] is None


async def test_a_device_of_a_class_that_is_not_there_can_be_imagined(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    system = {"devices": {"npu": {"temperature_celsius": 99}}}
    told = (await site.post(EXPLAIN, {"mode": "Efficiency", "system": system})).json
    assert told["backend"] == "igpu"


async def test_it_has_no_effect(serve: Serve) -> None:
    backends = reference_fleet()
    site = await serve(*backends)
    before = site.services.fleet.views.value
    await site.post(EXPLAIN, {"model": "tiny", "mode": "Performance", "system": {"quiet_hours": True}})
    assert (await site.get("/efficiency")).json["mode"] == "Balanced"
    assert site.services.fleet.views.value is before
    assert not any(backend.requests for backend in backends)
    assert not site.services.ledger.recent()


async def test_an_empty_question_asks_about_any_model(serve: Serve) -> None:
    assert (await (await serve()).post(EXPLAIN, {})).json["backend"] == "npu"


async def test_a_question_that_nobody_can_serve_is_answered_and_no_error(serve: Serve) -> None:
    answer = await (await serve()).post(EXPLAIN, {"model": "nope"})
    assert answer.status == 200
    assert answer.json["backend"] is None
    assert answer.json["rejected"][0]["rejections"][0]["reason_code"] == "model_not_held"


@pytest.mark.parametrize(
    "hints",
    [
        {"X-Target-Backend": "cpu"},
        {"x-target-backend": "cpu"},
        {"target": "cpu"},
        {"X-Latency-Critical": "true", "max_power_watts": "28"},
        {"latency_critical": True, "max_power_watts": 28.0, "target": "cpu"},
    ],
)
async def test_hints_go_by_the_names_of_headers_or_in_plain(serve: Serve, hints: dict[str, Any]) -> None:
    site = await serve(FakeBackend("nvidia"), FakeBackend("cpu"))
    assert (await site.post(EXPLAIN, {"hints": hints, "mode": "Performance"})).json["backend"] == "cpu"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"promt_tokens": 5}, "did you mean prompt_tokens?"),
        ({"zzz": 5}, "there are model, prompt_tokens"),
        ({"prompt_tokens": "5"}, "prompt_tokens"),
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"operation": "dance"}, "operation"),
        ({"mode": "Fast"}, "allowed are Performance"),
        ({"hints": []}, "hints"),
        ({"hints": {"priorty": "low"}}, "did you mean priority?"),
        ({"hints": {"priority": "urgent"}}, "hints.priority must be one of"),
        ({"hints": {"max_latency_ms": -5}}, "hints.max_latency_ms must be a number above 0, at most 1000000000000"),
        ({"hints": {"priority": None}}, "hints.priority"),
        ({"hints": {"priority": "low", "X-Priority": "low"}}, "more than once"),
        ({"system": {"on_batery": True}}, "did you mean on_battery?"),
        ({"system": {"on_battery": 1}}, "system.on_battery"),
        ({"system": {"battery_percent": 120}}, "system.battery_percent"),
        ({"system": {"power_profile": "turbo"}}, "system.power_profile"),
        ({"system": {"games": -1}}, "system.games"),
        ({"system": {"devices": {"gpu": {}}}}, "system.devices.gpu is not a device; there are npu, igpu"),
        ({"system": {"devices": {"npu": {"asleeep": True}}}}, "did you mean asleep?"),
        ({"system": {"devices": {"npu": {"fan_percent": 101}}}}, "system.devices.npu.fan_percent"),
        ({"system": {"devices": {"npu": 5}}}, "system.devices"),
        ([], "body"),
    ],
)
async def test_a_wrong_question_is_a_400_that_names_what_is_wrong(serve: Serve, body: Any, named: str) -> None:
    answer = await (await serve()).post(EXPLAIN, body)
    assert answer.status == 400, answer.json
    assert named in json.dumps(answer.json)
