"""What is told of the difference between two configurations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ollama_proxyd.config.changes import compare, until_restart
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.administration import Kind, LeftOut

Loader = Callable[..., Config]

A = "{id: a, endpoint: 'http://a:1'}"
B = "{id: b, endpoint: 'http://b:1'}"


def test_equal_configurations_have_no_changes(loaded: Loader) -> None:
    assert not compare(loaded(""), loaded("server: {http_port: 8080}"))


def test_writing_out_the_defaults_changes_nothing(loaded: Loader) -> None:
    assert not compare(loaded(""), loaded((Path(__file__).parents[2] / "config/config.yaml").read_text()))


def test_the_listening_address_waits_for_a_restart(loaded: Loader) -> None:
    changes = compare(loaded(""), loaded("server: {http_port: 9, host: '::1'}"))
    assert changes.applied == ()
    assert changes.waiting == (
        'server.host changes from "127.0.0.1" to "::1" after a restart; until then it stays as it was',
        "server.http_port changes from 8080 to 9 after a restart; until then it stays as it was",
    )


def test_a_number_of_a_mode_is_applied(loaded: Loader) -> None:
    changes = compare(loaded(""), loaded("efficiency: {modes: {Quiet: {max_power_watts: 9}}}"))
    assert changes.applied == ("efficiency.modes.Quiet.max_power_watts changes from 15.0 to 9.0",)
    assert changes.waiting == ()


def test_backends_are_named_as_they_come_and_go(loaded: Loader) -> None:
    changes = compare(loaded(f"backends: [{A}]"), loaded(f"backends: [{B}]"))
    assert changes.applied == ("backend a is removed", "backend b is added")


def test_a_backend_that_stays_is_compared_key_by_key(loaded: Loader) -> None:
    other = "{id: a, endpoint: 'http://a:2', characteristics: {power_watts: 3}}"
    changes = compare(loaded(f"backends: [{A}]"), loaded(f"backends: [{other}]"))
    assert changes.applied == (
        'backends.a.endpoint changes from "http://a:1" to "http://a:2"',
        "backends.a.characteristics.power_watts changes from null to 3.0",
    )


def test_a_new_order_of_backends_is_a_change(loaded: Loader) -> None:
    changes = compare(loaded(f"backends: [{A}, {B}]"), loaded(f"backends: [{B}, {A}]"))
    assert changes.applied == ("the backends change their order",)


def test_new_secrets_are_noticed_and_not_shown(loaded: Loader) -> None:
    text = "server: {auth: {token_env: T}}\nbackends: [{id: a, endpoint: 'http://a:1', api_key_env: K}]"
    changes = compare(loaded(text, {"T": "one" * 6, "K": "two"}), loaded(text, {"T": "three" * 4, "K": "four"}))
    assert changes.applied == ("the token that clients present changes", "the API key of backend a changes")


def test_the_token_of_an_open_server_is_asked_for_until_it_is_closed(loaded: Loader) -> None:
    running = loaded("server: {host: 0.0.0.0, auth: {token_env: T}}", {"T": "a-secret-of-some-length"})
    new = loaded("")
    assert until_restart(running, new).server.token == "a-secret-of-some-length"
    assert compare(running, new).waiting[-1].startswith("the token is no longer asked for after a restart")
    assert "the token that clients present changes" not in compare(running, new).applied


def test_the_token_of_a_server_on_loopback_may_go_at_once(loaded: Loader) -> None:
    running = loaded("server: {auth: {token_env: T}}", {"T": "a-secret-of-some-length"})
    assert until_restart(running, loaded("")).server.token is None


def test_what_waits_for_a_restart_stays_as_it_runs(loaded: Loader) -> None:
    running = loaded("server: {http_port: 11434}")
    new = loaded("server: {http_port: 9, host: '::1', keep_alive_s: 1, max_body_bytes: 2048}")
    kept = until_restart(running, new)
    assert (kept.server.port, kept.server.host, kept.server.keep_alive_s) == (11434, "127.0.0.1", 75.0)
    assert kept.server.max_body_bytes == 2048


def test_what_is_left_out_now_is_told_although_something_waits_for_a_restart(loaded: Loader) -> None:
    left_out = (LeftOut(Kind.BACKENDS, "new", "npu is at this address"),)
    new = replace(loaded("server: {http_port: 9}"), left_out=left_out)
    assert until_restart(loaded("server: {http_port: 11434}"), new).left_out == left_out


def test_detection_never_looks_at_the_port_that_is_still_served(loaded: Loader) -> None:
    kept = until_restart(loaded("server: {http_port: 11434}"), loaded("server: {http_port: 9}"))
    assert 11434 not in kept.detection.ports
