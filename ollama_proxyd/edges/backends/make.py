"""The backend for each kind."""

from collections.abc import Callable, Mapping

from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.ollama import OllamaBackend
from ollama_proxyd.edges.backends.openai import OpenAIBackend
from ollama_proxyd.edges.plumbing.http import HttpClient
from ollama_proxyd.services.ports import Backend

_KINDS: Mapping[Api, Callable[[BackendSpec, HttpClient, str | None], Backend]] = {
    Api.OLLAMA: OllamaBackend,
    Api.OPENAI: OpenAIBackend,
}


def make_backend(spec: BackendSpec, client: HttpClient, api_key: str | None = None) -> Backend:
    """What answers requests at the spec's endpoint; the key goes into every request to it."""
    return _KINDS[spec.api](spec, client, api_key)
