"""What asks one process that the proxy runs: an ordinary server of its kind, which is for one model alone."""

from dataclasses import replace

from ollama_proxyd.core.errors import ProxyError
from ollama_proxyd.core.fleet import BackendSpec
from ollama_proxyd.edges.backends.backend import EngineBackend
from ollama_proxyd.edges.backends.engine import Question
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.request_options import ProcessOptions
from ollama_proxyd.edges.plumbing.http import HttpClient


class OwnProcess(EngineBackend):
    """`model`: the only one that counts, of a process that lists a store of many; None: whatever it lists."""

    _options = ProcessOptions

    def __init__(self, spec: BackendSpec, client: HttpClient, api_key: str, model: str | None = None) -> None:
        super().__init__(spec, client, api_key)
        self._model = model

    def starts_anew(self, error: ProxyError) -> bool:
        """Whether what computes in it has ended, of which it starts another one for the next request."""
        words = self._engine.restarts
        return words is not None and words.search(f"{error.message} {error.detail or ''}") is not None

    async def _findings(self, question: Question) -> Findings:
        found = await super()._findings(question)
        if self._model is None or found.models is None:
            return found
        return replace(found, models=tuple(each for each in found.models if each.name == self._model))
