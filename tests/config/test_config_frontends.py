"""Front ends in the file: what contradicts, what a reload says, and that no secret is shown."""

from collections.abc import Callable

import pytest

from ollama_proxyd.config import changes
from ollama_proxyd.config.settings import Config
from ollama_proxyd.core.allowance import Allowance
from ollama_proxyd.core.requests import Operation

Loader = Callable[..., Config]
Complaints = Callable[..., list[str]]
TOKEN = "a-secret-of-some-length"


def frontends(*each: str) -> str:
    return "frontends:\n" + "".join(f"  - {{{one}}}\n" for one in each)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (("name: a, hosts: [x.test]", "name: b, hosts: [X.test]"), "x.test leads to the front end a already, and to b"),
        (("name: a, port: 9000", "name: b, port: 9000"), "9000 leads to the front end a already, and to b"),
        (("name: a, port: 9000", "name: A, port: 9001"), "leads to the front end a already"),
        (("name: a, port: 8080",), "8080 is the daemon's own; give a another"),
        (("name: a",), "nothing leads to a; give it hosts, a port or a unix_socket"),
        (("name: a, hosts: [localhost]",), "localhost is a name of the daemon itself"),
        (("name: a, hosts: [x.test], backend_labels: [gpu]",), "no backend has gpu among its labels"),
        (("name: a, hosts: [x.test], balancing: sticky",), "a is sticky by nothing"),
        (("name: a, hosts: [x.test], pinned: {temprature: 1}",), "there is no such option; there are model"),
        (("name: a, hosts: [x.test], pinned: {temperature: warm}",), "'warm' is no value of this option"),
        (("name: a, hosts: [x.test], defaults: {max_tokens: 1.5}",), "1.5 is no value of this option"),
        (("name: a, hosts: [x.test], token_env: T, token_file: t",), "token_env gives the token as well"),
    ],
)
def test_what_contradicts_is_told_with_what_to_do(complaints: Complaints, written: tuple[str, ...], says: str) -> None:
    told = complaints(frontends(*written), {"T": TOKEN})
    assert any(says in line and line.startswith("config.yaml:") for line in told), told


def test_one_token_does_not_open_two_doors(complaints: Complaints) -> None:
    two = frontends("name: a, hosts: [a.test], token_env: T", "name: b, hosts: [b.test], token_env: T")
    (line,) = complaints(two, {"T": TOKEN})
    assert "b has the same token as the front end a" in line
    (line,) = complaints("server: {auth: {token_env: T}}\n" + frontends("name: a, port: 9, token_env: T"), {"T": TOKEN})
    assert "a has the same token as the daemon itself" in line
    assert TOKEN not in line


def test_a_short_token_is_refused(complaints: Complaints) -> None:
    (line,) = complaints(frontends("name: a, port: 9, token_env: T"), {"T": "short"})
    assert "frontends[0].token_env: the token has 5 characters" in line


def test_what_is_written_is_what_counts(loaded: Loader) -> None:
    text = frontends("name: a, port: 9, allowed_operations: [chat, embedding], pinned: {stop: END, temperature: 0}")
    (read,) = loaded(text).frontends
    assert read.operations == (Operation.CHAT, Operation.EMBEDDING)
    assert read.pinned == {"stop": ["END"], "temperature": 0}


def test_a_reload_says_what_changes_and_shows_no_token(loaded: Loader) -> None:
    old = loaded(frontends("name: a, port: 9, token_env: T", "name: b, port: 10"), {"T": TOKEN})
    new = loaded(
        frontends("name: a, port: 9, token_env: T, pinned: {seed: 1}", "name: c, port: 11"), {"T": TOKEN[::-1]}
    )
    said = changes.compare(old, new).applied
    assert "front end b is removed" in said
    assert "front end c is added" in said
    assert 'frontends.a.pinned changes from {} to {"seed": 1}' in said
    assert "the token of front end a changes" in said
    assert not any(TOKEN in line or TOKEN[::-1] in line for line in said)
    assert changes.until_restart(old, new).frontends == new.frontends


def test_an_allowance_adds_up_to_one_minutes_requests() -> None:
    allowance = Allowance(60, 60, 0.0)
    assert [allowance.take(0.0) for _ in range(61)] == [0.0] * 60 + [1.0]
    assert allowance.take(0.5) == pytest.approx(0.5)
    assert allowance.take(1.0) == 0.0
    assert [allowance.take(1000.0) for _ in range(61)] == [0.0] * 60 + [1.0]
