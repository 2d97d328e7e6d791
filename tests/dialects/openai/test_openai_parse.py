"""What a client of OpenAI's API asks for, read strictly and only as far as routing needs."""

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import Api, Hints, Operation
from ollama_proxyd.dialects.openai.parse import parse_chat, parse_completion, parse_embedding
from tests.dialects.openai.openai_samples import body_of, encoded, openai_chat

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def refusal(body: bytes) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        parse_chat(body, Hints())
    return caught.value


def image(url: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]


def test_routing_learns_what_it_needs_and_the_bytes_stay_the_clients() -> None:
    body = body_of(stream=True, stream_options={"include_usage": True}, max_tokens=7, nobody_knows=1)
    request = parse_chat(body, Hints(target="npu"))
    assert (request.operation, request.api, request.endpoint) == (Operation.CHAT, Api.OPENAI, "chat")
    assert (request.model, request.stream, request.wants_usage, request.max_tokens) == ("tiny", True, True, 7)
    assert request.hints.target == "npu"
    assert request.body is body
    assert request.prompt_tokens == len(body) // 4


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert openai_chat(max_tokens=7, max_completion_tokens=3).max_tokens == 3
    assert openai_chat(max_tokens=7, max_completion_tokens=None).max_tokens == 7


def test_a_negative_limit_is_no_limit() -> None:
    assert openai_chat(max_tokens=-1).max_tokens is None
    assert openai_chat(max_tokens=0).max_tokens == 0


def test_content_is_parsed_once_and_only_on_demand() -> None:
    request = openai_chat(temperature="hot")
    with pytest.raises(ProxyError):
        request.content()
    good = openai_chat()
    assert good.content() is good.content()


@pytest.mark.parametrize("messages", [[], None])
def test_a_chat_without_messages_is_refused_in_ollamas_words(messages: object) -> None:
    error = refusal(body_of(messages=messages))
    assert (error.kind, error.message) == (ErrorKind.INVALID_REQUEST, "[] is too short - 'messages'")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(fields: dict[str, object], param: str) -> None:
    error = refusal(body_of(**fields))
    assert error.kind is ErrorKind.INVALID_REQUEST
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize("content", [5, True, {"text": "hi"}])
def test_content_that_is_neither_text_nor_parts_is_refused(content: object) -> None:
    assert refusal(body_of(messages=[{"role": "user", "content": content}])).message.startswith(
        "invalid message content type"
    )


@pytest.mark.parametrize("content", ["hi", None, [], [{"type": "text", "text": "hi"}]])
def test_text_null_and_parts_are_content(content: object) -> None:
    assert not openai_chat(messages=[{"role": "user", "content": content}]).needs_vision


def test_an_image_needs_vision_and_its_bytes_are_not_counted_as_prompt() -> None:
    small = openai_chat(messages=image({"url": PIXEL}))
    large = openai_chat(messages=image({"url": PIXEL + "A" * 400_000}))
    assert small.needs_vision
    assert large.prompt_tokens == small.prompt_tokens


@pytest.mark.parametrize(
    "url",
    [
        {"url": "http://x/y.png"},
        {"url": "ftp://x/y.png", "detail": "low"},
        "https:/x/y.png",
        {"url": "file:///etc/passwd"},
        " http://x",
        "http\\u003a//x",
    ],
)
def test_an_image_that_would_have_to_be_fetched_is_refused(url: object) -> None:
    body = body_of(messages=image(url)).replace(b"\\\\u003a", b"\\u003a")
    error = refusal(body)
    assert error.kind is ErrorKind.INVALID_REQUEST
    assert error.message.startswith("image URLs are not currently supported, please use base64 encoded data instead")
    assert "messages[0].content[0].image_url" in error.message
    assert error.param is None, "as a real Ollama leaves it"


@pytest.mark.parametrize("url", [{"url": "https://x/y.png", "detail": "low"}, "HTTPS://x/y.png", "https\\u003a//x"])
def test_an_https_image_is_for_a_backend_that_fetches_it(url: object) -> None:
    body = body_of(messages=image(url)).replace(b"\\\\u003a", b"\\u003a")
    request = parse_chat(body, Hints())
    assert request.has_image_urls
    assert request.needs_vision
    with pytest.raises(ProxyError, match="image URLs are not currently supported"):
        request.content()
    assert not openai_chat(messages=image({"url": PIXEL})).has_image_urls


@pytest.mark.parametrize("kind", ["video_url", "audio_url", "file"])
def test_no_other_media_may_be_https(kind: str) -> None:
    part = {"type": kind, kind: {"url": "https://x/y"}}
    assert refusal(body_of(messages=[{"role": "user", "content": [part]}])).kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize("kind", ["video_url", "audio_url"])
def test_no_other_media_are_fetched_either(kind: str) -> None:
    part = {"type": kind, kind: {"url": "http://127.0.0.1:1/secret"}}
    error = refusal(body_of(messages=[{"role": "user", "content": [part]}]))
    assert error.message.startswith(kind.removesuffix("_url"))


def test_an_escaped_key_hides_no_address() -> None:
    body = body_of(messages=image({"url": "http://x"})).replace(b'"image_url":{', b'"image\\u005furl":{')
    assert refusal(body).kind is ErrorKind.INVALID_REQUEST


def test_an_image_in_plain_base64_is_taken() -> None:
    assert openai_chat(messages=image({"url": "iVBORw0KGgo="})).needs_vision


def test_a_completion_needs_a_prompt() -> None:
    with pytest.raises(ProxyError, match="prompt is required") as caught:
        parse_completion(b'{"model":"tiny"}', Hints())
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("prompt", ["hi", ["a", "b"], [1, 2, 3], [[1], [2]]])
def test_a_completions_prompt_may_be_text_tokens_or_lists_of_them(prompt: object) -> None:
    request = parse_completion(encoded({"model": "tiny", "prompt": prompt, "stream": True}), Hints())
    assert (request.operation, request.endpoint, request.stream) == (Operation.COMPLETION, "completions", True)


@pytest.mark.parametrize("given", [{}, {"input": []}, {"input": None}])
def test_an_embedding_needs_input(given: dict[str, object]) -> None:
    with pytest.raises(ProxyError, match="invalid input"):
        parse_embedding(encoded({"model": "tiny", **given}), Hints())


def test_an_embedding_is_never_streamed_and_its_encoding_is_known() -> None:
    assert not parse_embedding(b'{"model":"m","input":"a","stream":true}', Hints()).stream
    with pytest.raises(ProxyError) as caught:
        parse_embedding(b'{"model":"m","input":"a","encoding_format":"hex"}', Hints())
    assert caught.value.param == "encoding_format"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/pki/key", "etc/passwd", "../x", "C\\x", "\\\\host\\share", "", "?"]
)
@pytest.mark.parametrize("key", ["image_url", "video_url", "audio_url", "file"])
def test_a_path_is_no_media_whoever_answers(path: str, key: str) -> None:
    for value in (path, {"url": path}):
        part = {"type": key, key: value}
        error = refusal(body_of(messages=[{"role": "user", "content": [part]}]))
        assert error.kind is ErrorKind.INVALID_REQUEST
        assert error.param == f"messages[0].content[0].{key}"


@pytest.mark.parametrize("data", [PIXEL, "iVBORw0KGgo=", "/9j/4AAQSkZJRg==", "Qk1+\n+/8="])
def test_media_are_base64_with_or_without_a_head(data: str) -> None:
    assert parse_chat(body_of(messages=image(data)), Hints()).needs_vision
