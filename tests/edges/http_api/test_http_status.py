"""GET /status: everything that a person asks, in one object; what is not known has its reason there."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Health
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeBackend, FakeClock, MemoryStore, reference_fleet, words
from tests.reasons import unavailable

SLEEPING = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX", PowerState.ASLEEP, power_w=unavailable("it sleeps"))
AWAKE = DeviceState(
    "0000:00:0b.0",
    Hardware.NPU,
    "NPU",
    PowerState.AWAKE,
    temperature_c=Reading(41.5, 1.0),
    power_w=Reading(0.0, 1.0),
)


async def status(site: Site) -> Any:
    answer = await site.get("/status")
    assert answer.status == 200
    return answer.json


async def backend(site: Site, backend_id: str) -> Any:
    return next(each for each in (await status(site))["backends"] if each["id"] == backend_id)


async def slow(serve: Serve) -> Site:
    """A server in front of an NPU that takes a second for each word."""
    clock = FakeClock()
    steps = [step for word in words(*"abcdefghijkl") for step in (word, lambda: clock.advance(1.0))]
    return await serve(FakeBackend("npu", *steps), clock=clock)


async def test_the_mode_is_told_with_its_reason_and_every_hold(serve: Serve) -> None:
    site = await serve()
    site.services.governor.hold(Mode.QUIET, "recording", "org.example.Recorder", ":1.5")
    told = await status(site)
    assert (told["mode"], told["effective_mode"]) == ("Balanced", "Quiet")
    assert told["reason"] == "held by org.example.Recorder: recording"
    (hold,) = told["holds"]
    assert hold.pop("ends_unix_seconds") > 0
    named = {"mode": "Quiet", "reason": "recording", "application_id": "org.example.Recorder"}
    assert hold == {**named, "until_charged": False}
    assert [row["mode"] for row in told["modes"]] == [mode.value for mode in Mode]


async def test_a_sleeping_card_is_called_asleep(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    site.services.system.set(SystemState(devices=(SLEEPING, AWAKE)))
    nvidia = await backend(site, "nvidia")
    assert (nvidia["asleep"], nvidia["power_watts"]) == (True, None)
    assert nvidia["unknown"]["power_watts"]["reason"] == "it sleeps"
    assert "asleep" not in nvidia["unknown"]


async def test_what_a_device_draws_and_how_hot_it_is_are_told_and_zero_is_a_reading(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    site.services.system.set(SystemState(devices=(SLEEPING, AWAKE)))
    npu = await backend(site, "npu")
    assert (npu["power_watts"], npu["temperature_celsius"], npu["asleep"]) == (0.0, 41.5, False)
    assert set(npu["unknown"]) == {"tokens_per_second", "loaded_models"}
    assert npu["too_hot"] is False


async def test_a_device_that_heat_keeps_requests_off_is_called_too_hot_in_this_mode(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    site.services.system.set(SystemState(devices=(replace(AWAKE, temperature_c=Reading(72.0, 1.0)), SLEEPING)))
    assert (await backend(site, "npu"))["too_hot"] is False
    site.services.governor.select(Mode.QUIET)
    assert (await backend(site, "npu"))["too_hot"] is True
    nvidia = await backend(site, "nvidia")
    assert (nvidia["too_hot"], nvidia["unknown"]["too_hot"]["reason_code"]) == (None, "no_sensor")


async def test_a_backend_without_a_device_is_neither_asleep_nor_awake_and_says_why(serve: Serve) -> None:
    npu = await backend(await serve(FakeBackend("npu")), "npu")
    assert npu["asleep"] is npu["power_watts"] is npu["temperature_celsius"] is npu["tokens_per_second"] is None
    codes = {name: why["reason_code"] for name, why in npu["unknown"].items()}
    assert codes["asleep"] == codes["power_watts"] == "no_device"
    assert codes["tokens_per_second"] == "not_learned"


async def test_a_backend_that_is_down_says_why(serve: Serve) -> None:
    broken = FakeBackend("npu")
    broken.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused")
    npu = await backend(await serve(broken), "npu")
    assert (npu["health"], npu["reason"], npu["enabled"]) == ("down", "connection refused", True)


async def test_the_speed_that_was_measured_is_told(serve: Serve) -> None:
    site = await slow(serve)
    await site.chat(stream=True)
    npu = await backend(site, "npu")
    assert npu["tokens_per_second"] == pytest.approx(1.0, rel=0.2)
    assert "tokens_per_second" not in npu["unknown"]


async def test_the_machine_is_told_in_plain_values_with_a_reason_for_each_gap(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    on_battery, slow = Reading(value=True, at_s=1.0), SystemState(devices=(AWAKE,))
    site.services.system.set(replace(slow, on_battery=on_battery, fan_percent=unavailable("no fan was found")))
    told = await status(site)
    system, (device,) = told["system"], told["devices"]
    assert (system["on_battery"], system["fan_percent"]) == (True, None)
    assert system["unknown"]["fan_percent"]["reason"] == "no fan was found"
    assert "on_battery" not in system["unknown"]
    assert (device["id"], device["power_state"], device["backends"]) == ("0000:00:0b.0", "awake", ["npu"])
    assert (device["temperature_celsius"], device["fan_percent"]) == (41.5, None)
    assert device["unknown"]["fan_percent"]["reason"] == "no sensor yet"


async def test_today_counts_every_request_the_refused_ones_too(serve: Serve) -> None:
    site = await slow(serve)
    await site.chat()
    await site.chat(model="nope")
    today = (await status(site))["today"]
    assert (today["requests"], today["errors"], today["completion_tokens"]) == (2, 1, 12)
    assert today["energy_joules"] > 0
    assert today["energy_source"] == "estimated"
    active, base = (await status(site))["energy"]
    assert (active["account"], active["total_joules"]) == ("active", today["energy_joules"])
    assert (base["account"], base["total_joules"], base["reason_code"]) == ("base", None, "base_not_seen")


async def test_the_last_decision_is_told_with_what_it_was_expected_to_cost(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    assert (await status(site))["last_decision"] is None
    await site.chat(max_tokens=200)
    last = (await status(site))["last_decision"]
    assert (last["backend"], last["model"], last["ended"]) == ("igpu", "tiny:latest", "ok")
    assert (last["mode"], last["effective_mode"]) == ("Balanced", "Balanced")
    assert last["reason"].startswith("Balanced: igpu needs ")
    assert last["energy_joules"] > 0
    assert last["latency_ms"] == 350


async def test_what_was_saved_is_told_where_it_could_be_compared(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    await site.chat(model="nope")
    today = (await status(site))["today"]
    assert today["saved_joules"] is today["compared"] is None
    await site.chat(max_tokens=200)
    told = await status(site)
    assert told["today"]["compared"] == 1
    assert told["today"]["saved_joules"] > 0
    assert told["last_decision"]["instead_of"] == "nvidia"
    assert told["last_decision"]["instead_of_joules"] > told["last_decision"]["energy_joules"]


async def test_a_request_that_nothing_could_serve_is_the_last_decision_too(serve: Serve) -> None:
    site = await serve()
    await site.chat(model="nope")
    last = (await status(site))["last_decision"]
    assert (last["backend"], last["ended"]) == (None, "model_not_found")
    assert last["reason"] == "no backend holds 'nope'"


async def test_a_backend_is_switched_off_and_on_and_that_is_kept(serve: Serve) -> None:
    store = MemoryStore()
    site = await serve(*reference_fleet(), store=store)
    answer = await site.post("/backends/igpu", {"enabled": False})
    assert (answer.status, answer.json["enabled"], answer.json["reason"]) == (200, False, "switched off by hand")
    assert site.services.fleet.view("igpu").health is Health.DISABLED
    assert store.state == {"enabled": {"igpu": False}}
    assert (await site.post("/backends/igpu", {"enabled": True})).json["enabled"] is True
    assert site.services.fleet.view("igpu").health is not Health.DISABLED


async def test_a_backend_that_is_none_is_a_404_that_names_those_that_there_are(serve: Serve) -> None:
    site = await serve(*reference_fleet())
    answer = await site.post("/backends/tpu", {"enabled": False})
    assert answer.status == 404
    assert answer.json["error"] == "there is no backend 'tpu'; there are: npu, igpu, nvidia, cpu"


@pytest.mark.parametrize("body", [{}, {"enabled": 0}, {"enabled": "no"}, {"enabled": None}, {"enable": True}])
async def test_switching_takes_only_true_and_false(serve: Serve, body: dict[str, Any]) -> None:
    site = await serve()
    answer = await site.post("/backends/npu", body)
    assert answer.status == 400
    assert "enabled" in answer.json["error"]
    assert site.services.fleet.view("npu").health is Health.UP


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}]
)
async def test_pages_of_other_sites_see_and_switch_nothing(serve: Serve, headers: dict[str, str]) -> None:
    site = await serve()
    assert (await site.get("/status", headers=headers)).status == 403
    assert (await site.get("/status/events", headers=headers)).status == 403
    assert (await site.post("/backends/npu", {"enabled": False}, headers=headers)).status == 403
    assert site.services.fleet.view("npu").health is Health.UP


async def test_with_a_token_nothing_is_told_without_it(serve: Serve) -> None:
    site = await serve(listen=ServerSettings(port=0, token="secret", drain_s=0.2))
    for path in ("/status", "/status/events"):
        assert (await site.get(path)).status == 401
    assert (await site.post("/backends/npu", {"enabled": False})).status == 401
    assert (await site.get("/status", headers={"Authorization": "Bearer secret"})).status == 200


async def test_a_backend_that_the_mode_in_force_uses_last_says_so_in_few_words(serve: Serve) -> None:
    site = await serve(*reference_fleet(), mode=Mode.EFFICIENCY)
    outside = (await backend(site, "nvidia"))["outside_mode"]
    assert (outside["reason"], outside["reason_code"]) == ("not in this mode: 55 W > 15 W", "outside_mode")
    assert [each["reason_code"] for each in outside["reason_details"]["limits"]] == ["limit_power"]
    assert (await backend(site, "npu"))["outside_mode"] is None
    ready = (await site.get("/readyz")).body
    assert ready == b"ready\n"
    site.services.governor.select(Mode.PERFORMANCE)
    assert (await backend(site, "nvidia"))["outside_mode"] is None
    assert (await site.get("/readyz")).body == b"ready\n"


async def test_heat_fans_and_games_are_told_like_watts(serve: Serve) -> None:
    site = await serve(*reference_fleet(), mode=Mode.QUIET)
    hot = replace(
        SLEEPING,
        power_state=PowerState.AWAKE,
        temperature_c=Reading(91.0, 1.0),
        critical_c=Reading(90.0, 1.0),
        fan_percent=Reading(88.0, 1.0),
        throttling=Reading("thermal", 1.0),
    )
    site.services.system.set(SystemState(devices=(hot,), games=Reading(1, 1.0)))
    assert (await backend(site, "nvidia"))["outside_mode"]["reason"] == (
        "not in this mode: 55 W > 15 W; 91 °C > 70 °C; fan at 88 % > 40 %; throttled: thermal; "
        "reserved for a running game; 91 °C is critical"
    )


async def test_a_backend_that_is_switched_on_is_told_as_its_check_found_it(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    await site.post("/backends/npu", {"enabled": False})
    told = (await site.post("/backends/npu", {"enabled": True})).json
    assert (told["enabled"], told["health"]) == (True, "up")


async def test_a_check_that_takes_long_does_not_hold_the_switch_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = FakeBackend("npu")
    site = await serve(slow)
    await site.post("/backends/npu", {"enabled": False})
    monkeypatch.setattr(slow, "probe", asyncio.Event().wait)
    monkeypatch.setattr("ollama_proxyd.edges.http_api.status.CHECKED_WITHIN_S", 0.01)
    told = (await site.post("/backends/npu", {"enabled": True})).json
    assert (told["enabled"], told["health"]) == (True, "unknown")


async def test_health_says_how_many_are_within_the_mode(serve: Serve) -> None:
    site = await serve(*reference_fleet(), mode=Mode.EFFICIENCY)
    assert (await site.get("/health")).json["within_mode"] == 2


async def test_the_power_profile_that_answers_hold_is_told(serve: Serve) -> None:
    site = await serve()
    saver = site.services.power_saver
    saver.answers, saver.saved_j = 3, 12.5
    saver.held()
    told = (await site.get("/status")).json["power_saver"]
    assert told == {"held": True, "answers": 3, "saved_joules": 12.5}


async def test_the_uptime_is_by_a_clock_that_nobody_sets_and_knows_of_sleep(serve: Serve) -> None:
    clock = FakeClock()
    site = await serve(FakeBackend("npu"), clock=clock)
    clock.advance(90)
    clock.nap(10)
    for path in ("/status", "/api/info"):
        assert (await site.get(path)).json["uptime_seconds"] == 100
