"""What is new between two statuses of the daemon, a line for each change."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ollama_proxyd.cli import render

MODE_KEYS = ("mode", "effective_mode", "reason_code", "holds")
STEPS = {"battery_percent": 5.0, "hottest_c": 5.0, "fan_percent": 10.0}
"""How far a needle must move to be news."""


class Difference(NamedTuple):
    """One change: its kind (mode, backend, machine, request), its name if it has one, and the text."""

    what: str
    name: str
    says: str


def settled(told: Any, now: Any) -> Any:
    """The present, but with needles as they were told while they have not moved far."""
    if told is None:
        return now
    kept = {}
    for name, step in STEPS.items():
        old, new = told["system"][name], now["system"][name]
        if old is not None and new is not None and abs(new - old) < step:
            kept[name] = old
    return {**now, "system": {**now["system"], **kept}}


def differences(before: Any, now: Any) -> list[Difference]:
    """What has changed; everything, where there is nothing before."""
    return [*_mode(before, now), *_backends(before, now), *_machine(before, now)]


def _mode(before: Any, now: Any) -> Iterator[Difference]:
    """The mode, when more than the values in its reason have changed."""
    if before is None or any(before[key] != now[key] for key in MODE_KEYS):
        yield Difference("mode", "", render.mode(now).replace("\n", "; "))


def _backends(before: Any, now: Any) -> Iterator[Difference]:
    old = {} if before is None else {each["id"]: _told(each) for each in before["backends"]}
    for each in now["backends"]:
        if old.pop(each["id"], None) != _told(each):
            yield Difference("backend", each["id"], _told(each))
    for gone in old:
        yield Difference("backend", gone, "was removed")


def _told(each: Any) -> str:
    models = f"{len(each['models'])} model{'' if len(each['models']) == 1 else 's'}"
    return f"{render.state(each)}, {models}" if each["health"] == "up" else render.state(each)


def _machine(before: Any, now: Any) -> Iterator[Difference]:
    old = {} if before is None else render.machine_lines(before["system"])
    new = render.machine_lines(now["system"])
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Difference("machine", name, new.get(name, "none"))
