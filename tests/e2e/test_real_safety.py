"""Who is let in, and how a wrong request is refused, on the running daemon."""

import pytest

from tests.e2e.harness import Daemon, Fleet, StartDaemon, ask, config_of, llama
from tests.e2e.tiny_model import HELLO

pytestmark = pytest.mark.real
CHAT = {"model": "calm", "messages": HELLO, "max_tokens": 1}
ROUTES = [
    ("GET", "/", None),
    ("GET", "/health", None),
    ("GET", "/metrics", None),
    ("GET", "/v1/models", None),
    ("GET", "/api/tags", None),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/api/chat", CHAT),
    ("POST", "/efficiency", {"mode": "Performance"}),
    ("POST", "/routing/explain", {"model": "calm"}),
    ("GET", "/no/such/route", None),
]
STRANGERS = [
    {"Host": "evil.example"},
    {"Host": "evil.example:80"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=lambda headers: "-".join(next(iter(headers.items()))))
def test_a_web_page_elsewhere_gets_nothing_from_any_route(daemon: Daemon, headers: dict[str, str]) -> None:
    before = daemon.get("/efficiency").json()
    statuses = {path: ask(daemon.url, method, path, body, headers).status for method, path, body in ROUTES}
    assert statuses == dict.fromkeys(statuses, 403)
    assert daemon.get("/efficiency").json() == before


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_this_machine_by_any_of_its_names_is_let_in(daemon: Daemon, host: str) -> None:
    assert daemon.get("/v1/models", {"Host": host}).status == 200


def test_a_name_given_in_the_configuration_is_let_in(fleet: Fleet, start_daemon: StartDaemon) -> None:
    config = config_of(llama("calm", fleet.calm), server={"allowed_hosts": ["laptop.lan"]})
    daemon = start_daemon(config).ready()
    assert daemon.get("/v1/models", {"Host": "laptop.lan:8080"}).status == 200
    assert daemon.get("/v1/models", {"Host": "other.lan"}).status == 403


def test_a_body_beyond_the_limit_is_refused_in_the_clients_dialect(fleet: Fleet, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(config_of(llama("calm", fleet.calm), server={"max_body_bytes": 2048})).ready("calm")
    large = {**CHAT, "padding": "x" * 4096}
    openai, ollama = daemon.post("/v1/chat/completions", large), daemon.post("/api/chat", large)
    assert (openai.status, ollama.status) == (413, 413)
    assert "2048" in openai.json()["error"]["message"]
    assert isinstance(ollama.json()["error"], str)
    assert daemon.post("/v1/chat/completions", CHAT).status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("GET", "/api/chat", {"POST"}),
        ("DELETE", "/v1/models", {"GET", "HEAD"}),
        ("PUT", "/efficiency", {"GET", "HEAD", "POST"}),
        ("POST", "/api/tags", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(daemon: Daemon, method: str, path: str, allowed: set[str]) -> None:
    reply = ask(daemon.url, method, path, {} if method != "GET" else None)
    assert reply.status == 405
    found = {name.strip() for name in reply.headers["allow"].split(",")}
    assert found & {"GET", "POST"} == allowed & {"GET", "POST"}


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Priority", "urgent"),
        ("X-Latency-Critical", "maybe"),
        ("X-Power-Efficient", "2"),
        ("X-Max-Latency-Ms", "soon"),
        ("X-Max-Latency-Ms", "-1"),
        ("X-Max-Power-Watts", "nan"),
        ("X-Max-Power-Watts", "12W"),
        ("X-Media-Type", "smell"),
        ("X-Deadline-Ms", "tomorrow"),
    ],
)
def test_a_header_that_cannot_be_read_is_a_400_that_names_it(daemon: Daemon, header: str, value: str) -> None:
    for path in ("/v1/chat/completions", "/api/chat"):
        reply = daemon.post(path, CHAT, {header: value})
        assert reply.status == 400, reply.body
        assert header.lower() in reply.body.decode().lower()


def test_an_unknown_path_is_a_404(daemon: Daemon) -> None:
    assert daemon.get("/v1/nothing").status == 404


def test_the_whole_network_is_not_served_without_a_token(fleet: Fleet, start_daemon: StartDaemon) -> None:
    config = config_of(llama("calm", fleet.calm), server={"host": "0.0.0.0"})
    daemon = start_daemon(config)
    assert daemon.wait() != 0
    assert "token" in daemon.log.read_text()


def test_with_a_token_only_its_bearer_is_served(fleet: Fleet, start_daemon: StartDaemon) -> None:
    server = {"host": "0.0.0.0", "auth": {"token_env": "OUR_TOKEN"}}
    config = config_of(llama("calm", fleet.calm), server=server)
    daemon = start_daemon(config, env={"OUR_TOKEN": "s3cret-s3cret-s3cret"}).alive()
    assert daemon.get("/v1/models").status == 401
    assert daemon.get("/v1/models", {"Authorization": "Bearer wrong"}).status == 401
    assert daemon.get("/v1/models", {"Authorization": "Bearer s3cret-s3cret-s3cret"}).status == 200
