"""What engines say when they refuse or fail, and what each of it speaks of."""

import pytest

from ollama_proxyd.core.errors import BAD_CALL, DEADLINE_EXCEEDED, ENGINE_ENDED, UNREACHABLE, ErrorKind, ProxyError
from ollama_proxyd.core.faults import REFUSALS, Fault, fault_in, fault_of

SHAPES: tuple[tuple[str, int, str, Fault], ...] = (
    # Ollama
    ("ollama", 404, """{"error":"model 'x' not found"}""", Fault.MODEL_GONE),
    ("ollama", 404, """{"error":"model \\"x\\" not found, try pulling it first"}""", Fault.MODEL_GONE),
    ("ollama", 400, """{"error":"\\"m\\" does not support chat"}""", Fault.NO_OPERATION),
    ("ollama", 400, """{"error":"\\"m\\" does not support generate"}""", Fault.NO_OPERATION),
    ("ollama", 400, """{"error":"registry.ollama.ai/library/m:latest does not support tools"}""", Fault.NO_TOOLS),
    ("ollama", 400, """{"error":"\\"m\\" does not support thinking"}""", Fault.NO_FEATURE),
    ("ollama", 400, """{"error":"the input length exceeds the context length"}""", Fault.CONTEXT_TOO_SMALL),
    ("ollama", 400, """{"error":"input exceeds maximum context length"}""", Fault.CONTEXT_TOO_SMALL),
    ("ollama", 401, """{"error":"unauthorized","signin_url":"https://x"}""", Fault.KEY_REJECTED),
    (
        "ollama",
        500,
        """{"error":"model requires more system memory (9.1 GiB) than is available (4.2 GiB)"}""",
        Fault.OUT_OF_MEMORY,
    ),
    (
        "ollama",
        500,
        """{"error":"llama runner process has terminated: cudaMalloc failed: out of memory"}""",
        Fault.OUT_OF_MEMORY,
    ),
    ("ollama", 500, """{"error":"llama runner process has terminated: CUDA error"}""", Fault.DEVICE_LOST),
    ("ollama", 500, """{"error":"unable to load model: /blobs/sha256-1"}""", Fault.NOT_LOADED),
    (
        "ollama",
        501,
        """{"error":"This server does not support embeddings. Start it with `--embeddings`"}""",
        Fault.NO_OPERATION,
    ),
    (
        "ollama",
        503,
        """{"error":"server busy, please try again.  maximum pending requests exceeded"}""",
        Fault.BUSY,
    ),
    # llama-server
    (
        "llamacpp",
        400,
        """{"error":{"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    (
        "llamacpp",
        500,
        """{"error":{"code":500,"message":"input is too large to process. increase the physical batch size"}}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    (
        "llamacpp",
        501,
        """{"error":{"code":501,"message":"This server does not support embeddings","type":"not_supported_error"}}""",
        Fault.NO_OPERATION,
    ),
    (
        "llamacpp",
        503,
        """{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}""",
        Fault.BUSY,
    ),
    ("llamacpp", 503, """{"error":{"message":"no slot available"}}""", Fault.BUSY),
    ("llamacpp", 401, """{"error":{"message":"Invalid API Key","type":"authentication_error"}}""", Fault.KEY_REJECTED),
    ("llamacpp", 500, """{"error":{"message":"tools param requires --jinja flag"}}""", Fault.NO_TOOLS),
    (
        "llamacpp",
        500,
        """{"error":{"message":"image input is not supported - hint: you may need to provide the mmproj"}}""",
        Fault.NO_VISION,
    ),
    ("llamacpp router", 400, """{"error":{"message":"model 'x' not found"}}""", Fault.MODEL_GONE),
    ("llamacpp router", 400, """{"error":{"message":"model is not loaded"}}""", Fault.NOT_LOADED),
    (
        "llama_cpp_python",
        400,
        """{"error":{"message":"Requested tokens (5000) exceed context window of 2048"}}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    (
        "llama_cpp_python",
        500,
        """{"error":{"message":"Llama model must be created with embedding=True to call this method"}}""",
        Fault.NO_OPERATION,
    ),
    # vLLM, SGLang, TGI, LMDeploy
    ("vllm", 404, """{"object":"error","message":"The model `x` does not exist.","code":404}""", Fault.MODEL_GONE),
    (
        "vllm",
        400,
        """{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    (
        "vllm",
        400,
        """{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}""",
        Fault.NO_TOOLS,
    ),
    # vLLM 0.32.0
    (
        "vllm",
        404,
        """{"error":{"message":"The model `nope` does not exist. Valid aliases: tiny-a.","type":"NotFoundError"}}""",
        Fault.MODEL_GONE,
    ),
    (
        "vllm",
        400,
        """{"error":{"message":"max_tokens=9000 cannot be greater than max_model_len=8192. Please request fewer"}}""",
        Fault.NO_FEATURE,
    ),
    (
        "vllm",
        400,
        """{"error":{"message":"This model's maximum context length is 8192 tokens. However, your"}}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    (
        "vllm",
        400,
        """{"error":{"message":"tool_choice=\\"required\\" requires --tool-call-parser to be set","code":400}}""",
        Fault.NO_TOOLS,
    ),
    ("vllm", 400, """{"error":{"message":"tiny-a is not a multimodal model","code":400}}""", Fault.NO_VISION),
    ("vllm", 404, """{"detail":"Not Found"}""", Fault.NO_OPERATION),
    ("vllm", 401, """{"error":"Unauthorized"}""", Fault.KEY_REJECTED),
    ("vllm", 400, """{"message":"The model does not support Embeddings API"}""", Fault.NO_OPERATION),
    ("vllm", 400, """{"message":"The model does not support Chat Completions API"}""", Fault.NO_OPERATION),
    ("vllm", 400, """{"message":"x is not a multimodal model"}""", Fault.NO_VISION),
    ("vllm", 400, """{"message":"At most 0 image(s) may be provided in one request."}""", Fault.NO_VISION),
    (
        "sglang",
        400,
        """{"message":"The input (9000 tokens) is longer than the model's context length (4096 tokens)."}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    ("tgi", 429, """{"error":"Model is overloaded","error_type":"overloaded"}""", Fault.BUSY),
    (
        "tgi",
        422,
        """{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9000"}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    # LM Studio, KoboldCpp, Lemonade, LocalAI, OVMS, text-generation-webui, mlx, transformers
    ("lmstudio", 404, """{"error":{"message":"No models loaded. Please load a model"}}""", Fault.NOT_LOADED),
    ("lmstudio", 400, """{"error":"Failed to load model \\"x\\". Error: exit"}""", Fault.NOT_LOADED),
    ("lmstudio", 400, """{"error":"Invalid model identifier \\"x\\"."}""", Fault.MODEL_GONE),
    ("lmstudio", 400, """{"error":"Model unloaded."}""", Fault.NOT_LOADED),
    (
        "lmstudio",
        400,
        """{"error":"Trying to keep the first 9000 tokens when context the overflows."}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    ("koboldcpp", 503, """{"detail":{"msg":"Server is busy; please try again later."}}""", Fault.BUSY),
    ("lemonade", 501, """{"error":"not implemented"}""", Fault.NO_OPERATION),
    ("localai", 500, """{"error":{"message":"could not load model: rpc error"}}""", Fault.NOT_LOADED),
    ("ovms", 404, """{"error":"Mediapipe graph definition with requested name is not found"}""", Fault.MODEL_GONE),
    ("text_generation_webui", 500, """{"error":"No model is loaded"}""", Fault.NOT_LOADED),
    # mlx_lm.server 0.32.2 says with a 404 whatever befalls a request; a route that it lacks is plain text.
    ("mlx", 404, "Not Found", Fault.NO_OPERATION),
    ("mlx", 404, """{"error": "generation thread died"}""", Fault.SERVER_ERROR),
    ("mlx", 404, """{"error": "Only 'text' content type is supported."}""", Fault.NO_VISION),
    ("mlx", 404, """{"error": "Conversation roles must alternate user/assistant/user"}""", Fault.NO_FEATURE),
    (
        "mlx",
        404,
        """{"error": "Cannot find an appropriate cached snapshot folder for the specified revision"}""",
        Fault.MODEL_GONE,
    ),
    ("another of its kind", 404, """{"error":"Not Found"}""", Fault.NO_OPERATION),
    ("transformers", 404, """{"detail":"Not Found"}""", Fault.NO_OPERATION),
    ("an imitator", 405, """405 method not allowed""", Fault.NO_OPERATION),
    # The cloud
    (
        "openai",
        404,
        """{"error":{"message":"The model `x` does not exist or you do not have access","code":"model_not_found"}}""",
        Fault.MODEL_GONE,
    ),
    ("openai", 400, """{"error":{"code":"context_length_exceeded","message":"too long"}}""", Fault.CONTEXT_TOO_SMALL),
    (
        "openai",
        429,
        """{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}""",
        Fault.NO_CREDIT,
    ),
    ("openai", 429, """{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached"}}""", Fault.BUSY),
    ("openai", 401, """{"error":{"code":"invalid_api_key"}}""", Fault.KEY_REJECTED),
    ("openrouter", 402, """{"error":{"message":"Insufficient credits"}}""", Fault.NO_CREDIT),
    ("anthropic", 400, """{"error":{"message":"Your credit balance is too low"}}""", Fault.NO_CREDIT),
    ("anthropic", 529, """{"error":{"type":"overloaded_error"}}""", Fault.BUSY),
    (
        "anthropic",
        400,
        """{"error":{"message":"prompt is too long: 9000 tokens > 4096 maximum"}}""",
        Fault.CONTEXT_TOO_SMALL,
    ),
    # Whatever stands before one
    ("nginx", 502, "<html><h1>502 Bad Gateway</h1></html>", Fault.SERVER_ERROR),
    ("nginx", 504, "<html><h1>504 Gateway Time-out</h1></html>", Fault.STALLED),
    ("nothing said", 500, "", Fault.SERVER_ERROR),
    ("nothing said", 418, "", Fault.SERVER_ERROR),
    ("nothing said", 999, "", Fault.SERVER_ERROR),
    ("nothing said", 503, "", Fault.SERVER_ERROR),
)

OF_THE_REQUEST: tuple[tuple[int, str], ...] = (
    (400, """{"error":"invalid think value"}"""),
    (400, """{"error":"top_logprobs must be between 0 and 20"}"""),
    (400, """{"error":{"message":"temperature must be a number","param":"temperature"}}"""),
    (400, """{"error":{"message":"'messages' is a required property"}}"""),
    (400, """{"error":{"message":"max_tokens is too large: 100000"}}"""),
    (400, """{"error":"json: cannot unmarshal string into Go struct field"}"""),
    (413, "Payload Too Large"),
    (422, """{"detail":[{"loc":["body","temperature"],"msg":"field required"}]}"""),
    (409, "conflict"),
    (500, """{"error":"option \\"temperature\\" must be of type float32"}"""),
    (500, """{"error":"invalid format: \\"xml\\""}"""),
    (500, """{"error":{"message":"Failed to parse grammar"}}"""),
    (500, """{"error":{"message":"JSON schema conversion failed"}}"""),
    (500, """{"error":{"message":"Failed to parse tools: Unsupported tool type: {\\"type\\":\\"custom\\"}"}}"""),
    (
        500,
        """{"error":{"message":"Failed to parse tools: Missing tool type; tools = ['is it busy', 1]"}}""",
    ),
    (
        500,
        """{"error":{"message":"Failed to parse tool call arguments as JSON: parse error at line 1: busy"}}""",
    ),
    (500, """{"error":{"message":"[json.exception.type_error.302] type must be number, but is string"}}"""),
    (500, """{"error":{"code":500,"message":"vector::_M_default_append","type":"server_error"}}"""),
)


@pytest.mark.parametrize(("engine", "status", "words", "fault"), SHAPES)
def test_the_words_of_each_engine_are_understood(engine: str, status: int, words: str, fault: Fault) -> None:
    assert fault_in(status, words) is fault, engine
    of_upstream = ErrorKind.UPSTREAM_REJECTED if fault in REFUSALS else ErrorKind.UPSTREAM_FAILED
    assert fault_of(ProxyError(of_upstream, "x", status=status, detail=words)) is fault


@pytest.mark.parametrize(("status", "words"), OF_THE_REQUEST)
def test_a_bad_field_stays_the_clients(status: int, words: str) -> None:
    assert fault_in(status, words) is None


def test_a_503_that_says_when_to_come_back_is_busy() -> None:
    assert fault_in(503, "", asks_for_patience=True) is Fault.BUSY


@pytest.mark.parametrize(
    ("failure", "fault"),
    [
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", code=UNREACHABLE), Fault.REFUSED),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off"), Fault.RESET),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "broke off", code=ENGINE_ENDED), Fault.PROCESS_ENDED),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", status=200), Fault.SERVER_ERROR),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", status=302), Fault.SERVER_ERROR),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "", detail="CUDA error: device lost"), Fault.DEVICE_LOST),
        (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, ""), Fault.STALLED),
        (ProxyError(ErrorKind.UPSTREAM_TIMEOUT, "", code=DEADLINE_EXCEEDED), None),
        (ProxyError(ErrorKind.UPSTREAM_FAILED, "the model called no tool", code=BAD_CALL), None),
        (ProxyError(ErrorKind.UPSTREAM_REJECTED, "", status=400), None),
        (ProxyError(ErrorKind.UNSUPPORTED, "does not support tools"), None),
        (ProxyError(ErrorKind.UNAVAILABLE, "", code="cut_off"), None),
    ],
)
def test_a_failure_without_a_status_is_told_by_its_kind(failure: ProxyError, fault: Fault | None) -> None:
    assert fault_of(failure) is fault


def test_words_of_any_length_are_looked_at_in_a_bounded_part() -> None:
    assert fault_in(400, "x" * 10_000_000 + "out of memory") is None
