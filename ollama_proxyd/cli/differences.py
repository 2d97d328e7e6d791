"""What is new between two pictures of the daemon, a line for each thing that a person would want to be told."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ollama_proxyd.cli import render
from ollama_proxyd.cli.pictures import BackendInfo, Status

STEPS = {"battery_percent": 5.0, "hottest_c": 5.0, "fan_percent": 10.0}
"""How far a needle must move to be news."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is new: what kind (mode, backend, machine, request), its name if it has one, and what it says."""

    what: str
    name: str
    says: str


def settled(told: Status | None, now: Status) -> Status:
    """The present, but for needles that have not moved far since they were told."""
    if told is None:
        return now
    kept = {}
    for name, step in STEPS.items():
        old, new = getattr(told.machine, name), getattr(now.machine, name)
        if old is not None and new is not None and abs(new - old) < step:
            kept[name] = old
    return replace(now, machine=replace(now.machine, **kept))


def differences(before: Status | None, now: Status) -> list[Line]:
    """What has changed; everything, where there is nothing before."""
    return [*_mode(before, now), *_backends(before, now), *_machine(before, now)]


def _mode(before: Status | None, now: Status) -> Iterator[Line]:
    """The mode, when more than the numbers in its reason have changed."""
    old = "" if before is None else render.mode(before.efficiency)
    new = render.mode(now.efficiency)
    if _without_numbers(old) != _without_numbers(new):
        yield Line("mode", "", new.replace("\n", "; "))


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "", text)


def _backends(before: Status | None, now: Status) -> Iterator[Line]:
    old = {} if before is None else {each.id: _told(each) for each in before.backends}
    for each in now.backends:
        if old.pop(each.id, None) != _told(each):
            yield Line("backend", each.id, _told(each))
    for gone in old:
        yield Line("backend", gone, "is configured no more")


def _told(each: BackendInfo) -> str:
    models = f"{len(each.models)} model{'' if len(each.models) == 1 else 's'}"
    return f"{render.state(each)}, {models}" if each.state == "up" else render.state(each)


def _machine(before: Status | None, now: Status) -> Iterator[Line]:
    old = {} if before is None else render.machine_lines(before.machine)
    new = render.machine_lines(now.machine)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Line("machine", name, new.get(name, "none"))
