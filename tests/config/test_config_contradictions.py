"""Settings that are right by themselves and contradict each other."""

from collections.abc import Callable

import pytest

from ollama_proxyd.config.load import Overrides
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.requests import Api
from ollama_proxyd.services.settings import QuietHours

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]


def fleet(*backends: str) -> str:
    return "backends:\n" + "".join(f"  - {{{each}}}\n" for each in backends)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "my-laptop", "10.0.0.1"])
def test_listening_beyond_loopback_needs_a_token(complaints: Complaints, host: str) -> None:
    (line,) = complaints(f"server:\n  host: '{host}'\n")
    assert line.startswith(f"config.yaml:2: server.host: {host} lets other machines in, and no token is asked for")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_token(loaded: Loader, host: str) -> None:
    assert loaded(f"server: {{host: '{host}'}}").server.token is None


def test_a_host_beyond_loopback_from_an_option_names_the_option(complaints: Complaints) -> None:
    (line,) = complaints("server: {http_port: 1}", overrides=Overrides(host="0.0.0.0"))
    assert line.startswith("option --host: server.host: 0.0.0.0 lets other machines in")


def test_a_host_beyond_loopback_is_fine_with_a_token(loaded: Loader) -> None:
    config = loaded("server: {host: 0.0.0.0, auth: {token_env: T}}", {"T": "a-secret-of-some-length"})
    assert config.server.token == "a-secret-of-some-length"


def test_two_backends_cannot_share_an_id_whatever_its_case(complaints: Complaints) -> None:
    assert complaints(fleet("id: a, endpoint: 'http://a:1'", "id: A, endpoint: 'http://a:2'")) == [
        "config.yaml:3: backends[1].id: backends[0] is called a already; give each an id of its own"
    ]


@pytest.mark.parametrize("other", ["http://localhost:11434/", "http://127.0.0.1:11434", "http://[::1]:11434"])
def test_two_backends_cannot_share_an_endpoint_however_it_is_written(complaints: Complaints, other: str) -> None:
    (line,) = complaints(fleet("id: a, endpoint: 'http://127.0.0.1:11434'", f"id: b, endpoint: '{other}'"))
    assert line.startswith("config.yaml:3: backends[1].endpoint: backend a is at this address already")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_an_engine_on_this_machine_needs_no_permission_to_fetch_images(complaints: Complaints, host: str) -> None:
    (line,) = complaints(fleet(f"id: a, type: openai, endpoint: 'http://{host}:1', https_images: true"))
    assert line.startswith("config.yaml:2: backends[0].https_images: a runs on this machine, and decides ")


def test_only_an_openai_service_fetches_images(complaints: Complaints, loaded: Loader) -> None:
    (line,) = complaints(fleet("id: a, type: ollama, endpoint: 'http://a:1', https_images: true"))
    assert "speaks Ollama's API" in line
    config = loaded(fleet("id: a, type: openai, endpoint: 'https://a', https_images: true"))
    assert config.backends[0].spec.https_images


def test_a_backend_cannot_be_this_server(complaints: Complaints) -> None:
    (line,) = complaints(fleet("id: a, endpoint: 'http://localhost:8080/v1'"))
    assert line.startswith("config.yaml:2: backends[0].endpoint: ollama-proxyd itself listens at this address")


def test_a_backend_behind_the_daemons_own_socket_is_refused(complaints: Complaints, loaded: Loader) -> None:
    own = "server: {unix_socket: /run/own.sock}\n"
    (line,) = complaints(own + fleet("id: a, endpoint: 'unix:/run/own.sock'"))
    assert "ollama-proxyd itself listens at this address" in line
    (backend,) = loaded(own + fleet("id: a, endpoint: 'unix:/run/another.sock'")).backends
    assert backend.spec.is_local


def test_two_backends_behind_one_socket_are_refused(complaints: Complaints) -> None:
    (line,) = complaints(fleet("id: a, endpoint: 'unix:/run/a.sock'", "id: b, endpoint: 'unix:/run/a.sock'"))
    assert "backend a is at this address already" in line


def test_a_backend_may_take_the_port_that_an_option_frees(loaded: Loader) -> None:
    text = fleet("id: a, endpoint: 'http://localhost:8080'")
    assert loaded(text, overrides=Overrides(http_port=9090)).server.port == 9090


@pytest.mark.parametrize("endpoint", ["http://a:99999", "http://a:x", "http://a:0", "http://a:", "http://[::1"])
def test_an_endpoint_needs_a_port_that_exists(complaints: Complaints, endpoint: str) -> None:
    (line,) = complaints(fleet(f"id: a, endpoint: '{endpoint}'"))
    assert line.endswith("is not an address with a host and a port from 1 to 65535")


@pytest.mark.parametrize("address", ["http://a:99999", "http://[::1", "http://a:0"])
def test_a_collector_needs_a_port_that_exists(complaints: Complaints, address: str) -> None:
    (line,) = complaints(f"telemetry: {{otlp_endpoint: '{address}'}}")
    assert line.endswith("is not an address with a host and a port from 1 to 65535")


@pytest.mark.parametrize("address", ["127.0.0.1:70000", "127.0.0.1:0", "999.0.0.1:514", "127.1:514", "[::zz]:514"])
def test_a_syslog_daemon_elsewhere_has_an_ip_address_and_a_port_that_exists(
    complaints: Complaints, address: str
) -> None:
    (line,) = complaints(f"monitoring: {{syslog: '{address}'}}")
    assert line.startswith("config.yaml:1: monitoring.syslog: ")


@pytest.mark.parametrize("address", ["/dev/log", "127.0.0.1:514", "[2001:db8::1]:65535"])
def test_a_syslog_daemon_is_a_socket_or_an_address(loaded: Loader, address: str) -> None:
    assert loaded(f"monitoring: {{syslog: '{address}'}}").log.syslog == address


def test_an_unknown_engine_names_the_nearest(complaints: Complaints) -> None:
    (line,) = complaints(fleet("id: a, type: openai, flavor: lamacpp, endpoint: 'http://a:1'"))
    assert line.endswith('backends[0].flavor: "lamacpp" is not an engine of type openai; did you mean "llamacpp"?')


def test_battery_limits_of_auto_must_rise(complaints: Complaints) -> None:
    (line,) = complaints("efficiency:\n  auto:\n    critical_battery_percent: 60\n")
    assert line.startswith("config.yaml:3: efficiency.auto.critical_battery_percent: 60 is not below low_battery")


def test_critical_heat_is_not_below_heat(complaints: Complaints) -> None:
    (line,) = complaints("efficiency:\n  auto:\n    critical_c: 70\n")
    assert line.startswith("config.yaml:3: efficiency.auto.critical_c: 70 is below hot_c (75)")


def test_sensors_are_not_looked_at_less_often_while_the_proxy_is_used(complaints: Complaints) -> None:
    (line,) = complaints("sensors: {busy_interval_s: 60}")
    assert line.startswith("config.yaml:1: sensors.busy_interval_s: 60 is more than idle_interval_s (30)")


def test_quiet_hours_without_length_are_ambiguous(complaints: Complaints) -> None:
    (line,) = complaints("efficiency:\n  quiet_hours:\n    start: '07:00'\n")
    assert line.startswith("config.yaml:2: efficiency.quiet_hours.end: 07:00 is the start as well")


def test_quiet_hours_that_are_off_may_have_any_length(loaded: Loader) -> None:
    assert QuietHours.of(loaded("efficiency: {quiet_hours: {enabled: false, start: '07:00'}}").tuning) is None


def test_a_check_ends_before_the_next_begins(loaded: Loader) -> None:
    assert loaded("monitoring: {health_interval_s: 2}").health.timeout_s == 2


def test_a_secret_has_one_source(complaints: Complaints) -> None:
    lines = complaints(
        "server: {auth: {token_env: A, token_file: b}}\n"
        + fleet("id: a, endpoint: 'http://a:1', api_key_env: A, api_key_file: b")
    )
    assert [line.split(": ")[1] for line in lines] == ["server.auth.token_file", "backends[0].api_key_file"]


def test_an_engine_needs_a_folder_of_models_unless_its_program_knows_one(
    complaints: Complaints, loaded: Loader
) -> None:
    (line,) = complaints("engines:\n  - {id: a}\n")
    assert line.startswith("config.yaml:2: engines[0].models_dir: no folder of models is named")
    (engine,) = loaded("engines: [{id: a, engine: ollama, command: [/opt/ollama, serve]}]").engines
    assert (engine.spec.flavor, engine.spec.api) == ("ollama", Api.OLLAMA)


@pytest.mark.parametrize(
    ("variable", "do"),
    [
        ("OLLAMA_HOST=0.0.0.0", "leave it out, so that each process has a port of its own"),
        ("OLLAMA_NUM_PARALLEL=9", "give slots instead"),
        ("OLLAMA_CONTEXT_LENGTH=9", "give context_tokens instead"),
    ],
)
def test_what_a_process_is_told_by_the_proxy_is_no_variable_of_its_entry(
    complaints: Complaints, variable: str, do: str
) -> None:
    (line,) = complaints(f"engines:\n  - {{id: a, engine: ollama, environment: [{variable}]}}\n")
    name = variable.partition("=")[0]
    assert line == f"config.yaml:2: engines[0].environment: {name} is the proxy's to set; {do}"
