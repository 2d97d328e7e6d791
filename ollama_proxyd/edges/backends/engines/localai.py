"""LocalAI."""

from ollama_proxyd.edges.backends.engine import Answer, Engine, Sign


def _is_localai(answer: Answer) -> bool:
    return answer.status == 200 and isinstance(answer.json, dict) and "endpoints" in answer.json


ENGINE = Engine(
    name="localai",
    label="LocalAI",
    signs=(Sign("/.well-known/localai.json", _is_localai, "it has /.well-known/localai.json"),),
    ports=(8080,),
    health="/readyz",
)
