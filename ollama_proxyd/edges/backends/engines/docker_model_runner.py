"""Docker Model Runner."""

from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.edges.backends.engine import Engine, Sign, lists_models

ENGINE = Engine(
    name="docker-model-runner",
    label="Docker Model Runner",
    signs=(Sign("/engines/v1/models", lists_models, "/engines/v1/models lists models"),),
    ports=(12434,),
    speaks=(OpenAI("/engines/v1"),),
)
