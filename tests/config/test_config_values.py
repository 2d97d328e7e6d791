"""Each setting arrives at the part that reads it."""

from collections.abc import Callable
from pathlib import Path

from ollama_proxyd.config.settings import BusSettings, Config, SensorSettings
from ollama_proxyd.core.fleet import BackendSpec, Hardware, ModelRules, Profile
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.requests import Api
from ollama_proxyd.core.tariff import CostSettings, Tariff
from ollama_proxyd.core.thresholds import AutoSettings
from ollama_proxyd.core.tuning import Tuning
from ollama_proxyd.edges.backends.engines import KNOWN_PORTS
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.settings import GatewaySettings, HealthSettings, ModeSettings, QuietHours, SensingSettings

Loader = Callable[..., Config]

WHOLE = """
backends:
  - id: npu
    type: openai
    name: The NPU
    hardware: npu
    pci_address: 00:0B.0
    endpoint: http://127.0.0.1:8000/v3/
    flavor: ovms
    slots: 2
    characteristics: {power_watts: 3, avg_latency_ms: 800, max_tokens_per_second: 10, prefill_tokens_per_second: 90,
      load_s: 4, load_joules: 40, idle_watts: 0.5, keep_alive_s: 60, priority: 7, wake_s: 2, wake_joules: 9}
    model_capability: {max_model_size_gb: 1.5, supported_model_patterns: ["*:1b"], preferred_models: [a],
      excluded_patterns: ["*:7b"]}
"""


def test_without_a_file_each_part_gets_its_own_defaults(loaded: Loader) -> None:
    config = loaded("")
    assert config.server == ServerSettings()
    assert config.gateway == GatewaySettings()
    assert config.health == HealthSettings()
    assert config.timeouts == Timeouts()
    assert config.modes == ModeSettings()
    assert config.modes.auto == AutoSettings()
    assert config.modes.table == DEFAULT_TABLE
    assert config.sensors == SensorSettings(enabled=True, sysfs_root=Path("/sys"), pace=SensingSettings())
    assert config.bus == BusSettings(enabled=True)
    assert config.default_mode is Mode.BALANCED
    assert config.tuning == Tuning()


def test_every_key_of_a_backend_arrives(loaded: Loader) -> None:
    (backend,) = loaded(WHOLE).backends
    assert backend.enabled
    assert backend.spec == BackendSpec(
        id="npu",
        name="The NPU",
        api=Api.OPENAI,
        endpoint="http://127.0.0.1:8000/v3",
        hardware=Hardware.NPU,
        flavor="ovms",
        profile=Profile(
            power_w=3,
            ttft_s=0.8,
            decode_tps=10,
            prefill_tps=90,
            wake_s=2,
            wake_j=9,
            load_s=4,
            load_j=40,
            idle_w=0.5,
            keep_alive_s=60,
        ),
        rules=ModelRules(supported=("*:1b",), excluded=("*:7b",), preferred=("a",), max_size_bytes=1_500_000_000),
        priority=7,
        slots=2,
        pci_address="0000:00:0b.0",
    )


def test_a_backend_at_another_address_than_loopback_is_not_taken_for_a_device_of_this_machine(loaded: Loader) -> None:
    text = "backends: [{id: a, endpoint: 'http://127.0.0.2:1'}, {id: b, endpoint: 'https://gpu.example.org'}]"
    assert [each.spec.is_local for each in loaded(text).backends] == [True, False]


def test_prices_of_a_backend_are_weighed_by_the_price_of_electricity(loaded: Loader) -> None:
    priced = "{id: a, endpoint: 'https://a', price_per_million_input_tokens: 0.15, price_per_million_output_tokens: 6}"
    costs = "costs: {currency: EUR, electricity_per_kwh: 0.25}"
    config = loaded(f"{costs}\nbackends: [{priced}, {{id: b, endpoint: 'https://b'}}]")
    assert [each.spec.tariff for each in config.backends] == [Tariff(0.15, 6.0, CostSettings("EUR", 0.25)), None]


def test_a_backend_needs_only_id_and_endpoint(loaded: Loader) -> None:
    (backend,) = loaded("backends: [{id: a, endpoint: 'http://127.0.0.1:11434'}]").backends
    assert backend.spec == BackendSpec("a", "a", Api.OLLAMA, "http://127.0.0.1:11434", flavor="ollama")


def test_a_backend_that_is_switched_off_stays_in_the_list(loaded: Loader) -> None:
    (backend,) = loaded("backends: [{id: a, enabled: false, endpoint: 'http://a:1', api_key_env: UNSET}]").backends
    assert not backend.enabled


def test_a_mode_keeps_the_numbers_that_the_file_leaves_out(loaded: Loader) -> None:
    modes = loaded("efficiency: {modes: {Quiet: {max_power_watts: 9, max_temp_c: null}}}").modes.table
    assert (modes[Mode.QUIET].max_power_w, modes[Mode.QUIET].max_temp_c) == (9, None)
    assert modes[Mode.QUIET].max_fan_percent == DEFAULT_TABLE[Mode.QUIET].max_fan_percent
    assert modes[Mode.BALANCED] == DEFAULT_TABLE[Mode.BALANCED]


def test_every_section_reaches_the_part_that_reads_it(loaded: Loader) -> None:
    config = loaded(
        "server: {allowed_hosts: [Box.Local], allowed_origins: ['http://a:3000'], max_body_bytes: 2048,"
        " max_in_flight: 3, keep_alive_s: 5, drain_s: 0}\n"
        "routing: {retries: 0}\n"
        "efficiency: {default_mode: Auto, auto: {hot_c: 60, dwell_s: 5}, max_holds: 3,"
        " quiet_hours: {start: '23:30', end: '06:15'}}\n"
        "sensors: {enabled: false, sysfs_root: /tmp/sys, idle_interval_s: 9, busy_interval_s: 0.5, busy_for_s: 7}\n"
        "dbus: {enabled: false}\n"
        "monitoring: {enabled: false, health_interval_s: 9, health_timeout_s: 2, health_recheck_s: 0.5, "
        "health_idle_interval_s: 90}\n"
        "detection: {enabled: false, ports: [9], interval_s: 1}\n"
        "upstream: {connect_s: 1, first_byte_s: 2, idle_s: 3, probe_s: 4}\n"
    )
    assert config.server == ServerSettings(
        allowed_hosts=("box.local",),
        allowed_origins=("http://a:3000",),
        max_body_bytes=2048,
        keep_alive_s=5,
        drain_s=0,
        serve_metrics=False,
    )
    assert config.gateway == GatewaySettings(max_in_flight=3, retries=0)
    assert (config.default_mode, config.modes.max_holds) == (Mode.AUTO, 3)
    assert config.modes.auto == AutoSettings(hot_c=60, dwell_s=5)
    pace = SensingSettings(idle_s=9, busy_s=0.5, busy_after_s=7)
    assert config.sensors == SensorSettings(enabled=False, sysfs_root=Path("/tmp/sys"), pace=pace)
    assert config.bus == BusSettings(enabled=False)
    assert QuietHours.of(config.tuning) == QuietHours(23 * 60 + 30, 6 * 60 + 15)
    assert config.health == HealthSettings(interval_s=9, timeout_s=2, recheck_s=0.5, idle_interval_s=90)
    assert (config.detection.enabled, config.detection.ports, config.detection.interval_s) == (False, (9,), 1)
    assert config.timeouts == Timeouts(connect_s=1, first_byte_s=2, idle_s=3, probe_s=4)


def test_a_section_of_own_names_may_be_empty(loaded: Loader) -> None:
    assert loaded("models:\n").gateway.aliases == {}


def test_detection_leaves_out_the_port_that_the_server_takes(loaded: Loader) -> None:
    assert loaded("").detection.ports == tuple(port for port in KNOWN_PORTS if port != 8080)
    assert 8080 in loaded("server: {http_port: 9999}").detection.ports


def test_quiet_hours_may_run_past_midnight() -> None:
    night, noon = QuietHours(22 * 60, 7 * 60), QuietHours(12 * 60, 13 * 60)
    assert [night.include(minute) for minute in (1319, 1320, 0, 419, 420)] == [False, True, True, True, False]
    assert [noon.include(minute) for minute in (719, 720, 779, 780)] == [False, True, True, False]
