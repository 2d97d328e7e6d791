"""SGLang."""

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import VLLM
from ollama_proxyd.edges.backends.engine import Engine, Question, Sign, has_text
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import at, whole


def read_info(body: Json) -> Findings:
    """/get_model_info: whether its model generates or embeds."""
    generates = at(body, "is_generation")
    if not isinstance(generates, bool):
        return Findings()
    able = frozenset({"completion"} if generates else {"embedding"})
    return Findings(capabilities=able)


def read_server_info(body: Json) -> Findings:
    """/get_server_info: its limit of requests, where it was started with one."""
    return Findings(slots=whole(body, "max_running_requests"))


ENGINE = Engine(
    name="sglang",
    label="SGLang",
    signs=(Sign("/get_model_info", has_text("model_path"), "/get_model_info has model_path"),),
    ports=(30000,),
    speaks=(OpenAI(quirks=VLLM),),
    health="/health",
    extras=(Question("/get_model_info", read_info), Question("/get_server_info", read_server_info)),
    resident=True,
)
