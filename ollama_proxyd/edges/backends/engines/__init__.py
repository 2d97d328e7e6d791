"""The engines: one file and one row each, from the rarest sign to the commonest."""

from collections.abc import Mapping
from types import MappingProxyType

from ollama_proxyd.core.requests import Api
from ollama_proxyd.edges.backends.engine import Answer, Engine, Sign
from ollama_proxyd.edges.backends.engines import (
    docker_model_runner,
    generic,
    koboldcpp,
    lemonade,
    llama_cpp_python,
    llamacpp,
    lmdeploy,
    lmstudio,
    localai,
    mlx,
    ollama,
    ovms,
    proxyd,
    sglang,
    text_generation_webui,
    tgi,
    transformers,
    vllm,
)

_ROWS = (
    proxyd.ENGINE,
    koboldcpp.ENGINE,
    lemonade.ENGINE,
    lmstudio.ENGINE,
    localai.ENGINE,
    docker_model_runner.ENGINE,
    ovms.ENGINE,
    sglang.ENGINE,
    tgi.ENGINE,
    text_generation_webui.ENGINE,
    llamacpp.ENGINE,
    llama_cpp_python.ENGINE,
    transformers.ENGINE,
    vllm.ENGINE,
    lmdeploy.ENGINE,
    mlx.ENGINE,
    ollama.ENGINE,
    generic.ENGINE,
    generic.OPENAI,
)
"""Imitators answer the paths of what they imitate, so their own signs come first."""

ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in _ROWS})
GENERIC = generic.ENGINE
_DEFAULTS = {Api.OLLAMA: ollama.ENGINE, Api.OPENAI: GENERIC}

SIGNS: tuple[tuple[Engine, Sign], ...] = tuple((engine, sign) for engine in _ROWS for sign in engine.signs)
PATHS = tuple(dict.fromkeys(sign.path for _, sign in SIGNS))
KNOWN_PORTS = tuple(dict.fromkeys(port for engine in (ollama.ENGINE, *_ROWS) for port in engine.ports))


def engine_of(api: Api, name: str) -> Engine:
    """The engine of a backend; an unknown one is an ordinary server of its API."""
    engine = ENGINES.get(name)
    return engine if engine is not None and engine.api is api else _DEFAULTS[api]


def recognise(answers: Mapping[str, Answer | None]) -> tuple[Engine, Sign] | None:
    """The first sign that fits a server's answers by path; None for no known engine.

    A path without an answer yet leaves the rarer signs open, so that no commoner one is taken for it.
    """
    for engine, sign in SIGNS:
        if sign.path not in answers:
            continue
        answer = answers[sign.path]
        if answer is None:
            return None
        if sign.matches(answer):
            return engine, sign
    return None
