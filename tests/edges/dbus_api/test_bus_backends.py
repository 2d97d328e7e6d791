"""ie.fio.OllamaProxy.Backends and the objects below it."""

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest
from dbus_fast import Variant

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware, Health, LoadedModel, Model, ModelRules
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.readings import DeviceState, PowerState
from ollama_proxyd.core.watts import Watts
from tests.edges.dbus_api.bus_desk import ROOT, ROOT_PATH, Desk, Program, Refused, paused
from tests.fakes import FakeBackend, MemoryStore, spec_of
from tests.reasons import because, unavailable

NPU = DeviceState("0000:00:0b.0", Hardware.NPU, "Intel NPU", PowerState.AWAKE)
DOWN = ProxyError(ErrorKind.UPSTREAM_FAILED, "nothing listens at http://127.0.0.1:1/npu")


async def managed(program: Program) -> dict[str, Any]:
    everything = await program.ask((ROOT, ROOT_PATH, "org.freedesktop.DBus.ObjectManager"), "GetManagedObjects")
    return {path: each for path, each in everything.items() if path.startswith(f"{ROOT_PATH}/Backends/")}


async def test_the_list_has_a_dictionary_for_each_backend(program: Program) -> None:
    rows = await program.call("Backends", "ListBackends")
    assert program.reply_signature == "aa{sv}"
    assert rows[0] == {
        "id": "npu",
        "name": "Test npu",
        "type": "ollama",
        "hardware": "npu",
        "healthy": True,
        "rated_power_watts": 3.0,
        "avg_latency_ms": 800,
    }
    assert [row["id"] for row in rows] == ["npu", "igpu", "nvidia", "cpu"]


async def test_what_nobody_said_of_a_backend_is_absent_with_a_reason(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend("mystery"))
    (row,) = await program.call("Backends", "ListBackends")
    assert row["unknown"].keys() == {"rated_power_watts", "avg_latency_ms"}
    assert not row["unknown"].keys() & row.keys()
    details = await program.call("Backends", "GetBackendDetails", "s", "mystery")
    not_known = {"rated_power_watts", "measured_power_watts", "avg_latency_ms", "max_model_size_gb"}
    assert not not_known & details.keys()
    assert details["unknown"].keys() == not_known


async def test_measured_watts_are_among_the_details(program: Program, desk: Desk) -> None:
    desk.services.fleet.note_watts("npu", Watts(4.5, 30.0))
    details = await program.call("Backends", "GetBackendDetails", "s", "npu")
    assert (details["rated_power_watts"], details["measured_power_watts"]) == (3.0, 4.5)


async def test_details_tell_what_a_backend_is(program: Program) -> None:
    details = await program.call("Backends", "GetBackendDetails", "s", "nvidia")
    assert (details["id"], details["type"], details["hardware"], details["healthy"]) == (
        "nvidia",
        "ollama",
        "nvidia",
        True,
    )
    assert (details["rated_power_watts"], details["avg_latency_ms"], details["priority"]) == (55.0, 150, 0)
    assert (details["supports_generate"], details["supports_stream"], details["supports_embed"]) == (True, True, True)
    assert (details["supported_patterns"], details["preferred_models"]) == ([], [])


async def test_a_limit_of_less_than_a_gigabyte_is_told_whole(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend(spec_of("npu", rules=ModelRules(max_size_bytes=500_000_000))))
    assert (await program.call("Backends", "GetBackendDetails", "s", "npu"))["max_model_size_gb"] == 0.5


async def test_what_models_cannot_do_is_told(program: Program, desk: Desk) -> None:
    only_embeds = Model("minilm", capabilities=frozenset({"embedding"}))
    await desk.reload(FakeBackend("npu", models=(only_embeds,)))
    details = await program.call("Backends", "GetBackendDetails", "s", "npu")
    assert (details["supports_generate"], details["supports_stream"], details["supports_embed"]) == (False, False, True)


async def test_metrics_follow_the_requests(program: Program, desk: Desk) -> None:
    before = await program.call("Backends", "GetBackendMetrics", "s", "npu")
    assert before["request_count"] == 0
    assert {"avg_busy_ms", "energy_source", "error_rate", "loaded_models"} == before["unknown"].keys()
    await desk.request(target="npu")
    after = await program.call("Backends", "GetBackendMetrics", "s", "npu")
    assert (after["request_count"], after["success_count"], after["error_count"], after["error_rate"]) == (1, 1, 0, 0.0)
    assert after["completion_tokens"] == 2


async def test_the_energy_accounts_of_devices_are_told(program: Program, desk: Desk) -> None:
    await desk.request(target="npu")
    joules = sum(desk.services.energy.totals.joules.values())
    active = {"device": "npu", "account": "active", "source": "estimated"}
    told = await program.call("Backends", "GetEnergyAccounts")
    errors = dict.fromkeys(("today_error_joules", "total_error_joules"), joules / 2)
    assert {**active, "today_joules": joules, "total_joules": joules, **errors} in told
    (base,) = (each for each in told if each["account"] == "base")
    assert (base["device"], base["unknown"].keys()) == ("npu", {"today_joules", "total_joules", *errors})


async def test_idle_backends_let_go_of_their_models_on_request(program: Program, desk: Desk) -> None:
    warm = (LoadedModel("tiny:latest"),)
    idle, fixed = FakeBackend("npu", loaded=warm), FakeBackend("cpu", loaded=warm)
    fixed.can_unload = False
    await desk.reload(idle, fixed)
    assert await program.get("Backends/npu", "LoadedModels") == ["tiny:latest"]
    assert await program.call("Backends", "UnloadModels") == [1, 1]
    assert (idle.unloaded, fixed.unloaded) == (["tiny:latest"], [])
    assert await program.get("Backends/npu", "LoadedModels") == []
    assert await program.call("Backends", "UnloadModels") == [0, 1]


async def test_a_backend_at_work_keeps_its_models(program: Program, desk: Desk) -> None:
    busy = FakeBackend("npu", loaded=(LoadedModel("tiny:latest"),))
    await desk.reload(busy)
    go_on = paused(busy)
    running = asyncio.create_task(desk.request(target="npu"))
    await busy.opened.wait()
    assert await program.call("Backends", "UnloadModels") == [0, 1]
    go_on.set()
    await running
    assert busy.unloaded == []


async def test_failures_count_as_errors(program: Program, desk: Desk, fleet: dict[str, FakeBackend]) -> None:
    fleet["npu"].script = (ProxyError(ErrorKind.UPSTREAM_REJECTED, "no", status=400),)
    with pytest.raises(ProxyError):
        await desk.request(target="npu")
    metrics = await program.call("Backends", "GetBackendMetrics", "s", "npu")
    assert (metrics["success_count"], metrics["error_count"], metrics["error_rate"]) == (0, 1, 100.0)


async def test_loaded_models_are_told_where_the_engine_knows_them(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend("npu", loaded=(LoadedModel("tiny:latest"),)))
    assert (await program.call("Backends", "GetBackendMetrics", "s", "npu"))["loaded_models"] == ["tiny:latest"]


async def test_models_are_those_that_the_backend_holds(program: Program) -> None:
    assert await program.call("Backends", "GetSupportedModels", "s", "npu") == ["tiny:latest"]


@pytest.mark.parametrize("member", ["GetBackendDetails", "GetBackendMetrics", "GetSupportedModels"])
async def test_an_unknown_backend_is_refused_with_those_that_there_are(program: Program, member: str) -> None:
    with pytest.raises(Refused, match="npu, igpu, nvidia, cpu") as refused:
        await program.call("Backends", member, "s", "tpu")
    assert refused.value.name == "ie.fio.OllamaProxy.Error.UnknownBackend"


async def test_a_refresh_asks_the_backends_and_tells_what_changed_once(
    program: Program, fleet: dict[str, FakeBackend]
) -> None:
    fleet["npu"].down = DOWN
    await program.call("Backends", "RefreshBackendStatus")
    news = await program.heard()
    assert [(member, *body) for _, member, body in news if member != "PropertiesChanged"] == [
        ("BackendStatusChanged", "npu", False)
    ]
    told = [body[1] for where, _, body in news if where == "Backends/npu"]
    assert told == [
        {
            "Health": "down",
            "Reason": DOWN.message,
            "ReasonCode": "backend_down",
            "ReasonDetails": {"detail": DOWN.message},
        }
    ]
    assert [body[1] for where, member, body in news if (where, member) == ("Backends", "PropertiesChanged")] == [
        {"HealthyCount": 3, "WithinModeCount": 3}
    ]
    await program.call("Backends", "RefreshBackendStatus")
    assert await program.heard() == []
    fleet["npu"].down = None
    await program.call("Backends", "RefreshBackendStatus")
    assert await program.heard_named() == [("BackendStatusChanged", "npu", True)]


async def test_a_health_check_of_its_own_is_told_as_well(program: Program, desk: Desk) -> None:
    desk.services.fleet.note_down("cpu", because("nothing listens"))
    assert await program.heard_named() == [("BackendStatusChanged", "cpu", False)]
    assert await program.get("Backends", "HealthyCount") == 3


async def test_a_backend_of_another_machine_says_which(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend(replace(spec_of("attic/npu"), machine="attic")))
    (path,) = await managed(program)
    assert (await program.get_all(path.removeprefix(f"{ROOT_PATH}/")))["Machine"] == "attic"


async def test_a_backend_at_its_rate_limit_tells_until_when_and_when_that_is_over(program: Program, desk: Desk) -> None:
    fleet = desk.services.fleet
    until_unix_s = math.ceil(desk.clock.unix() + 30)
    fleet.note_begun(fleet.members["npu"], None, 30.0)
    news = [body[1] for where, _, body in await program.heard() if where == "Backends/npu"]
    assert news == [{"RestingUntilUnixSeconds": until_unix_s}]
    desk.clock.advance(31)
    ((told, _, body),) = await program.heard()
    assert told == "Backends/npu"
    assert math.isnan(body[1].pop("RestingUntilUnixSeconds"))
    assert not body[1]


async def test_each_of_several_rests_is_told_when_it_is_over(program: Program, desk: Desk) -> None:
    """The last began at last and is over first, and nothing else changes meanwhile."""
    fleet = desk.services.fleet
    for backend_id, rest_s in (("npu", 60.0), ("cpu", 90.0), ("igpu", 5.0)):
        fleet.note_begun(fleet.members[backend_id], None, rest_s)
        await program.heard()
    told = []
    for passes_s in (6.0, 55.0, 30.0):
        desk.clock.advance(passes_s)
        told.append([where for where, member, _ in await program.heard() if member == "PropertiesChanged"])
    assert told == [["Backends/igpu"], ["Backends/npu"], ["Backends/cpu"]]


async def test_each_backend_is_an_object_with_every_property(program: Program) -> None:
    objects = await managed(program)
    assert set(objects) == {f"{ROOT_PATH}/Backends/{name}" for name in ("npu", "igpu", "nvidia", "cpu")}
    values = await program.get_all("Backends/npu")
    assert math.isnan(values.pop("TokensPerSecond"))
    assert values.pop("LoadedModels") == []
    assert math.isnan(values.pop("PowerWatts"))
    assert math.isnan(values.pop("RestingUntilUnixSeconds"))
    assert math.isnan(values.pop("TemperatureCelsius"))
    assert values.pop("Unknown").keys() == {
        "LoadedModels",
        "TokensPerSecond",
        "PowerWatts",
        "TemperatureCelsius",
        "Asleep",
        "TooHot",
    }
    assert values == {
        "Id": "npu",
        "Name": "Test npu",
        "Engine": "generic",
        "Endpoint": "http://127.0.0.1:1/npu",
        "Machine": "",
        "Hardware": "npu",
        "Health": "up",
        "RatedPowerWatts": 3.0,
        "Reason": "",
        "ReasonCode": "",
        "ReasonDetails": {},
        "Models": ["tiny:latest"],
        "InFlight": 0,
        "Slots": 1,
        "SlotsFrom": "assumed",
        "Asleep": False,
        "Enabled": True,
        "TooHot": False,
        "OutsideMode": {},
    }


async def test_an_id_that_no_path_can_have_is_escaped(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend(spec_of("ollama-npü")))
    await program.settle()
    assert list(await managed(program)) == [f"{ROOT_PATH}/Backends/ollama_2dnp_c3_bc"]
    assert await program.get("Backends/ollama_2dnp_c3_bc", "Id") == "ollama-npü"


async def test_objects_come_and_go_with_the_configuration(program: Program, desk: Desk) -> None:
    await program.heard()
    await desk.reload(FakeBackend("npu"), FakeBackend("remote"))
    news = await program.heard()
    assert sorted(body[0] for _, member, body in news if member == "InterfacesRemoved") == [
        f"{ROOT_PATH}/Backends/{name}" for name in ("cpu", "igpu", "nvidia")
    ]
    ((path, interfaces),) = [body for _, member, body in news if member == "InterfacesAdded"]
    assert path == f"{ROOT_PATH}/Backends/remote"
    assert interfaces["ie.fio.OllamaProxy.Backend"]["Id"] == "remote"
    assert [body[1] for where, member, body in news if (where, member) == ("Backends", "PropertiesChanged")] == [
        {"BackendCount": 2, "HealthyCount": 1, "WithinModeCount": 1},
        {"HealthyCount": 2, "WithinModeCount": 2},
    ]
    assert [body for _, member, body in news if member == "BackendStatusChanged"] == [["remote", True]]
    with pytest.raises(Refused, match="UnknownObject"):
        await program.get_all("Backends/cpu")


async def test_after_a_reload_the_new_backends_are_followed(program: Program, desk: Desk) -> None:
    await desk.reload(FakeBackend("npu"), FakeBackend("fresh"))
    await program.heard()
    desk.services.fleet.note_down("fresh", because("nothing listens"))
    assert await program.heard_named() == [("BackendStatusChanged", "fresh", False)]


async def test_a_backend_can_be_switched_off_and_on(
    program: Program, desk: Desk, store: MemoryStore, fleet: dict[str, FakeBackend]
) -> None:
    await program.set("Backends/npu", "Enabled", Variant("b", False))
    assert desk.services.fleet.view("npu").health is Health.DISABLED
    assert await program.heard_named() == [("BackendStatusChanged", "npu", False)]
    values = await program.get_all("Backends/npu")
    assert (values["Health"], values["Enabled"], values["Reason"]) == ("disabled", False, "switched off by hand")
    assert store.state["enabled"] == {"npu": False}
    await program.set("Backends/npu", "Enabled", Variant("b", True))
    assert await program.get("Backends/npu", "Enabled") is True


async def test_the_devices_readings_are_the_backends(program: Program, desk: Desk) -> None:
    desk.sense_device(NPU, temperature_c=51.5, power_w=2.5)
    await program.settle()
    values = await program.get_all("Backends/npu")
    assert (values["TemperatureCelsius"], values["PowerWatts"], values["Asleep"]) == (51.5, 2.5, False)
    assert values["Unknown"].keys() == {"LoadedModels", "TokensPerSecond"}


async def test_a_device_that_falls_asleep_is_told_at_once_and_its_numbers_are_unknown(
    program: Program, desk: Desk
) -> None:
    desk.sense_device(NPU, temperature_c=51.5)
    await program.heard()
    asleep = unavailable("asleep, and not woken to be asked")
    desk.sense_device(NPU, power_state=PowerState.ASLEEP, temperature_c=asleep)
    assert await program.heard_changes("Backends/npu") == [{"Asleep": True}]
    values = await program.get_all("Backends/npu")
    assert math.isnan(values["TemperatureCelsius"])
    assert values["Unknown"]["TemperatureCelsius"]["reason"] == str(asleep.reason)


async def test_measurements_are_told_at_most_five_times_a_second(program: Program, desk: Desk) -> None:
    desk.sense_device(NPU, temperature_c=50.0)
    desk.clock.advance(1)
    await program.heard()
    told = []
    for step in range(100):
        desk.sense_device(NPU, temperature_c=-50.0 + step)  # never too hot, which would be told at once
        await asyncio.sleep(0)
        desk.clock.advance(0.01)
        told += [change["TemperatureCelsius"] for change in await program.heard_changes("Backends/npu")]
    desk.clock.advance(1)
    told += [change["TemperatureCelsius"] for change in await program.heard_changes("Backends/npu")]
    assert 5 <= len(told) <= 7
    assert told[-1] == 49.0


async def test_checks_that_find_everything_as_it_was_tell_nothing_and_set_no_timer(
    program: Program, desk: Desk
) -> None:
    desk.clock.advance(1)
    await program.heard()
    sleeping = len(desk.clock.sleepers)
    for _ in range(3):
        desk.clock.advance(0.05)
        await desk.services.health.check_all()
        assert await program.heard_changes("Backends/npu") == []
    assert len(desk.clock.sleepers) == sleeping


async def test_requests_under_way_are_counted_and_the_speed_is_learned(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    go_on = asyncio.Event()
    begin, *rest = fleet["npu"].script
    fleet["npu"].script = (begin, go_on, *rest)
    running = asyncio.create_task(desk.request(target="npu"))
    await fleet["npu"].opened.wait()
    await program.settle()
    assert await program.get("Backends/npu", "InFlight") == 1
    go_on.set()
    await running
    await program.settle()
    assert await program.get("Backends/npu", "InFlight") == 0


async def test_that_some_backend_works_is_told_without_what_it_measures(
    program: Program, desk: Desk, fleet: dict[str, FakeBackend]
) -> None:
    assert await program.get("Backends", "InFlight") == 0
    go_on = asyncio.Event()
    for name in ("npu", "cpu"):
        begin, *rest = fleet[name].script
        fleet[name].script = (begin, go_on, *rest)
    running = [asyncio.create_task(desk.request(target=name)) for name in ("npu", "cpu")]
    for name in ("npu", "cpu"):
        await fleet[name].opened.wait()
    desk.clock.advance(1)
    await program.settle()
    assert await program.get("Backends", "InFlight") == 2
    desk.sense(cpu_percent=10.0)
    desk.clock.advance(1)
    assert (await program.heard_changes("Backends"))[-1] == {"InFlight": 2}
    go_on.set()
    await asyncio.gather(*running)
    desk.clock.advance(1)
    assert (await program.heard_changes("Backends"))[-1] == {"InFlight": 0}


async def test_nan_after_nan_is_no_news(program: Program, desk: Desk) -> None:
    desk.sense(cpu_percent=10.0)
    desk.clock.advance(1)
    assert await program.heard_changes("Backends/cpu") == []


async def test_a_device_hotter_than_the_mode_allows_is_told_at_once_and_the_mode_counts(
    program: Program, desk: Desk
) -> None:
    desk.sense_device(NPU, temperature_c=80.0)
    desk.clock.advance(1)
    await program.heard()
    desk.sense_device(NPU, temperature_c=85.5)
    assert [each["TooHot"] for each in await program.heard_changes("Backends/npu")] == [True]
    desk.sense_device(NPU, temperature_c=80.0)
    assert [each["TooHot"] for each in await program.heard_changes("Backends/npu")] == [False]
    desk.services.governor.select(Mode.EFFICIENCY)
    assert [each["TooHot"] for each in await program.heard_changes("Backends/npu")] == [True]
    values = await program.get_all("Backends/npu")
    assert "TooHot" not in values["Unknown"]


@pytest.mark.parametrize("danger", [{"critical_c": 50.0}, {"throttling": "thermal"}])
async def test_a_device_in_danger_is_too_hot_in_every_mode(
    program: Program, desk: Desk, danger: dict[str, Any]
) -> None:
    desk.services.governor.select(Mode.PERFORMANCE)
    desk.sense_device(NPU, temperature_c=51.0, **danger)
    await program.settle()
    assert (await program.get_all("Backends/npu"))["TooHot"] is True


async def test_a_loud_fan_is_no_heat(program: Program, desk: Desk) -> None:
    desk.services.governor.select(Mode.QUIET)
    desk.sense_device(NPU, temperature_c=51.0, fan_percent=99.0)
    await program.settle()
    assert (await program.get_all("Backends/npu"))["TooHot"] is False


async def test_that_nobody_knows_how_hot_a_device_is_is_said(program: Program, desk: Desk) -> None:
    asleep = unavailable("asleep, and not woken to be asked")
    desk.sense_device(NPU, temperature_c=asleep)
    await program.settle()
    values = await program.get_all("Backends/npu")
    assert (values["TooHot"], values["Unknown"]["TooHot"]["reason"]) == (False, str(asleep.reason))


async def test_a_backend_that_the_mode_uses_last_says_why_and_the_mode_counts(program: Program, desk: Desk) -> None:
    assert (await program.get_all("Backends/nvidia"))["OutsideMode"] == {}
    desk.services.governor.select(Mode.EFFICIENCY)
    (told,) = await program.heard_changes("Backends/nvidia")
    assert told["OutsideMode"]["reason"] == "not in this mode: 55 W > 15 W"
    assert told["OutsideMode"]["reason_code"] == "outside_mode"


async def test_a_change_of_mode_tells_how_many_backends_are_within_it(program: Program, desk: Desk) -> None:
    assert await program.get("Backends", "WithinModeCount") == 4
    desk.services.governor.select(Mode.EFFICIENCY)
    assert await program.get("Backends", "WithinModeCount") == 2
    changes = [
        body[1] for where, member, body in await program.heard() if (where, member) == ("Backends", "PropertiesChanged")
    ]
    assert {"WithinModeCount": 2} in changes


async def test_feature_flags_are_told_and_switched(program: Program, desk: Desk) -> None:
    told = {each["id"]: each for each in await program.call("Backends", "ListFeatures")}
    assert (len(told), told["prefix_cache"]["enabled"]) == (10, False)
    await program.call("Backends", "SetFeature", "sbb", "prefix_cache", True, True)
    told = {each["id"]: each for each in await program.call("Backends", "ListFeatures")}
    flag = told["prefix_cache"]
    assert (flag["enabled"], flag["kept"], flag["backends"][0]["way"]) == (True, True, "proxy")
    assert flag["backends"][0]["reason_code"] == "feature_affinity"
    assert desk.services.store.get("features") == ["prefix_cache"]
    with pytest.raises(Refused, match="flash_attn") as refused:
        await program.call("Backends", "SetFeature", "sbb", "warp", True, False)
    assert refused.value.name == "ie.fio.OllamaProxy.Error.InvalidArgument"
