"""What a person is told about keys and values that do not fit."""

from collections.abc import Callable

import pytest

from ollama_proxyd.config.settings import Config
from ollama_proxyd.config.shape import OPTIONS

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]


def test_an_unknown_key_names_file_line_and_the_nearest_key(complaints: Complaints) -> None:
    assert complaints("server:\n  hots: 127.0.0.1\n") == [
        'config.yaml:2: server.hots: unknown key; did you mean "host"?'
    ]


def test_a_key_that_is_part_of_the_right_one_is_found(complaints: Complaints) -> None:
    assert complaints("server:\n  prot: 1\n") == ['config.yaml:2: server.prot: unknown key; did you mean "http_port"?']


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(complaints: Complaints) -> None:
    assert complaints("log_level: info\n") == [
        'config.yaml:1: log_level: unknown key; did you mean "monitoring.log_level"?'
    ]


def test_a_key_like_no_other_lists_what_there_is(complaints: Complaints) -> None:
    known = ", ".join(dict.fromkeys(key.split(".")[1] for key in OPTIONS if key.startswith("routing.")))
    assert complaints("routing:\n  zzz: 1\n") == [f"config.yaml:2: routing.zzz: unknown key; routing takes {known}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {http_port: abc}", 'server.http_port: "abc" is not a whole number from 0 to 65535'),
        ("server: {http_port: 8080.5}", "server.http_port: 8080.5 is not a whole number from 0 to 65535"),
        ("server: {http_port: true}", "server.http_port: true is not a whole number from 0 to 65535"),
        ("server: {http_port: 65536}", "server.http_port: 65536 is not a whole number from 0 to 65535"),
        ("server: {http_port: -1}", "server.http_port: -1 is not a whole number from 0 to 65535"),
        ("server: {http_port: null}", "server.http_port: null is not a whole number from 0 to 65535"),
        ("server: {keep_alive_s: 0}", "server.keep_alive_s: 0 is not a number above 0"),
        ("server: {keep_alive_s: .inf}", 'server.keep_alive_s: ".inf" is not a number above 0'),
        ("server: {keep_alive_s: .nan}", 'server.keep_alive_s: ".nan" is not a number above 0'),
        ("server: {host: [a]}", "server.host: a list stands where a host name or an address without brackets belongs"),
        ("server: {auth: {token_env: A B}}", '"A B" is not the name of an environment variable or null'),
        ("server: 5", "server: 5 is not a section with keys of its own"),
        ("server: [1]", "server: a list stands where a section with keys of its own belongs"),
        ("backends: {a: 1}", "backends: a section stands where a list belongs"),
        ("monitoring: {enabled: yes}", 'monitoring.enabled: "yes" is not true or false'),
        ("efficiency: {default_mode: balanced}", 'UltraEfficiency; did you mean "Balanced"?'),
        ("efficiency: {quiet_hours: {start: 24:00}}", '"24:00" is not a time of day such as "22:00"'),
        ("detection: {ports: [1, 0]}", "detection.ports[1]: 0 is not a whole number from 1 to 65535"),
        ("[1]", "a list stands where a section with keys of its own belongs"),
        ("hello", "this text is not a section with keys of its own"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_what_belongs_there(complaints: Complaints, text: str, message: str) -> None:
    (line,) = complaints(text)
    assert line.startswith("config.yaml:1: ")
    assert line.endswith(message)


def test_a_number_where_text_belongs_is_told_of_quotes(complaints: Complaints) -> None:
    (line,) = complaints("backends: [{id: 5, endpoint: 'http://a:1'}]")
    assert line.startswith("config.yaml:1: backends[0].id: 5 is not an id of up to 64 letters")
    assert line.endswith("; put it in quotes")


@pytest.mark.parametrize(
    "name", ["a b", "ä", "-a", "a\\n", "a:b", "a,b", "", "x" * 65], ids=["space", "umlaut", "dash", "lf", *"1234"]
)
def test_an_id_that_could_not_stand_in_a_header_is_refused(complaints: Complaints, name: str) -> None:
    (line,) = complaints(f'backends: [{{id: "{name}", endpoint: "http://a:1"}}]')
    assert "is not an id of" in line


@pytest.mark.parametrize("key", ["endpoint", "proxy"])
def test_a_password_in_an_address_is_not_repeated(complaints: Complaints, key: str) -> None:
    other = "" if key == "endpoint" else 'endpoint: "http://a:1", '
    (line,) = complaints(f'backends: [{{id: a, {other}{key}: "http://u:hunter2@b:1"}}]')
    assert "hunter2" not in line
    assert '"http://…@' in line


@pytest.mark.parametrize(
    "endpoint",
    ["ftp://a", "a:1", "http://", "http://u:p@a:1", "http://a:1/?k=v", "http://a:1/#x", "http://a b", "http://a:1/x y"],
)
def test_an_endpoint_with_more_than_an_address_is_refused(complaints: Complaints, endpoint: str) -> None:
    (line,) = complaints(f"backends: [{{id: a, endpoint: '{endpoint}'}}]")
    assert line.startswith("config.yaml:1: backends[0].endpoint: ")


def test_a_backend_without_its_needed_keys_is_told_of_each(complaints: Complaints) -> None:
    lines = complaints("backends:\n  - type: ollama\n")
    assert [line.split(": ")[:2] for line in lines] == [
        ["config.yaml:2", "backends[0].id"],
        ["config.yaml:2", "backends[0].endpoint"],
    ]


def test_everything_that_is_wrong_is_told_at_once(complaints: Complaints) -> None:
    lines = complaints("server:\n  prot: 1\n  http_port: x\nrouting:\n  retries: -1\nfoo: 1\n")
    assert [line.split(":")[1] for line in lines] == ["2", "3", "5", "6"]


def test_contradictions_are_told_beside_unknown_keys(complaints: Complaints) -> None:
    lines = complaints("server:\n  host: 0.0.0.0\n  prot: 1\n")
    assert [line.split(":")[1] for line in lines] == ["3", "2"]


def test_a_wrong_value_makes_no_contradictions_of_its_own(complaints: Complaints) -> None:
    assert len(complaints("server: {http_port: x}\nbackends: [{id: a, endpoint: 'http://127.0.0.1:8080'}]\n")) == 1


def test_an_empty_section_means_its_defaults(loaded: Loader) -> None:
    assert loaded("server:\n  # http_port: 1\nbackends:\n").server.port == 8080


@pytest.mark.parametrize(
    "text",
    [
        "routing: {power_aware: true, default_backend: x, fallback_strategy: next_best}",
        "thermal: {enabled: true, temperature: {warning: 70}}",
        "monitoring: {prometheus_port: 9090}",
        "efficiency: {dbus_enabled: true}",
        "devices: {enabled: true}",
    ],
)
def test_a_key_of_the_predecessor_without_effect_is_a_warning(loaded: Loader, text: str) -> None:
    config = loaded(text)
    assert config.warnings
    assert all("this key has no effect and may go: " in each.message for each in config.warnings)
    assert all(each.origin.line == 1 for each in config.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "server: {tls: {enabled: true}}",
        "server: {rate_limit: {enabled: true}}",
        "server: {auth: {enabled: true}}",
        "server: {auth: {api_keys: {secret: {name: x}}}}",
        "router: {power_aware: true}",
    ],
)
def test_a_key_of_the_predecessor_that_would_be_missed_is_an_error(complaints: Complaints, text: str) -> None:
    (line,) = complaints(text)
    assert "unknown key" not in line


def test_a_type_of_the_predecessor_says_what_to_do_instead(complaints: Complaints) -> None:
    (line,) = complaints("backends: [{id: a, type: openvino, endpoint: 'http://a:1'}]")
    assert line.endswith("run OpenVINO Model Server and give its endpoint with type: openai, flavor: ovms")


@pytest.mark.parametrize("content", ["SECRET", "'SECRET'", "root:$6$SECRET:19000\ndaemon:*:1\n", "A=SECRET\nB=2\n"])
def test_of_another_kind_of_file_nothing_is_repeated(complaints: Complaints, content: str) -> None:
    (line,) = complaints(content)
    assert "SECRET" not in line
    assert line.startswith("config.yaml:1: this text is not a section with keys of its own")


def test_what_has_no_effect_is_told_beside_what_is_wrong(complaints: Complaints) -> None:
    lines = complaints("thermal: {enabled: true}\nrouting: {retries: 99}\n")
    assert [line.split(":")[1:3] for line in lines] == [["2", " routing.retries"], ["1", " thermal"]]
    assert "this key has no effect and may go" in lines[1]
