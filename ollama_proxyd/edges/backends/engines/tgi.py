"""text-generation-inference."""

from ollama_proxyd.core.fleet import Model
from ollama_proxyd.core.requests import Json
from ollama_proxyd.edges.backends.engine import Answer, Engine, Question, Sign, has_text
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.untrusted_json import label, whole


def _is_tgi(answer: Answer) -> bool:
    return has_text("model_id")(answer) and whole(answer.json, "max_concurrent_requests") is not None


def read_info(body: Json) -> Findings:
    """/info: the one model that it serves."""
    name = label(body, "model_id")
    models = (Model(name=name, context_length=whole(body, "max_total_tokens")),) if name else ()
    return Findings(models=models, version=label(body, "version"), slots=whole(body, "max_concurrent_requests"))


ENGINE = Engine(
    name="tgi",
    label="text-generation-inference",
    signs=(Sign("/info", _is_tgi, "/info has model_id and max_concurrent_requests"),),
    health="/health",
    models=Question("/info", read_info),
    resident=True,
)
