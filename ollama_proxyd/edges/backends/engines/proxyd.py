"""ollama-proxyd itself, which must never become its own backend."""

from ollama_proxyd.edges.backends.engine import Engine, Sign, says

_NAME = "ollama-proxyd"

ENGINE = Engine(
    name=_NAME,
    label=_NAME,
    signs=(Sign("/version", says("name", value=_NAME), "it is ollama-proxyd itself"),),
    speaks=(),
)
