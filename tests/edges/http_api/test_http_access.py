"""The access rules of a server's configuration."""

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.http_api.access import rules
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.access import Caller
from tests.edges.http_api.conftest import Serve


def test_the_listening_address_and_the_configured_names_are_answered_and_the_token_is_asked_for() -> None:
    configured = rules(
        ServerSettings(host="192.168.1.5", allowed_hosts=("laptop",), allowed_origins=("app://x",), token="s3cret")
    )
    configured.check_host(Caller(("192.168.1.5:8080",)))
    configured.check_host(Caller(("laptop",), ("app://x",)))
    assert configured.allows("app://x")
    with pytest.raises(ProxyError):
        configured.check_token(Caller())


async def test_a_connection_that_was_let_in_is_looked_at_again_where_it_shows_something_else(
    serve: Serve,
) -> None:
    site = await serve(listen=ServerSettings(port=0, token="s3cret"))
    token = {"Authorization": "Bearer s3cret"}
    others: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer other"},
        {**token, "Host": "evil.example"},
        {**token, "Origin": "http://x.y"},
    )
    for headers in others:
        assert (await site.chat(token)).status == 200
        assert (await site.chat(headers)).status in {401, 403}
    assert site.server.connections == 1


async def test_a_connection_that_was_let_in_is_held_against_new_rules(serve: Serve) -> None:
    site = await serve()
    assert (await site.chat()).status == 200
    site.server.reconfigure(ServerSettings(token="new"))
    assert (await site.chat()).status == 401
    assert (await site.chat({"Authorization": "Bearer new"})).status == 200
    assert site.server.connections == 1
