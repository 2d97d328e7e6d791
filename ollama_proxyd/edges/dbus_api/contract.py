"""The interfaces as their XML files describe them: the files are the only place where signatures are written."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dbus_fast.introspection import Interface, Method, Node, Property, Signal

from ollama_proxyd.core.values import value

ROOT_NAME = "ie.fio.OllamaProxy"
ROOT_PATH = "/ie/fio/OllamaProxy"

_FILES = Path(__file__).with_name("interfaces")
_MEASUREMENT = f"{ROOT_NAME}.Measurement"


@value
class Contract:
    """One interface; `measured` are the properties whose changes are told a few times a second at most."""

    name: str
    methods: Mapping[str, Method]
    signals: Mapping[str, Signal]
    properties: Mapping[str, Property]
    measured: frozenset[str]
    description: Interface


@cache
def contract(short_name: str) -> Contract:
    """The interface ie.fio.OllamaProxy.`short_name`; of the daemon itself where that is empty."""
    file = _FILES / f"{ROOT_NAME}.{short_name}.xml".replace("..", ".")
    (interface,) = Node.parse(file.read_text(encoding="utf-8")).interfaces
    properties = {each.name: each for each in interface.properties}
    return Contract(
        name=interface.name,
        methods={each.name: each for each in interface.methods},
        signals={each.name: each for each in interface.signals},
        properties=properties,
        measured=frozenset(name for name, each in properties.items() if each.annotations.get(_MEASUREMENT) == "true"),
        description=interface,
    )
