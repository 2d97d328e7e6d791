"""`ollama-proxyctl watch`: changes as they come, a line for each."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ollama_proxyd.cli import render
from ollama_proxyd.cli.printable import printable
from ollama_proxyd.cli.render_engines import phase, times
from ollama_proxyd.cli.session import asked, json_option, json_text

if TYPE_CHECKING:
    from ollama_proxyd.cli.client import Client


MODE_KEYS = ("mode", "effective_mode", "reason_code", "holds")
STEPS = {"battery_percent": 5.0, "hottest_celsius": 5.0, "fan_percent": 10.0}
"""How far a needle must move to be news."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One change: its kind (mode, backend, engine, machine, request), its name if it has one, and the text.

    `facts` is for programs, such as a bar.
    """

    what: str
    name: str
    says: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@click.command()
@json_option
def watch() -> None:
    """Print each change as it comes, until Ctrl-C.

    Changes are those of the mode, the backends, the engines that the proxy runs and the machine, and where each
    request went.
    """
    with asked().reach() as daemon:
        try:
            _follow(daemon)
        except KeyboardInterrupt:
            return


def _follow(daemon: "Client") -> None:
    before: Any = None
    for kind, data in daemon.events():
        if kind == "request":
            _print(Difference("request", data["backend"] or "", data["reason"]))
        elif kind == "message":
            now = settled(before, data)
            for line in differences(before, now):
                _print(line)
            before = now


def _print(line: Difference) -> None:
    if asked().as_json:
        plain = {"unix_seconds": time.time(), "what": line.what, "name": line.name, "says": line.says}
        click.echo(json_text({**plain, **line.facts}))
    else:
        name = f"{line.name}: " if line.name else ""
        click.echo(printable(f"{time.strftime('%H:%M:%S')}  {line.what:<8} {name}{line.says}"))


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
    return [*_mode(before, now), *_backends(before, now), *_engines(before, now), *_machine(before, now)]


def _mode(before: Any, now: Any) -> Iterator[Difference]:
    """The mode, when more than the values in its reason have changed."""
    if before is None or any(before[key] != now[key] for key in MODE_KEYS):
        facts = {key: now[key] for key in ("mode", "effective_mode", "reason", "reason_code")}
        yield Difference("mode", "", render.mode(now).replace("\n", "; "), facts)


def _backends(before: Any, now: Any) -> Iterator[Difference]:
    old = {} if before is None else {each["id"]: _told(each) for each in before["backends"]}
    for each in now["backends"]:
        if old.pop(each["id"], None) != _told(each):
            facts = {key: each[key] for key in ("health", "reason", "reason_code")}
            yield Difference("backend", each["id"], _told(each), facts)
    for gone in old:
        yield Difference("backend", gone, "was removed")


def _engines(before: Any, now: Any) -> Iterator[Difference]:
    """Where each engine of ours stands, and why some ended."""
    old, new = {} if before is None else _standing(before), _standing(now)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Difference("engine", name, new.get(name, "has ended"))


def _standing(status: Any) -> dict[str, str]:
    ended = {f"{each['backend']} {each['model']}": f"{each['reason']}{times(each)}" for each in status["engines_ended"]}
    return {**ended, **{f"{each['backend']} {each['model']}": phase(each) for each in status["engines"]}}


def _told(each: Any) -> str:
    models = f"{len(each['models'])} model{'' if len(each['models']) == 1 else 's'}"
    return f"{render.state(each)}, {models}" if each["health"] == "up" else render.state(each)


def _machine(before: Any, now: Any) -> Iterator[Difference]:
    old = {} if before is None else render.machine_lines(before["system"])
    new = render.machine_lines(now["system"])
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Difference("machine", name, new.get(name, "none"))
