"""Each setting arrives at the part that reads it."""

from collections.abc import Callable

from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.fleet import BackendSpec, Hardware, Kind, ModelRules, Profile
from ollama_proxyd.core.modes import DEFAULT_TABLE, AutoSettings, Mode
from ollama_proxyd.edges.backends.detect import KNOWN_PORTS
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.http import Timeouts
from ollama_proxyd.services.settings import GatewaySettings, HealthSettings, QuietHours

Loader = Callable[..., Config]

WHOLE = """
backends:
  - id: npu
    type: openai
    name: The NPU
    hardware: npu
    endpoint: http://127.0.0.1:8000/v3/
    flavor: ovms
    slots: 2
    characteristics: {power_watts: 3, avg_latency_ms: 800, max_tokens_per_second: 10, prefill_tokens_per_second: 90,
      load_s: 4, load_joules: 40, idle_watts: 0.5, keep_alive_s: 60, priority: 7}
    model_capability: {max_model_size_gb: 1.5, supported_model_patterns: ["*:1b"], preferred_models: [a],
      excluded_patterns: ["*:7b"]}
"""


def test_without_a_file_each_part_gets_its_own_defaults(loaded: Loader) -> None:
    config = loaded("")
    assert config.server == ServerSettings()
    assert config.gateway == GatewaySettings()
    assert config.health == HealthSettings()
    assert config.timeouts == Timeouts()
    assert config.auto == AutoSettings()
    assert config.modes == DEFAULT_TABLE
    assert config.default_mode is Mode.BALANCED
    assert config.quiet_hours == QuietHours()


def test_every_key_of_a_backend_arrives(loaded: Loader) -> None:
    (backend,) = loaded(WHOLE).backends
    assert backend.enabled
    assert backend.spec == BackendSpec(
        id="npu",
        name="The NPU",
        kind=Kind.OPENAI,
        endpoint="http://127.0.0.1:8000/v3",
        hardware=Hardware.NPU,
        flavor="ovms",
        profile=Profile(
            power_w=3,
            ttft_s=0.8,
            decode_tps=10,
            prefill_tps=90,
            load_s=4,
            load_j=40,
            idle_w=0.5,
            keep_alive_s=60,
        ),
        rules=ModelRules(supported=("*:1b",), excluded=("*:7b",), preferred=("a",), max_size_bytes=1_500_000_000),
        priority=7,
        slots=2,
    )


def test_a_backend_needs_only_id_and_endpoint(loaded: Loader) -> None:
    (backend,) = loaded("backends: [{id: a, endpoint: 'http://127.0.0.1:11434'}]").backends
    assert backend.spec == BackendSpec("a", "a", Kind.OLLAMA, "http://127.0.0.1:11434", flavor="ollama")


def test_a_backend_that_is_switched_off_stays_in_the_list(loaded: Loader) -> None:
    (backend,) = loaded("backends: [{id: a, enabled: false, endpoint: 'http://a:1', api_key_env: UNSET}]").backends
    assert not backend.enabled


def test_a_mode_keeps_the_numbers_that_the_file_leaves_out(loaded: Loader) -> None:
    modes = loaded("efficiency: {modes: {Quiet: {max_power_watts: 9, max_temp_c: null}}}").modes
    assert (modes[Mode.QUIET].max_power_w, modes[Mode.QUIET].max_temp_c) == (9, None)
    assert modes[Mode.QUIET].max_fan_percent == DEFAULT_TABLE[Mode.QUIET].max_fan_percent
    assert modes[Mode.BALANCED] == DEFAULT_TABLE[Mode.BALANCED]


def test_every_section_reaches_the_part_that_reads_it(loaded: Loader) -> None:
    config = loaded(
        "server: {allowed_hosts: [Box.Local], allowed_origins: ['http://a:3000'], max_body_bytes: 2048,"
        " max_in_flight: 3, keep_alive_s: 5, drain_s: 0}\n"
        "routing: {retries: 0}\n"
        "efficiency: {default_mode: Auto, auto: {hot_c: 60}, quiet_hours: {start: '23:30', end: '06:15'}}\n"
        "monitoring: {enabled: false, health_interval_s: 9, health_timeout_s: 2, health_recheck_s: 0.5}\n"
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
    assert (config.default_mode, config.auto) == (Mode.AUTO, AutoSettings(hot_c=60))
    assert config.quiet_hours == QuietHours(23 * 60 + 30, 6 * 60 + 15)
    assert config.health == HealthSettings(interval_s=9, timeout_s=2, recheck_s=0.5)
    assert (config.detection.enabled, config.detection.ports, config.detection.interval_s) == (False, (9,), 1)
    assert config.timeouts == Timeouts(connect_s=1, first_byte_s=2, idle_s=3, probe_s=4)


def test_detection_leaves_out_the_port_that_the_server_takes(loaded: Loader) -> None:
    assert loaded("").detection.ports == tuple(port for port in KNOWN_PORTS if port != 8080)
    assert 8080 in loaded("server: {http_port: 9999}").detection.ports


def test_quiet_hours_may_run_past_midnight() -> None:
    night, noon = QuietHours(22 * 60, 7 * 60), QuietHours(12 * 60, 13 * 60)
    assert [night.include(minute) for minute in (1319, 1320, 0, 419, 420)] == [False, True, True, True, False]
    assert [noon.include(minute) for minute in (719, 720, 779, 780)] == [False, True, True, False]
