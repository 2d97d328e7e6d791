"""The access rules of a server's configuration."""

import pytest

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.edges.http_api.access import rules
from ollama_proxyd.edges.http_api.settings import ServerSettings
from ollama_proxyd.edges.plumbing.access import Caller


def test_the_listening_address_and_the_configured_names_are_answered_and_the_token_is_asked_for() -> None:
    configured = rules(
        ServerSettings(host="192.168.1.5", allowed_hosts=("laptop",), allowed_origins=("app://x",), token="s3cret")
    )
    configured.check_host(Caller(("192.168.1.5:8080",)))
    configured.check_host(Caller(("laptop",), ("app://x",)))
    assert configured.allows("app://x")
    with pytest.raises(ProxyError):
        configured.check_token(Caller())
