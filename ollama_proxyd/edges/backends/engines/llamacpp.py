"""llama-server, of llama.cpp."""

from ollama_proxyd.core.requests import Json
from ollama_proxyd.dialects.anthropic.dialect import Anthropic
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.quirks import LLAMACPP_OPTIONS, OptionPolicy, Quirks, SchemaField
from ollama_proxyd.edges.backends.engine import Answer, Continues, Engine, Question, Sign
from ollama_proxyd.edges.backends.findings import Findings
from ollama_proxyd.edges.backends.unloading import Unloading
from ollama_proxyd.edges.backends.untrusted_json import label, text, truth, whole

_THINKING = ("enable_thinking", "<think>", "reasoning_effort")


def _is_llamacpp(answer: Answer) -> bool:
    by_header = answer.headers.get("server") == "llama.cpp" and answer.status in {200, 503}
    by_props = whole(answer.json, "total_slots") is not None or text(answer.json, "role") == "router"
    return by_header or (answer.status == 200 and by_props and text(answer.json, "build_info") is not None)


def read_props(body: Json) -> Findings:
    """/props: how many requests it takes at once, and what its chat template can do."""
    template = text(body, "chat_template") or ""
    able = {
        "completion": True,
        "vision": truth(body, "modalities", "vision"),
        "audio": truth(body, "modalities", "audio"),
        "tools": truth(body, "chat_template_caps", "supports_tools"),
        "thinking": any(mark in template for mark in _THINKING),
    }
    slots = whole(body, "total_slots")
    known = frozenset(word for word, can in able.items() if can)
    return Findings(
        version=label(body, "build_info"),
        slots=slots,
        loaded=() if truth(body, "is_sleeping") else None,
        capabilities=known if slots is not None else None,
        unloads=text(body, "role") == "router",
    )


ENGINE = Engine(
    name="llamacpp",
    label="llama-server",
    signs=(Sign("/props", _is_llamacpp, "/props and its Server header are llama.cpp's"),),
    ports=(8080, 8081, 8082, 8083),
    speaks=(
        OpenAI(
            quirks=Quirks(
                options=LLAMACPP_OPTIONS,
                extras={
                    **{f"options.{name}": name for name in ("mirostat", "mirostat_tau", "mirostat_eta")},
                    "thinking.budget_tokens": "thinking_budget_tokens",
                },
                embedding={"truncate": OptionPolicy.HANDLED_HERE},
                effort=False,
                completion_schema=SchemaField.JSON_SCHEMA,
                raw_vectors={"embd_normalize": -1},
                # It looks once a second whether a whole answer's client has left, at each token while it streams.
                joins=True,
            )
        ),
        Anthropic(ignores_disabled=True, counts=True, joins=True),
    ),
    health="/health",
    extras=(Question("/props", read_props),),
    template="/props",
    resident=True,
    counts_tokens=True,
    # It renders the chat with a mark in place of the last message and ends the prompt there, so that no template can
    # trim what was spoken; thinking goes on where the message has no content (common/chat.cpp).
    continues=Continues(thinking=True),
    # A router alone unloads; it ends answers under way after 10 s, and asking for slots loads the model.
    unloading=Unloading(
        "/models/unload", lambda model: {"model": model}, "/slots?model={}&autoload=false", "/slots?model={}"
    ),
)
