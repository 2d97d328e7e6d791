"""The shape of the file: its sections, and in them the options that the parts of the daemon declare."""

from collections.abc import Iterator, Mapping
from dataclasses import field, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Final, get_args, get_type_hints

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.options import REQUIRED, Setting, settings_of
from ollama_proxyd.core.values import value

SECTIONS: Final[Mapping[str, str]] = {
    "server": "The HTTP server that clients talk to.",
    "server.auth": "Access control.",
    "backends[]": "The engines; without any, this machine is searched for them.",
    "backends[].characteristics": "Its performance before anything is measured.",
    "backends[].model_capability": "The models that it serves.",
    "frontends[]": "Further endpoints with their own names, models, backends and rules.",
    "engines[]": "The engines that the proxy runs itself: a process for each model, started on demand.",
    "engines[].characteristics": "Its performance before anything is measured.",
    "engines[].model_capability": "The models that it serves.",
    "memory_budget": "The memory that engines have which the proxy runs.",
    "saved_prompts": "Prompts of stopped engines on the disk, so that they are not read anew; they hold what was said.",
    "model_sync": "Pulling the models that front ends require.",
    "routing": "The choice of a backend.",
    "routing.queue": "Requests that wait for a backend.",
    "answer_cache": "Answers that are given again to the same request, from memory.",
    "costs": "The prices of services, weighed against energy.",
    "energy": "The energy budget of a day.",
    "efficiency": "The efficiency modes.",
    "efficiency.modes": "The limits of each mode.",
    **{f"efficiency.modes.{mode.value}": f"{row.description}." for mode, row in DEFAULT_TABLE.items()},
    "efficiency.modes.Auto": "Follows the machine; these limits add to those of the mode it takes.",
    "efficiency.auto": "The thresholds of the Auto mode.",
    "efficiency.quiet_hours": "The hours in which the Auto mode takes Quiet.",
    "monitoring": "Metrics, logs and health checks.",
    "telemetry": "What attempts came to, for a collector of OpenTelemetry.",
    "detection": "The search for engines when no backend is configured.",
    "sensors": "Battery, heat, fans and power of this machine.",
    "dbus": "The API on the session bus.",
    "sleep": "Suspend and resume.",
    "privacy": "What the books know of the programs of this machine.",
    "history": "What requests came to: times, tokens and joules, in a file beside the state.",
    "house": "Other machines of the house, by mDNS: what they share is used here, and the other way round.",
    "picker": "The endpoint picker of a gateway: `ollama-proxyd picker`.",
    "upstream": "Timeouts for backends.",
}
"""Every section with its sentence, in the order of the file; `[]` marks a list of sections."""


OF_ENGINES: Final = tuple(
    f"backends[].{each}"
    for each in (
        "id",
        "name",
        "enabled",
        "hardware",
        "pci_address",
        "slots",
        "labels",
        "characteristics.",
        "model_capability.",
    )
)
"""What an engine that the proxy runs takes as other backends do."""


@value
class Section:
    """A part of the file: first its options, then its sections."""

    sentence: str
    is_list: bool = False
    entries: dict[str, "Section | Setting"] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """What it holds where the file says nothing."""
        return {key: default_of(each) for key, each in self.entries.items()}


def default_of(entry: Section | Setting) -> Any:
    """The value of a key that the file leaves out."""
    if isinstance(entry, Setting):
        return entry.default
    return [] if entry.is_list else entry.defaults()


def is_required(entry: Section | Setting) -> bool:
    """Whether the file must give the key."""
    return isinstance(entry, Setting) and entry.default is REQUIRED


def _declared(part: Any) -> Iterator[Setting]:
    """The options of a part and of the parts in it."""
    if is_dataclass(part):
        assert isinstance(part, type)
        own = {each.name: each for each in settings_of(part)}
        for name, hint in get_type_hints(part).items():
            yield from [own[name]] if name in own else _declared(hint)
    for each in get_args(part):
        yield from _declared(each)


def _options() -> Iterator[tuple[str, Setting]]:
    """Each option by its key, those of a mode once for each mode; Auto has no price of its own."""
    for setting in _declared(Config):
        stem, of_each_mode, name = setting.option.key.partition("*.")
        if not of_each_mode:
            yield stem, setting
            if stem.startswith(OF_ENGINES):
                yield stem.replace("backends[]", "engines[]", 1), setting
            continue
        for mode, row in DEFAULT_TABLE.items():
            if mode is not Mode.AUTO or setting.default is not REQUIRED:
                yield f"{stem}{mode.value}.{name}", replace(setting, default=getattr(row, setting.name))


OPTIONS: Final[Mapping[str, Setting]] = MappingProxyType(dict(_options()))
KEYS: Final = (*(each.removesuffix("[]") for each in SECTIONS), *OPTIONS)
"""Every key of the file, list items written as `[]`."""
NEEDS_RESTART: Final = frozenset(key for key, setting in OPTIONS.items() if not setting.option.reload)


def _tree() -> Section:
    sections = {"": Section("The configuration of ollama-proxyd.")}
    sections |= {path: Section(sentence, path.endswith("[]")) for path, sentence in SECTIONS.items()}
    places: list[tuple[str, Section | Setting]] = [*OPTIONS.items(), *((path, sections[path]) for path in SECTIONS)]
    for path, entry in sorted(places, key=lambda place: place[0] in OPTIONS and "." not in place[0]):
        parent, _, name = path.rpartition(".")
        sections[parent].entries[name.removesuffix("[]")] = entry
    return sections[""]


FILE: Final = _tree()
