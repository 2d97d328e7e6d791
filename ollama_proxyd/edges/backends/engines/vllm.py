"""vLLM."""

from dataclasses import replace

from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import VLLM, SchemaField
from ollama_proxyd.edges.backends.engine import VERSION, Engine, Sign, owned_by

ENGINE = Engine(
    name="vllm",
    label="vLLM",
    signs=(Sign("/v1/models", owned_by("vllm"), "its models are owned by vllm"),),
    ports=(8000, 8001),
    speaks=(OpenAI(quirks=replace(VLLM, completion_schema=SchemaField.RESPONSE_FORMAT)),),
    health="/health",
    extras=(VERSION,),
    resident=True,
)
