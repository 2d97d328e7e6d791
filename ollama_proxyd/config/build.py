"""Makes the settings of every part from the file's values."""

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from ollama_proxyd.config.rules import LOOPBACK, place_of
from ollama_proxyd.config.settings import ApiKeySource, Config, FrontendToken
from ollama_proxyd.core.engine_program import EngineProgram
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.frontend_settings import FrontendSettings
from ollama_proxyd.core.modes import DEFAULT_TABLE, ModeRow, ModeTable
from ollama_proxyd.core.options import settings_of
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.edges.plumbing.way import is_loopback
from ollama_proxyd.services.inventory import BackendConfig

T = TypeVar("T")

_BACKEND = {
    each.option.key.rpartition(".")[2]: each.default
    for part in (BackendConfig, BackendSpec)
    for each in settings_of(part)
}
DEFAULT_FLAVORS = {Api.OLLAMA: "ollama", Api.OPENAI: "generic"}


def build(values: Mapping[str, Any]) -> Config:
    """The configuration for every option's value, without secrets."""
    config = make(Config, values)
    ours = config.server.port if is_loopback(config.server.host) else None
    ports = tuple(port for port in config.detection.ports if port != ours)
    return replace(
        config,
        backends=tuple(_backend({**each, "costs": values["costs"]}) for each in values["backends"]),
        api_keys=tuple(make(ApiKeySource, each) for each in values["backends"]),
        frontends=tuple(make(FrontendSettings, each) for each in values["frontends"]),
        frontend_tokens=tuple(make(FrontendToken, each) for each in values["frontends"]),
        engines=tuple(_engine({**each, "costs": values["costs"]}) for each in values["engines"]),
        modes=replace(config.modes, table=_mode_table(values["efficiency"]["modes"])),
        tuning=config.tuning.with_auto(config.modes.auto),
        health=replace(config.health, timeout_s=min(config.health.timeout_s, config.health.interval_s)),
        detection=replace(config.detection, ports=ports),
        values=values,
    )


def make(part: type[T], values: Mapping[str, Any]) -> T:
    """A part's settings; `values` is where its options stand: the file, or one backend of it."""
    fields: dict[str, Any] = {}
    for each in settings_of(part):
        value = _value(values, each.option.key)
        if value is not None or each.default is not None:
            fields[each.name] = each.read(value)
    for name, hint in get_type_hints(part).items():
        if is_dataclass(hint):
            assert isinstance(hint, type)
            fields[name] = make(hint, values)
    return part(**fields)


def _value(values: Mapping[str, Any], key: str) -> Any:
    place = key.rpartition("[].")[2]
    return reduce(lambda section, name: section[name], place.split("."), values)


def _mode_table(modes: Mapping[str, Mapping[str, Any]]) -> ModeTable:
    """The default table with the file's numbers put over it."""
    keys = {each.name: each.option.key.rpartition(".")[2] for each in settings_of(ModeRow)}
    return MappingProxyType(
        {
            mode: replace(row, **{name: modes[mode.value].get(key, getattr(row, name)) for name, key in keys.items()})
            for mode, row in DEFAULT_TABLE.items()
        }
    )


def _engine(values: Mapping[str, Any]) -> BackendConfig:
    """The backend of a program; its address stands for the processes, each of which has one of its own."""
    program = make(EngineProgram, values)
    own = {"type": program.facts.api.value, "endpoint": f"engine://{values['id']}", "flavor": program.kind.value}
    backend = make(BackendConfig, {**_BACKEND, **values, **own, "name": values["name"] or values["id"]})
    return replace(backend, spec=replace(backend.spec, tariff=None, engine=program))


def _backend(values: Mapping[str, Any]) -> BackendConfig:
    flavor = values["flavor"] or DEFAULT_FLAVORS[Api(values["type"])]
    filled = {**values, "name": values["name"] or values["id"], "flavor": flavor}
    backend = make(BackendConfig, filled)
    place = place_of(backend.spec.endpoint)
    tariff, is_here = make(Tariff, filled), place is not None and place[0] == LOOPBACK
    is_free = tariff.input_price is None and tariff.output_price is None  # what is paid for runs elsewhere
    spec = replace(backend.spec, tariff=None if is_free else tariff, is_local=is_here and is_free)
    return replace(backend, spec=spec)
