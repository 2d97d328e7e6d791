"""What the machine is made of, as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from ollama_proxyd.cli.amounts import count, number
from ollama_proxyd.cli.render import SLEEP, machine_lines, quantity
from ollama_proxyd.cli.tables import table

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def machine(now: Any) -> str:
    """The processor, the memory, each device, and the state of the machine."""
    lines = {**_cpu(now["cpu"]), **machine_lines(now["system"])}
    told = table(("", ""), [line for line in lines.items() if line[1]])
    devices = [_device(each) for each in now["devices"]]
    heads = ("device", "name", "memory", "heat", "fan", "draws", "state", "backends")
    return f"{told}\n\n{table(heads, devices)}" if devices else told


def size(size_bytes: float | None) -> str:
    """A size in memory; "" where it is unknown."""
    if size_bytes is None:
        return ""
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{number(size_bytes / unit)} {name}"
    return f"{size_bytes:.0f} B"


def _cpu(cpu: Any) -> Mapping[str, str]:
    return {
        "processor": cpu["model"],
        "cores": ", ".join(_cores(cpu)),
        "SIMD": " ".join(cpu["simd"]),
        "caches": ", ".join(_cache(each) for each in cpu["caches"]),
        "NUMA": count(cpu["numa_nodes"], "node") if cpu["numa_nodes"] else "",
        "memory": size(cpu["memory_bytes"]),
        "may use": ", ".join(_allowed(cpu)),
    }


def _cores(cpu: Any) -> Iterator[str]:
    if cpu["physical_cores"]:
        kinds = f" ({cpu['performance_cores']} P and {cpu['efficiency_cores']} E)" if cpu["efficiency_cores"] else ""
        yield f"{cpu['physical_cores']}{kinds}"
    if cpu["logical_cores"]:
        yield f"{cpu['logical_cores']} logical"


def _cache(cache: Any) -> str:
    kind = "" if cache["kind"] == "unified" else f" {cache['kind']}"
    many = f"{cache['instances']} of " if cache["instances"] > 1 else ""
    return f"L{cache['level']}{kind} {many}{size(cache['size_bytes'])}"


def _allowed(cpu: Any) -> Iterator[str]:
    """The limits of a container."""
    if cpu["allowed_cores"] is not None:
        yield f"{cpu['allowed_cores']:g} cores"
    if cpu["allowed_memory_bytes"] is not None:
        yield size(cpu["allowed_memory_bytes"])


def _device(device: Any) -> tuple[str, ...]:
    used, total = device["memory_used_bytes"], device["memory_total_bytes"]
    return (
        device["id"],
        device["name"],
        f"{size(used)} of {size(total)}" if used is not None and total else size(total),
        quantity(device["temperature_celsius"], "°C"),
        quantity(device["fan_percent"], "%") or quantity(device["fan_rpm"], "rpm"),
        quantity(device["power_watts"], "W"),
        SLEEP.get({"asleep": True, "awake": False}.get(device["power_state"]), ""),
        ", ".join(device["backends"]),
    )
