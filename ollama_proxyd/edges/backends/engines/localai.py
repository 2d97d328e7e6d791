"""LocalAI."""

from ollama_proxyd.edges.backends.engine import Engine, Sign, has

ENGINE = Engine(
    name="localai",
    label="LocalAI",
    signs=(Sign("/.well-known/localai.json", has("endpoints"), "it has /.well-known/localai.json"),),
    ports=(8080,),
    health="/readyz",
)
