"""mlx_lm.server."""

from dataclasses import replace

from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import VLLM, VLLM_OPTIONS
from ollama_proxyd.edges.backends.engine import Answer, Engine, Sign, lists_models
from ollama_proxyd.edges.backends.unloading import Loading


def _is_mlx(answer: Answer) -> bool:
    return answer.headers.get("server", "").startswith("BaseHTTP/") and lists_models(answer)


ENGINE = Engine(
    name="mlx",
    label="mlx_lm.server",
    signs=(Sign("/v1/models", _is_mlx, "a list of models from a plain Python server"),),
    ports=(8080,),
    speaks=(OpenAI(quirks=replace(VLLM, options={**VLLM_OPTIONS, "repeat_last_n": "repetition_context_size"})),),
    health="/health",
    dies=True,
    loading=(Loading("/v1/completions", lambda model: {"model": model, "prompt": "a", "max_tokens": 1}),),
)
