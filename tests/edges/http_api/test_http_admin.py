"""The routes about the proxy itself."""

from dataclasses import replace

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Health, Profile
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.services.gate import Gate
from tests.edges.http_api.conftest import Serve
from tests.fakes import FakeBackend, MemoryStore, reference_fleet, spec_of, words
from tests.reasons import unavailable

REFUSED = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused")


async def test_health_is_ok_when_all_can_serve_degraded_when_some_and_down_when_none(serve: Serve) -> None:
    npu, cpu = FakeBackend("npu"), FakeBackend("cpu")
    site = await serve(npu, cpu)
    seen = []
    for failing in ((), (cpu,), (npu, cpu)):
        for backend in failing:
            backend.down = REFUSED
        await site.services.health.check_all()
        answer = await site.get("/health")
        seen.append((answer.status, answer.json["status"]))
    assert seen == [(200, "ok"), (200, "degraded"), (503, "down")]
    why = {
        "reason": "connection refused",
        "reason_code": "backend_down",
        "reason_details": {"detail": "connection refused"},
    }
    assert answer.json["backends"][1] == {
        "id": "cpu",
        "health": "down",
        **why,
        "reason_details": {"detail": "connection refused"},
    }


async def test_a_disabled_backend_does_not_degrade_health(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("cpu"))
    views = site.services.fleet.views
    views.set((views.value[0], replace(views.value[1], health=Health.DISABLED)))
    assert (await site.get("/health")).json["status"] == "ok"


async def test_the_process_is_alive_even_when_nothing_is_ready(serve: Serve) -> None:
    resting = FakeBackend("npu")
    resting.down = REFUSED
    site = await serve(resting)
    assert (await site.get("/healthz")).status == 200
    assert (await site.get("/readyz")).status == 503
    resting.down = None
    await site.services.health.check_all()
    assert (await site.get("/readyz")).status == 200


async def test_a_proxy_that_takes_no_requests_is_not_ready_and_says_why(serve: Serve) -> None:
    gate = Gate()
    site = await serve(FakeBackend("npu"), gate=gate)
    assert (await site.get("/readyz")).status == 200
    gate.stop()
    answer = await site.get("/readyz")
    assert (answer.status, answer.body) == (503, b"not ready\n")


async def test_backends_are_told_in_configured_order_with_what_was_configured(serve: Serve) -> None:
    answer = await (await serve(*reference_fleet())).get("/backends")
    assert [backend["id"] for backend in answer.json] == ["npu", "igpu", "nvidia", "cpu"]
    npu = answer.json[0]
    assert (npu["rated_power_watts"], npu["rated_latency_ms"], npu["rated_tokens_per_second"]) == (3.0, 800.0, 10.0)
    assert (npu["kind"], npu["hardware"], npu["power_watts"]) == ("ollama", "npu", None)
    assert (npu["health"], npu["models"], npu["loaded_models"], npu["in_flight"]) == ("up", ["tiny:latest"], None, 0)


async def test_unknown_hardware_says_that_it_is_unknown(serve: Serve) -> None:
    (backend,) = (await (await serve(FakeBackend(spec_of("found", profile=Profile())))).get("/backends")).json
    assert backend["hardware"] == "unknown"
    assert backend["rated_power_watts"] is None
    why = backend["unknown"]["rated_power_watts"]
    assert (why["reason_code"], why["reason_details"]) == ("power_guessed", {"power_watts": 15.0})
    assert why["reason"] == "it is not configured; about 15 W, guessed"


async def test_backends_show_what_was_learned_and_that_energy_is_estimated(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *words(*"abcdefghijkl")))
    await site.chat(stream=True)
    (backend,) = (await site.get("/backends")).json
    assert backend["learned"]["tiny:latest"]["samples"] == 1
    assert backend["totals"]["requests"] == 1
    assert backend["totals"]["completion_tokens"] == 12
    assert backend["totals"]["energy_source"] == "estimated"


async def test_the_mode_is_told_with_its_reason_and_the_whole_table(serve: Serve) -> None:
    body = (await (await serve()).get("/efficiency")).json
    assert (body["mode"], body["effective_mode"]) == ("Balanced", "Balanced")
    assert body["reason"]
    assert [row["mode"] for row in body["modes"]] == [mode.value for mode in Mode]
    assert body["in_force"]["price_of_time_watts"] == 7.5


async def test_one_call_switches_the_mode_and_the_next_request_goes_elsewhere(serve: Serve) -> None:
    store = MemoryStore()
    site = await serve(*reference_fleet(), store=store)
    used = {}
    for mode in ("Performance", "Balanced", "UltraEfficiency"):
        answer = await site.post("/efficiency", {"mode": mode})
        assert answer.status == 200
        assert answer.json["mode"] == mode
        used[mode] = (await site.chat(max_tokens=200)).headers["X-Backend-Used"]
    assert used == {"Performance": "nvidia", "Balanced": "igpu", "UltraEfficiency": "npu"}
    assert store.state == {"mode": "UltraEfficiency"}


@pytest.mark.parametrize("mode", ["Fast", "", "performanc", "5"])
async def test_a_mode_that_does_not_exist_is_a_400_that_lists_the_modes_and_changes_nothing(
    serve: Serve, mode: str
) -> None:
    site = await serve()
    answer = await site.post("/efficiency", {"mode": mode})
    assert answer.status == 400
    assert all(known.value in answer.json["error"] for known in Mode)
    assert (await site.get("/efficiency")).json["mode"] == "Balanced"


@pytest.mark.parametrize("body", [{}, {"mode": 5}, {"mode": None}, {"Mode": "Quiet"}, {"mode": "Quiet", "x": 1}])
async def test_a_mode_in_any_other_form_is_a_400_that_names_the_key(serve: Serve, body: dict[str, object]) -> None:
    site = await serve()
    answer = await site.post("/efficiency", body)
    assert answer.status == 400
    assert "mode" in answer.json["error"]
    assert (await site.get("/efficiency")).json["mode"] == "Balanced"


async def test_heat_is_unavailable_with_a_reason_each_until_there_are_sensors(serve: Serve) -> None:
    body = (await (await serve()).get("/thermal")).json
    assert body["status"] == "unavailable"
    why = {"reason": "no sensor yet", "reason_code": "no_sensor", "reason_details": {}}
    assert (body["hottest_celsius"], body["unknown"]["hottest_celsius"]) == (None, why)


async def test_devices_show_their_readings_and_who_runs_on_them(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), FakeBackend("nvidia"))
    asleep = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX", PowerState.ASLEEP, temperature_c=unavailable("asleep"))
    awake = DeviceState("0000:00:0b.0", Hardware.NPU, "NPU", PowerState.AWAKE, temperature_c=Reading(41.5, 1.0))
    site.services.system.set(SystemState(devices=(asleep, awake)))
    sleeper, waker = (await site.get("/thermal")).json["devices"]
    assert (sleeper["id"], sleeper["power_state"], sleeper["backends"]) == ("0000:01:00.0", "asleep", ["nvidia"])
    assert (sleeper["temperature_celsius"], sleeper["unknown"]["temperature_celsius"]["reason"]) == (None, "asleep")
    assert waker["temperature_celsius"] == 41.5
    backends = (await site.get("/backends")).json
    assert [(each["device"], each["asleep"]) for each in backends] == [("0000:00:0b.0", False), ("0000:01:00.0", True)]


async def test_a_backend_without_a_device_is_neither_asleep_nor_awake(serve: Serve) -> None:
    (backend,) = (await (await serve(FakeBackend("npu"))).get("/backends")).json
    assert (backend["device"], backend["asleep"]) == (None, None)


async def test_who_holds_a_mode_is_shown_with_the_reason_and_without_their_address_on_the_bus(serve: Serve) -> None:
    site = await serve()
    site.services.governor.hold(Mode.QUIET, "recording", "org.example.Recorder", ":1.5")
    body = (await site.get("/efficiency")).json
    (told,) = body["holds"]
    assert told.pop("ends_unix_seconds") > 0
    named = {"mode": "Quiet", "reason": "recording", "application_id": "org.example.Recorder"}
    assert told == {**named, "until_charged": False}
    assert (body["mode"], body["effective_mode"]) == ("Balanced", "Quiet")
    assert body["reason"] == "held by org.example.Recorder: recording"


async def test_choosing_a_mode_ends_what_programs_hold(serve: Serve) -> None:
    site = await serve()
    site.services.governor.hold(Mode.QUIET, "recording", "org.example.Recorder", ":1.5")
    body = (await site.post("/efficiency", {"mode": "Balanced"})).json
    assert (body["holds"], body["effective_mode"]) == ([], "Balanced")


async def test_zero_degrees_are_a_reading(serve: Serve) -> None:
    site = await serve()
    site.services.system.set(SystemState(hottest_c=Reading(0.0, 5.0)))
    body = (await site.get("/thermal")).json
    assert body["status"] == "available"
    assert body["hottest_celsius"] == 0.0
    assert "hottest_celsius" not in body["unknown"]


async def test_a_broken_backend_shows_its_own_failures(serve: Serve) -> None:
    broken = FakeBackend("npu", ProxyError(ErrorKind.UPSTREAM_FAILED, "broke", status=500))
    site = await serve(broken, FakeBackend("cpu"))
    for _ in range(3):
        assert (await site.chat({"X-Power-Efficient": "1"})).headers["X-Backend-Used"] == "cpu"
    totals = {each["id"]: each["totals"] for each in (await site.get("/backends")).json}
    assert (totals["npu"]["requests"], totals["npu"]["errors"]) == (3, 3)
    assert (totals["cpu"]["requests"], totals["cpu"]["errors"]) == (3, 0)
