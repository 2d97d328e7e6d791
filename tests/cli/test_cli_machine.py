"""`machine` shows what the machine is made of."""

import json
from typing import Any

from ollama_proxyd.cli import render_machine
from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.topology import Cache, Topology
from ollama_proxyd.edges.http_api.machine import cpu_json
from ollama_proxyd.edges.http_api.status_json import thermal_json
from tests.cli.conftest import Ctl, ServedDaemon


def test_the_machine_is_shown_for_people_and_programs(daemon: ServedDaemon, ctl: Ctl) -> None:
    told = json.loads(ctl("machine", "--json").stdout)
    assert told["cpu"]["model"] == "CPU"
    assert "processor" in ctl("machine").output


def test_cores_caches_and_devices_have_a_line_each() -> None:
    caches = (Cache(1, "data", 48 * 1024, 6), Cache(3, "unified", 24 * 2**20, 1))
    cpu = Topology("Ultra 7", 22, 16, 6, 10, 1, 1, ("AVX2", "FMA"), caches, 32 * 2**30, 1.5, 2**30)
    gpu = DeviceState(
        "0000:01:00.0", Hardware.NVIDIA, "RTX 4070", PowerState.ASLEEP, memory_total_bytes=Reading(8 * 2**30, 1)
    )
    system: dict[str, Any] = thermal_json(SystemState(devices=(gpu,)), ())
    text = render_machine.machine({"cpu": cpu_json(cpu), "devices": system["devices"], "system": system})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:7] == [
        "processor Ultra 7",
        "cores 16 (6 P and 10 E), 22 logical",
        "SIMD AVX2 FMA",
        "caches L1 data 6 of 48 KiB, L3 24 MiB",
        "NUMA 1 node",
        "memory 32 GiB",
        "may use 1.5 cores, 1 GiB",
    ]
    assert lines[-1] == "0000:01:00.0 RTX 4070 8 GiB asleep"
