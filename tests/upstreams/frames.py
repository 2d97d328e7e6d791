"""Streams as llama-server and Ollama send them, shortened, with a comment and unknown fields among them."""


def _event(*parts: str) -> bytes:
    return f"data: {''.join(parts)}\n\n".encode()


def _line(*parts: str) -> bytes:
    return f"{''.join(parts)}\n".encode()


OPENAI_FRAMES = (
    _event(
        '{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1,',
        '"id":"chatcmpl-F","model":"tiny","object":"chat.completion.chunk"}',
    ),
    _event(
        '{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Grüß"}}],"created":1,"model":"tiny",',
        '"unknown":{"b":1,"a":2}}',
    ),
    b": keepalive 1/1\n\n",
    _event('{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" Gott"}}],"model":"tiny"}'),
    _event('{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1,"model":"tiny"}'),
    _event(
        '{"choices":[],"model":"tiny","usage":{"completion_tokens":2,"prompt_tokens":23,"total_tokens":25,',
        '"prompt_tokens_details":{"cached_tokens":22}}}',
    ),
    _event("[DONE]"),
)
OLLAMA_FRAMES = (
    _line(
        '{"model":"tiny","created_at":"2026-11-20T11:58:25.1Z","message":{"role":"assistant","content":"Grüß"},',
        '"done":false}',
    ),
    _line(
        '{"model":"tiny","created_at":"2026-11-20T11:58:25.2Z","message":{"role":"assistant","content":" Gott"},',
        '"done":false}',
    ),
    _line(
        '{"model":"tiny","created_at":"2026-11-20T11:58:25.3Z","message":{"role":"assistant","content":""},"done":true,',
        '"done_reason":"stop","total_duration":9,"load_duration":1,"prompt_eval_count":23,"prompt_eval_duration":3,',
        '"eval_count":2,"eval_duration":5}',
    ),
)
OPENAI_STREAM = b"".join(OPENAI_FRAMES)
OLLAMA_STREAM = b"".join(OLLAMA_FRAMES)
