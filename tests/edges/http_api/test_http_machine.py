"""GET /machine tells what the processor is made of and what was read of each device, and reads nothing itself."""

from ollama_proxyd.core.fleet import Hardware
from ollama_proxyd.core.readings import DeviceState, PowerState, Reading, SystemState
from ollama_proxyd.core.topology import Cache, Topology
from tests.edges.http_api.conftest import Serve

LAPTOP = Topology(
    "Ultra 7", 22, 16, 6, 10, 1, 1, ("AVX2",), (Cache(3, "unified", 24 * 2**20, 1),), memory_bytes=32 * 2**30
)


async def test_the_processor_the_memory_and_the_devices_are_told(serve: Serve) -> None:
    site = await serve(topology=LAPTOP)
    gpu = DeviceState("0000:01:00.0", Hardware.NVIDIA, "RTX 4070", PowerState.ASLEEP, memory_total_bytes=Reading(8, 1))
    site.services.system.set(SystemState(on_battery=Reading(value=True, at_s=1), devices=(gpu,)))
    told = (await site.get("/machine")).json
    assert (told["cpu"]["performance_cores"], told["cpu"]["efficiency_cores"]) == (6, 10)
    assert told["cpu"]["caches"] == [{"level": 3, "kind": "unified", "size_bytes": 24 * 2**20, "instances": 1}]
    assert told["cpu"]["usable_memory_bytes"] == 32 * 2**30
    assert [(each["id"], each["power_state"], each["memory_total_bytes"]) for each in told["devices"]] == [
        ("0000:01:00.0", "asleep", 8)
    ]
    assert told["system"]["on_battery"] is True


async def test_what_is_not_known_is_null(serve: Serve) -> None:
    told = (await (await serve()).get("/machine")).json
    assert told["cpu"]["performance_cores"] is None
    assert told["cpu"]["memory_bytes"] is None
    assert told["devices"] == []
