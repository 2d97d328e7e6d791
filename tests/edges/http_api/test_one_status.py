"""One status: a key has the same value in each HTTP route, on D-Bus and in the metrics."""

import math
import re
from collections.abc import Mapping
from typing import Any

from dbus_fast.unpack import unpack_variants
from prometheus_client.parser import text_string_to_metric_families

from ollama_proxyd.core.backend_status import backend_status
from ollama_proxyd.core.digits import shortened
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.edges.dbus_api.contract import contract
from ollama_proxyd.edges.dbus_api.efficiency import listed
from ollama_proxyd.edges.dbus_api.heat import device_rows
from ollama_proxyd.edges.dbus_api.routing import Routing
from ollama_proxyd.edges.dbus_api.values import facts, properties
from ollama_proxyd.services.status import moment
from tests.edges.http_api.conftest import Serve, Site
from tests.fakes import FakeClock, reference_fleet

NPU = DeviceState(
    "0000:00:0b.0",
    Hardware.NPU,
    "NPU",
    PowerState.AWAKE,
    temperature_c=Reading(41.5, 1.0),
    power_w=Reading(2.5, 1.0),
    fan_percent=Reading(30.0, 1.0),
)


async def busy(serve: Serve) -> Site:
    """A laptop on which one device is measured, one backend is down and one request was answered."""
    *others, down = reference_fleet()
    down.down = ProxyError(ErrorKind.UPSTREAM_FAILED, "connection refused")
    site = await serve(*others, down)
    site.services.system.set(SystemState(devices=(NPU,), battery_percent=Reading(43.0, 1.0)))
    await site.chat(stream=True)
    return site


def backends_in(body: Any) -> Mapping[str, Mapping[str, Any]]:
    listed = body if isinstance(body, list) else body.get("backends", [])
    return {each["id"]: each for each in listed}


def same(one: Any, other: Any) -> bool:
    return one == other or (isinstance(one, float) and math.isnan(one) and other is None)


async def test_no_number_has_more_digits_than_mean_something(serve: Serve) -> None:
    site = await busy(serve)
    routes = ("/status", "/backends", "/efficiency", "/energy?days=2", "/thermal")
    told = [(await site.get(route)).json for route in routes]
    told.append((await site.post("/routing/explain", {"model": "tiny", "mode": "Balanced"})).json)
    assert shortened(told) == told


async def test_a_key_of_a_backend_has_one_value_in_all_routes(serve: Serve) -> None:
    site = await busy(serve)
    told: dict[tuple[str, str], Any] = {}
    for route in ("/status", "/backends", "/health"):
        for backend_id, backend in backends_in((await site.get(route)).json).items():
            for key, value in backend.items():
                assert told.setdefault((backend_id, key), value) == value, f"{backend_id} {key} in {route}"


async def test_a_key_of_the_machine_or_the_mode_has_one_value_in_all_routes(serve: Serve) -> None:
    site = await busy(serve)
    status = (await site.get("/status")).json
    thermal, efficiency = (await site.get("/thermal")).json, (await site.get("/efficiency")).json
    assert status["system"].items() <= thermal.items()
    assert status["devices"] == thermal["devices"]
    assert efficiency.items() <= status.items()


async def test_a_property_on_the_bus_has_the_value_of_its_key_over_http(serve: Serve) -> None:
    site = await busy(serve)
    services = site.services
    over_http = backends_in((await site.get("/status")).json)
    for view in services.fleet.views.value:
        row = services.governor.setting.value.row
        on_the_bus = unpack_variants(
            properties(contract("Backend"), backend_status(view, services.system.value, row, moment(services.clock)))
        )
        backend = over_http[view.spec.id]
        for name in on_the_bus.keys() - {"Unknown"}:
            value = backend[re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()]
            assert same(on_the_bus[name], value) or (value is None and not on_the_bus[name]), name
        unknown = {name.lower(): why for name, why in on_the_bus["Unknown"].items()}
        shown = {key.replace("_", ""): why for key, why in backend["unknown"].items()}
        assert unknown.items() <= shown.items()


async def test_the_day_and_the_last_decision_are_the_same_on_the_bus(serve: Serve) -> None:
    site = await busy(serve)
    status = (await site.get("/status")).json
    routing = unpack_variants(dict(Routing(site.services, None, FakeClock(), ("", "")).exported.values()))  # type: ignore[arg-type]
    for ours, theirs in ((status["today"], routing["Today"]), (status["last_decision"], routing["LastDecision"])):
        assert theirs
        for key in theirs.keys() & ours.keys():
            assert theirs[key] == (round(ours[key]) if key == "latency_ms" else ours[key]), key


async def test_a_gauge_of_a_backend_has_the_value_of_its_key(serve: Serve) -> None:
    site = await busy(serve)
    over_http = backends_in((await site.get("/status")).json)
    seen = set()
    for family in text_string_to_metric_families((await site.get("/metrics")).body.decode()):
        key = family.name.removeprefix("ollama_proxy_backend_")
        for sample in family.samples if key != family.name else ():
            value = over_http[sample.labels["backend_id"]].get(key)
            if key not in {"health", "fan_speed_percent"}:
                assert sample.value == value, family.name
                seen.add(key)
    assert {"rated_power_watts", "power_watts", "temperature_celsius", "in_flight"} <= seen


SHORT = {"w", "j", "c", "s", "tps", "temp"}
"""Units and words that keys spell out."""


def keys_in(body: Any) -> set[str]:
    """The keys at every depth; models have names of their own."""
    if isinstance(body, list):
        return set().union(*map(keys_in, body))
    if not isinstance(body, Mapping):
        return set()
    return set(body).union(*(keys_in(part) for key, part in body.items() if key != "learned"))


async def test_every_key_over_http_has_its_unit_spelled_out(serve: Serve) -> None:
    site = await busy(serve)
    bodies = [
        (await site.get(route)).json for route in ("/status", "/backends", "/efficiency", "/thermal", "/settings")
    ]
    system = {"hottest_celsius": 50, "devices": {"npu": {"temperature_celsius": 50}}}
    bodies.append((await site.post("/routing/explain", {"system": system})).json)
    keys = keys_in(bodies)
    assert {"price_of_time_watts", "max_temperature_celsius", "slope_celsius_per_second", "decode_seconds"} <= keys
    assert [key for key in keys if SHORT & set(key.split("_"))] == []


async def test_a_device_and_a_mode_have_the_same_keys_and_values_on_the_bus(serve: Serve) -> None:
    site = await busy(serve)
    status = (await site.get("/status")).json
    for device, over_http in zip(site.services.system.value.devices, status["devices"], strict=True):
        on_the_bus = unpack_variants(facts(device_rows(device)))
        shared = on_the_bus.keys() & over_http.keys()
        assert on_the_bus.keys() - shared == {"asleep"}
        assert all(on_the_bus[key] == over_http[key] for key in shared - {"unknown"})
        assert on_the_bus["unknown"].keys() == over_http["unknown"].keys()
    rows = {row["mode"]: row for row in status["modes"]}
    for mode, row in site.services.governor.table.items():
        on_the_bus = unpack_variants(listed(mode, row))
        assert {key: rows[mode.value][key] for key in on_the_bus.keys() - {"icon"}} == {
            key: value for key, value in on_the_bus.items() if key != "icon"
        }
