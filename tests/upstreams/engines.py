"""What known engines answer to GET, by path: the shapes that the real ones send, shortened."""

from typing import Any

from tests.upstreams.fake_engines import FakeEngine, Says

LLAMACPP_MODELS = {
    "models": [
        {"name": "tiny", "model": "tiny", "modified_at": "", "size": "", "digest": "", "details": {"format": "gguf"}}
    ],
    "object": "list",
    "data": [
        {
            "id": "tiny",
            "object": "model",
            "created": 1795188552,
            "owned_by": "llamacpp",
            "meta": {
                "vocab_type": 1,
                "n_vocab": 693,
                "n_ctx": 2048,
                "n_ctx_train": 4096,
                "n_embd": 64,
                "n_params": 162752,
                "size": 434432,
                "ftype": "Q8_0",
            },
        }
    ],
}
LLAMACPP_PROPS = {
    "total_slots": 4,
    "model_alias": "tiny",
    "modalities": {"vision": False, "video": False, "audio": False},
    "chat_template": "{% if enable_thinking is defined and enable_thinking %}<think>{% endif %}",
    "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
    "build_info": "b11669-Debian",
    "is_sleeping": False,
}
NOT_FOUND = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}

TINY_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "163K",
    "quantization_level": "Q8_0",
}
OLLAMA_TAGS = {
    "models": [
        {
            "name": "tiny:latest",
            "model": "tiny:latest",
            "modified_at": "2026-11-20T11:58:24.921052393Z",
            "size": 452725,
            "digest": "b057f0974b1d",
            "details": {**TINY_DETAILS, "context_length": 4096, "embedding_length": 64},
            "capabilities": ["completion"],
        }
    ]
}
OLLAMA_PS = {
    "models": [
        {
            "name": "tiny:latest",
            "model": "tiny:latest",
            "size": 6868172,
            "digest": "b057f0974b1d",
            "details": TINY_DETAILS,
            "expires_at": "2026-11-20T12:03:25.625297689Z",
            "size_vram": 0,
            "context_length": 4096,
        }
    ]
}
OLLAMA_SHOW = {"details": TINY_DETAILS, "model_info": {}, "capabilities": ["tools", "thinking", "completion"]}


def openai_list(*names: str, owner: str = "somebody", **more: Any) -> dict[str, Any]:
    """A model list as OpenAI writes it."""
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner, **more} for name in names]}


def an_engine(answers: dict[str, Any], server_header: str = "fake") -> FakeEngine:
    """An engine that gives these answers to GET; text stays text, everything else is JSON."""
    routes = {
        f"GET {path}": body
        if isinstance(body, Says)
        else Says(body.encode(), headers={"Content-Type": "text/plain"})
        if isinstance(body, str)
        else Says(body)
        for path, body in answers.items()
    }
    return FakeEngine(dict(routes), server_header)


def ollama() -> FakeEngine:
    """A real Ollama."""
    engine = an_engine(
        {
            "/": "Ollama is running",
            "/api/version": {"version": "0.33.0"},
            "/api/tags": OLLAMA_TAGS,
            "/api/ps": OLLAMA_PS,
            "/v1/models": openai_list("tiny:latest", owner="library"),
        },
        "",
    )
    engine.routes["POST /api/show"] = Says(OLLAMA_SHOW)
    return engine


def llamacpp() -> FakeEngine:
    """A llama-server with one model."""
    return an_engine(
        {
            "/": Says(NOT_FOUND, 404),
            "/health": {"status": "ok"},
            "/v1/models": LLAMACPP_MODELS,
            "/props": LLAMACPP_PROPS,
        },
        "llama.cpp",
    )


ENGINES: dict[str, Any] = {
    "ollama": ollama,
    "llamacpp": llamacpp,
    "koboldcpp": lambda: an_engine(
        {
            "/": "<html>KoboldAI Lite</html>",
            "/api/extra/version": {"result": "KoboldCpp", "version": "1.101"},
            "/api/version": {"version": "0.7.0"},
            "/api/tags": OLLAMA_TAGS,
            "/props": LLAMACPP_PROPS,
            "/v1/models": openai_list("koboldcpp/tiny"),
        }
    ),
    "lemonade": lambda: an_engine(
        {
            "/": "Ollama is running",
            "/api/v1/health": {
                "status": "ok",
                "version": "9.1.0",
                "model_loaded": "Qwen-NPU",
                "all_models_loaded": [{"model_name": "Qwen-NPU", "device": "npu", "recipe": "flm"}],
            },
            "/api/tags": OLLAMA_TAGS,
            "/api/v1/models": {
                "object": "list",
                "data": [
                    {"id": "Qwen-NPU", "labels": ["tool-calling", "reasoning", "hot"]},
                    {"id": "nomic", "labels": ["embeddings"]},
                ],
            },
        }
    ),
    "lmstudio": lambda: an_engine(
        {
            "/lmstudio-greeting": {"lmstudio": True},
            "/": {"error": "Unexpected endpoint or method. (GET /)"},
            "/props": {"error": "Unexpected endpoint or method. (GET /props)"},
            "/info": {"error": "Unexpected endpoint or method. (GET /info)"},
            "/v1/models": openai_list("qwen"),
            "/api/v0/models": {
                "object": "list",
                "data": [
                    {
                        "id": "qwen",
                        "type": "vlm",
                        "arch": "qwen2_vl",
                        "compatibility_type": "mlx",
                        "quantization": "4bit",
                        "state": "loaded",
                        "max_context_length": 32768,
                        "loaded_context_length": 4096,
                        "capabilities": ["tool_use"],
                    },
                    {"id": "nomic", "type": "embeddings", "state": "not-loaded"},
                ],
            },
        }
    ),
    "localai": lambda: an_engine(
        {
            "/.well-known/localai.json": {"version": "v3", "endpoints": {"chat_completions": "/v1/chat/completions"}},
            "/readyz": Says(b"OK"),
            "/api/tags": OLLAMA_TAGS,
            "/v1/models": openai_list("tiny"),
        }
    ),
    "docker-model-runner": lambda: an_engine(
        {
            "/": "Docker Model Runner is running",
            "/engines/v1/models": openai_list("ai/smollm2", owner="docker"),
            "/api/tags": OLLAMA_TAGS,
        }
    ),
    "ovms": lambda: an_engine(
        {
            "/v2": {"name": "OpenVINO Model Server", "version": "2025.4"},
            "/v2/health/ready": Says(b""),
            "/v1/config": {"qwen-int4": {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}},
            "/v3/models": openai_list("qwen-int4"),
        }
    ),
    "sglang": lambda: an_engine(
        {
            "/health": Says(b""),
            "/get_model_info": {"model_path": "Qwen/Qwen3", "is_generation": True},
            "/v1/models": openai_list("Qwen/Qwen3", owner="sglang", max_model_len=40960),
        }
    ),
    "tgi": lambda: an_engine(
        {
            "/health": Says(b""),
            "/info": {
                "model_id": "tiny",
                "max_concurrent_requests": 128,
                "max_total_tokens": 2048,
                "version": "3.3",
            },
            "/v1/models": openai_list("tiny"),
        }
    ),
    "text-generation-webui": lambda: an_engine(
        {"/v1/internal/model/info": {"model_name": "tiny"}, "/v1/models": openai_list("tiny", "other")}
    ),
    "llama-cpp-python": lambda: an_engine(
        {"/openapi.json": {"paths": {"/extras/tokenize": {}}}, "/v1/models": openai_list("tiny", owner="me")}
    ),
    "transformers": lambda: an_engine(
        {
            "/health": {"status": "ok"},
            "/openapi.json": {"paths": {"/load_model": {}, "/reset": {}}},
            "/v1/models": openai_list("tiny"),
        }
    ),
    "vllm": lambda: an_engine(  # as vLLM 0.32.0 answered, behind its socket
        {
            "/health": Says(b""),
            "/version": {"version": "0.32.0"},
            "/v1/models": {
                "object": "list",
                "data": [
                    {
                        "id": "tiny",
                        "object": "model",
                        "created": 1796030781,
                        "owned_by": "vllm",
                        "root": "/models/tiny",
                        "parent": None,
                        "max_model_len": 8192,
                        "permission": [{"id": "modelperm-8e26fac3426a8219", "object": "model_permission"}],
                    }
                ],
            },
        },
        "uvicorn",
    ),
    "lmdeploy": lambda: an_engine({"/health": Says(b""), "/v1/models": openai_list("tiny", owner="lmdeploy")}),
    "mlx": lambda: an_engine(  # as mlx_lm.server 0.32.2 answered
        {
            "/health": {"status": "ok"},
            "/v1/models": {
                "object": "list",
                "data": [{"id": "/models/tiny", "object": "model", "created": 1796028132}],
            },
        },
        "BaseHTTP/0.6 Python/3.12.1",
    ),
    "generic": lambda: an_engine({"/v1/models": openai_list("tiny")}),
}
"""How each engine that detection knows answers; imitators answer other engines' paths too."""

STRANGERS: dict[str, Any] = {
    "ollama-proxyd itself": lambda: an_engine(
        {
            "/": "Ollama is running",
            "/version": {"name": "ollama-proxyd", "version": "0.1.0"},
            "/api/tags": OLLAMA_TAGS,
            "/v1/models": openai_list("tiny"),
        }
    ),
    "Open WebUI": lambda: an_engine({"/": "<html>", "/api/config": {"name": "Open WebUI"}, "/v1/models": "<html>"}),
    "Weaviate": lambda: an_engine({"/v1/meta": {"version": "1.30"}, "/": {"links": {}}}),
    "a web server": lambda: an_engine({"/": "<html>It works!</html>"}),
    "a server that says yes to everything": lambda: an_engine(
        {path: {"ok": True} for path in ("/", "/props", "/v1/models", "/api/tags", "/info", "/v1/config", "/v2")}
    ),
    "a server that redirects": lambda: an_engine(
        {path: Says(b"", 302, {"Location": "http://127.0.0.1:1/"}) for path in ("/", "/v1/models", "/api/tags")}
    ),
    "a list of something else": lambda: an_engine({"/v1/models": {"object": "list", "data": [{"name": "car"}]}}),
    "an engine that wants a key": lambda: an_engine(
        {"/v1/models": Says({"error": {"message": "Invalid API Key"}}, 401), "/props": Says({"error": {}}, 401)}
    ),
}
"""Servers on the same ports that are no backends."""
