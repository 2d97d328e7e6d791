"""Turns the file's shape into the values that the parts of the daemon are made with."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from msgspec import UNSET, structs

from ollama_proxyd.config import schema, schema_backends, schema_efficiency
from ollama_proxyd.config.rules import is_loopback
from ollama_proxyd.config.settings import (
    BusSettings,
    Config,
    DetectionSettings,
    LogSettings,
    SensorSettings,
    SleepSettings,
)
from ollama_proxyd.core.fleet import BackendSpec, ModelRules, Profile
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode, ModeRow, ModeTable
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.inventory import BackendConfig
from ollama_proxyd.services.settings import GatewaySettings, HealthSettings, ModeSettings, QuietHours, SensingSettings

BYTES_PER_GB = 10**9

DEFAULT_FLAVORS = {Api.OLLAMA: "ollama", Api.OPENAI: "generic"}

ROW_KEYS = {
    "price_of_time_watts": "price_of_time_w",
    "max_power_watts": "max_power_w",
    "max_temp_c": "max_temp_c",
    "max_fan_percent": "max_fan_percent",
    "max_concurrency": "max_concurrency",
}
"""What the file calls each number of a mode, and what the core calls it."""


def build(file: schema.FileConfig, token: str | None, api_keys: dict[str, str]) -> Config:
    """The configuration for a file's content and the secrets that it names; `api_keys` by backend id."""
    monitoring = file.monitoring
    return Config(
        server=_server(file, token),
        backends=tuple(_backend(backend, api_keys.get(backend.id)) for backend in file.backends),
        gateway=GatewaySettings(max_in_flight=file.server.max_in_flight, retries=file.routing.retries),
        default_mode=file.efficiency.default_mode,
        modes=ModeSettings(
            table=mode_table(file.efficiency.modes),
            auto=AutoSettings(**structs.asdict(file.efficiency.auto)),
            max_holds=file.efficiency.max_holds,
        ),
        quiet_hours=_quiet_hours(file.efficiency.quiet_hours),
        health=HealthSettings(
            interval_s=monitoring.health_interval_s,
            timeout_s=min(monitoring.health_timeout_s, monitoring.health_interval_s),
            recheck_s=monitoring.health_recheck_s,
            idle_interval_s=monitoring.health_idle_interval_s,
        ),
        detection=_detection(file),
        sensors=_sensors(file.sensors),
        bus=BusSettings(file.dbus.enabled),
        sleep=SleepSettings(file.sleep.enabled, file.sleep.block_while_generating),
        timeouts=Timeouts(**structs.asdict(file.upstream)),
        log=LogSettings(monitoring.log_level.value),
        written=file,
    )


def mode_table(modes: schema_efficiency.Modes) -> ModeTable:
    """The default table with the numbers that the file gives put over it."""
    rows = dict(DEFAULT_TABLE)
    for field in structs.fields(modes):
        mode = Mode(field.encode_name)
        rows[mode] = _row(rows[mode], getattr(modes, field.name))
    return MappingProxyType(rows)


def _row(row: ModeRow, limits: schema_efficiency.Limits) -> ModeRow:
    given = {ours: getattr(limits, theirs, UNSET) for theirs, ours in ROW_KEYS.items()}
    return replace(row, **{name: value for name, value in given.items() if value is not UNSET})


def _server(file: schema.FileConfig, token: str | None) -> ServerSettings:
    server = file.server
    return ServerSettings(
        host=server.host,
        port=server.http_port,
        allowed_hosts=tuple(host.lower() for host in server.allowed_hosts),
        allowed_origins=server.allowed_origins,
        token=token,
        max_body_bytes=server.max_body_bytes,
        keep_alive_s=server.keep_alive_s,
        drain_s=server.drain_s,
        serve_metrics=file.monitoring.enabled,
        unix_socket=server.unix_socket,
        idle_exit_s=server.idle_exit_s,
    )


def _backend(backend: schema_backends.Backend, api_key: str | None) -> BackendConfig:
    capability = backend.model_capability
    size_gb = capability.max_model_size_gb
    spec = BackendSpec(
        id=backend.id,
        name=backend.name or backend.id,
        api=backend.type,
        endpoint=backend.endpoint.rstrip("/"),
        hardware=backend.hardware,
        flavor=backend.flavor or DEFAULT_FLAVORS[backend.type],
        profile=_profile(backend.characteristics),
        rules=ModelRules(
            supported=capability.supported_model_patterns,
            excluded=capability.excluded_patterns,
            preferred=capability.preferred_models,
            max_size_bytes=None if size_gb is None else int(size_gb * BYTES_PER_GB),
        ),
        priority=backend.characteristics.priority,
        slots=backend.slots,
        pci_address=None if backend.pci_address is None else _pci_address(backend.pci_address),
        is_local=is_loopback(urlsplit(backend.endpoint).hostname or ""),
    )
    return BackendConfig(spec, backend.enabled, api_key)


def _pci_address(written: str) -> str:
    """The address with its domain, as the kernel writes it."""
    address = written.lower()
    return address if address.count(":") == 2 else f"0000:{address}"


def _profile(known: schema_backends.Characteristics) -> Profile:
    latency_ms = known.avg_latency_ms
    return Profile(
        power_w=known.power_watts,
        ttft_s=None if latency_ms is None else latency_ms / 1000,
        decode_tps=known.max_tokens_per_second,
        prefill_tps=known.prefill_tokens_per_second,
        wake_s=known.wake_s,
        wake_j=known.wake_joules,
        load_s=known.load_s,
        load_j=known.load_joules,
        idle_w=known.idle_watts,
        keep_alive_s=known.keep_alive_s,
    )


def _quiet_hours(quiet: schema_efficiency.QuietTimes) -> QuietHours | None:
    return QuietHours(_minute(quiet.start), _minute(quiet.end)) if quiet.enabled else None


def _minute(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


def _sensors(sensors: schema.Sensors) -> SensorSettings:
    return SensorSettings(
        enabled=sensors.enabled,
        sysfs_root=Path(sensors.sysfs_root),
        pace=SensingSettings(
            idle_s=sensors.idle_interval_s, busy_s=sensors.busy_interval_s, busy_after_s=sensors.busy_for_s
        ),
    )


def _detection(file: schema.FileConfig) -> DetectionSettings:
    detection, server = file.detection, file.server
    ours = server.http_port if is_loopback(server.host) else None
    return DetectionSettings(
        enabled=detection.enabled,
        ports=tuple(port for port in detection.ports if port != ours),
        interval_s=detection.interval_s,
    )
