"""OpenAI-compatible servers without a file of their own, and OpenAI's API itself."""

from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import Quirks
from ollama_proxyd.edges.backends.engine import Engine, Sign, lists_models

ENGINE = Engine(
    name="generic",
    label="OpenAI-compatible server",
    signs=(Sign("/v1/models", lists_models, "/v1/models lists models"),),
    ports=(52625, 4891, 1337),  # FastFlowLM, GPT4All, Jan
)

OPENAI = Engine(
    name="openai",
    label="OpenAI API",
    speaks=(OpenAI(quirks=Quirks(template_kwargs=False, message_thinking=False, suffix=True)),),
)
