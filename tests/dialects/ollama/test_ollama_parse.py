"""Routing learns at once what it needs of a request; the rest is read when it is asked for."""

from collections.abc import Callable

import msgspec
import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Api,
    Audio,
    Chat,
    Completion,
    Embedding,
    Hints,
    Image,
    Json,
    JsonObject,
    JsonSchema,
    LoadAction,
    Message,
    Operation,
    Request,
    Text,
    ToolCall,
)
from ollama_proxyd.dialects.ollama import chat, embed, generate
from ollama_proxyd.dialects.ollama.bodies import MOST_EXPLAINED_BYTES

Parse = Callable[[bytes, Hints], Request]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
WAV = "UklGRgAAAABXQVZFZm10IA=="
WEBP = "UklGRgAAAABXRUJQVlA4IA=="
HELLO = {"role": "user", "content": "hello"}

each_call = pytest.mark.parametrize(
    ("parse", "go_name"),
    [
        (chat.parse, "ChatRequest"),
        (generate.parse, "GenerateRequest"),
        (embed.parse, "EmbedRequest"),
        (embed.parse_legacy, "EmbeddingRequest"),
    ],
)


def parsed(parse: Parse, **fields: Json) -> Request:
    return parse(msgspec.json.encode({"model": "tiny", **fields}), Hints())


def refused(parse: Parse, body: bytes) -> str:
    with pytest.raises(ProxyError) as caught:
        parse(body, Hints())
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    return caught.value.message


def chat_content(**fields: Json) -> Chat:
    content = parsed(chat.parse, **fields).content()
    assert isinstance(content, Chat)
    return content


def completion_content(**fields: Json) -> Completion:
    content = parsed(generate.parse, **fields).content()
    assert isinstance(content, Completion)
    return content


def embedding_content(parse: Parse, **fields: Json) -> Embedding:
    content = parsed(parse, **fields).content()
    assert isinstance(content, Embedding)
    return content


@each_call
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_a_missing_body_is_called_missing(parse: Parse, go_name: str, body: bytes) -> None:
    assert refused(parse, body) == "missing request body"


@each_call
def test_a_body_that_is_no_object_is_refused_by_ollamas_own_type_name(parse: Parse, go_name: str) -> None:
    assert refused(parse, b"5") == f"json: cannot unmarshal number into Go value of type api.{go_name}"


@each_call
def test_a_field_of_the_wrong_type_is_named_with_both_types(parse: Parse, go_name: str) -> None:
    want = f"json: cannot unmarshal number into Go struct field {go_name}.model of type string"
    assert refused(parse, b'{"model":5}') == want
    want = f"json: cannot unmarshal array into Go struct field {go_name}.options of type map[string]interface {{}}"
    assert refused(parse, b'{"model":"m","options":[]}') == want


@each_call
def test_hostile_bodies_are_refused_like_any_other(parse: Parse, go_name: str) -> None:
    assert refused(parse, b'{"model":"m","options":' + b"[" * 100_000)
    assert refused(parse, b'{"model":"\xff"}') == "the request body holds text that is not valid UTF-8"
    assert refused(parse, b'{"model":"m","options":{"a":1e999}}')


def test_items_of_a_list_are_named_without_their_place() -> None:
    want = "json: cannot unmarshal number into Go struct field ChatRequest.messages of type api.Message"
    assert refused(chat.parse, b'{"model":"m","messages":[5]}') == want


def test_content_of_the_wrong_type_is_refused_when_it_is_read() -> None:
    request = parsed(chat.parse, messages=[{"role": "user", "content": ["hello"]}])
    with pytest.raises(ProxyError, match=r"cannot unmarshal array into .* ChatRequest\.messages\.content"):
        request.content()


@pytest.mark.parametrize("parse", [chat.parse, embed.parse_legacy])
def test_chat_and_the_older_embeddings_ask_for_a_model(parse: Parse) -> None:
    assert refused(parse, b"{}") == "model is required"


@pytest.mark.parametrize("parse", [generate.parse, embed.parse])
def test_generate_and_embed_do_not_find_a_model_without_a_name(parse: Parse) -> None:
    with pytest.raises(ProxyError, match="model '' not found") as caught:
        parse(b'{"model":null}', Hints())
    assert caught.value.kind is ErrorKind.MODEL_NOT_FOUND


def test_a_chat_tells_routing_what_it_needs() -> None:
    hints = Hints(target="npu")
    body = msgspec.json.encode({"model": "tiny", "messages": [HELLO], "options": {"num_predict": 9}})
    request = chat.parse(body, hints)
    assert (request.operation, request.api, request.endpoint) == (Operation.CHAT, Api.OLLAMA, "chat")
    assert (request.model, request.max_tokens, request.hints) == ("tiny", 9, hints)
    assert request.body is body
    assert request.prompt_tokens == len(body) // 4
    assert request.load_action is None
    assert not request.needs_vision


@pytest.mark.parametrize(("given", "streams"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])
def test_an_answer_streams_unless_the_client_says_otherwise(given: dict[str, Json], streams: bool) -> None:
    assert parsed(chat.parse, messages=[HELLO], **given).stream is streams
    assert parsed(generate.parse, prompt="x", **given).stream is streams


@pytest.mark.parametrize("nothing", [{}, {"messages": []}, {"messages": None}])
def test_a_chat_without_messages_loads_its_model_and_is_answered_whole(nothing: dict[str, Json]) -> None:
    request = parsed(chat.parse, **nothing)
    assert (request.load_action, request.stream) == (LoadAction.LOAD, False)


@pytest.mark.parametrize("nothing", [{}, {"prompt": ""}, {"prompt": None}])
def test_a_generate_without_a_prompt_loads_its_model_and_is_answered_whole(nothing: dict[str, Json]) -> None:
    request = parsed(generate.parse, **nothing)
    assert (request.load_action, request.stream) == (LoadAction.LOAD, False)


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0s"])
def test_nothing_to_say_and_nothing_to_keep_unloads(zero: Json) -> None:
    assert parsed(chat.parse, messages=[], keep_alive=zero).load_action is LoadAction.UNLOAD
    assert parsed(generate.parse, keep_alive=zero).load_action is LoadAction.UNLOAD
    assert parsed(generate.parse, prompt="x", keep_alive=zero).load_action is None


@pytest.mark.parametrize("nothing", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_an_embed_without_texts_loads_its_model(nothing: dict[str, Json]) -> None:
    assert parsed(embed.parse, **nothing).load_action is LoadAction.LOAD


def test_images_need_vision_and_do_not_count_as_prompt() -> None:
    request = parsed(chat.parse, messages=[HELLO | {"images": [PNG * 100]}])
    assert request.needs_vision
    assert request.prompt_tokens < 50
    assert parsed(generate.parse, prompt="x", images=[PNG]).needs_vision


@pytest.mark.parametrize("none", [b"null", b"[]", b"[ \n ]"])
def test_an_empty_list_of_images_needs_no_vision(none: bytes) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x","images":%s}]}' % none
    assert not chat.parse(body, Hints()).needs_vision
    assert not generate.parse(b'{"model":"m","prompt":"x","images":%s}' % none, Hints()).needs_vision


def test_raw_mode_refuses_what_a_template_would_need() -> None:
    for field in ({"system": "s"}, {"template": "t"}, {"context": [1]}):
        body = msgspec.json.encode({"model": "m", "prompt": "x", "raw": True, **field})
        assert refused(generate.parse, body) == "raw mode does not support template, system, or context"
    assert parsed(generate.parse, prompt="x", raw=True, system="", template="", context=[]).load_action is None


def test_a_chat_is_read_in_full() -> None:
    schema = {"type": "object"}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    content = chat_content(
        messages=[HELLO],
        tools=[tool],
        format=schema,
        think="high",
        logprobs=True,
        top_logprobs=0,
        options={"temperature": 0},
        keep_alive="5m",
        truncate=False,
    )
    assert content.messages == (Message("user", (Text("hello"),)),)
    assert (content.tools, content.format, content.think) == ((tool,), JsonSchema(schema), "high")
    assert (content.logprobs, content.top_logprobs) == (True, 0)
    assert content.options.known == {"temperature": 0, "keep_alive": "5m", "truncate": False}
    assert content.options.unknown == {}


def test_unknown_fields_are_kept_in_the_clients_order() -> None:
    content = chat_content(messages=[HELLO], zebra=1, alpha=None)
    assert list(content.options.unknown.items()) == [("zebra", 1), ("alpha", None)]


def test_a_message_without_content_differs_from_an_empty_one() -> None:
    messages = chat_content(messages=[{"role": "assistant"}, {"role": "assistant", "content": ""}]).messages
    assert [message.parts for message in messages] == [None, (Text(""),)]


def test_roles_are_lower_cased_and_any_is_taken() -> None:
    assert [m.role for m in chat_content(messages=[HELLO | {"role": "User"}, {"role": "wizard"}]).messages] == [
        "user",
        "wizard",
    ]


def test_tool_calls_keep_the_models_own_order_and_numbers() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c1","function":{"name":"f","arguments":'
        b'{"z": 1.0, "a": 12345678901234567890123}}},{"function":{"name":"g"}}]},'
        b'{"role":"tool","content":"ok","tool_name":"f","tool_call_id":"c1"}]}'
    )
    content = chat.read_content(body)
    assert content.messages[0].tool_calls == (
        ToolCall("f", '{"z": 1.0, "a": 12345678901234567890123}', "c1"),
        ToolCall("g", "{}", None),
    )
    assert content.messages[1] == Message("tool", (Text("ok"),), tool_call_id="c1", name="f")


def test_arguments_must_be_an_object() -> None:
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    with pytest.raises(ProxyError, match="must be a JSON object"):
        chat_content(messages=[message])


def test_pictures_and_sounds_are_told_apart() -> None:
    (message,) = chat_content(messages=[HELLO | {"images": [PNG, WAV, WEBP, "AAAA"]}]).messages
    assert message.parts == (
        Text("hello"),
        Image(PNG, "image/png"),
        Audio(WAV, "wav"),
        Image(WEBP, "image/webp"),
        Image("AAAA", None),
    )


def test_a_generate_is_read_in_full() -> None:
    content = completion_content(
        prompt="p",
        suffix="",
        system="s",
        template="t",
        context=[1, 2],
        images=[PNG],
        format="json",
        think=False,
        options={"stop": ["x"]},
    )
    assert (content.prompt, content.raw, content.suffix) == ("p", False, "")
    assert (content.system, content.template, content.context) == ("s", "t", (1, 2))
    assert (content.images, content.format, content.think) == ((Image(PNG, "image/png"),), JsonObject(), False)
    assert content.options.known == {"stop": ["x"]}


def test_what_a_generate_does_not_say_is_absent() -> None:
    assert completion_content(prompt="p") == Completion("p", raw=False)


def test_an_embed_of_one_text_differs_from_a_list_of_one() -> None:
    assert embedding_content(embed.parse, input="a") == Embedding(("a",), single=True)
    assert embedding_content(embed.parse, input=["a"]) == Embedding(("a",), single=False)


def test_an_embed_takes_dimensions_and_lists_what_it_does_not_know() -> None:
    options = embedding_content(embed.parse, input="a", dimensions=8, truncate=False, extra=1).options
    assert (options.known, options.unknown) == ({"dimensions": 8, "truncate": False}, {"extra": 1})


def test_the_older_embeddings_gives_one_vector_as_it_is() -> None:
    content = embedding_content(embed.parse_legacy, prompt="a", options={"num_ctx": 9})
    assert content.inputs == ("a",)
    assert content.single
    assert not content.normalized
    assert content.options.known == {"num_ctx": 9}


@pytest.mark.parametrize("given", [5, {"a": 1}, ["a", 5], True])
def test_only_texts_can_be_embedded(given: Json) -> None:
    body = msgspec.json.encode({"model": "m", "input": given})
    assert refused(embed.parse, body) == "invalid input type"


def test_keep_alive_for_ever_is_not_zero() -> None:
    assert parsed(generate.parse, keep_alive=-1).load_action is LoadAction.LOAD
    assert parsed(chat.parse, messages=[], keep_alive="-1m").load_action is LoadAction.LOAD


@pytest.mark.parametrize("data", ["!!!", "", "aGk", "aGk=aGk=", "a-_k", "data:image/png;base64,aGk="])
def test_images_that_are_no_base64_are_named_where_they_are_read(data: str) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "images": ["aGk=", data]}]
    asked = chat.parse(msgspec.json.encode({"model": "m", "messages": messages}), Hints())
    with pytest.raises(ProxyError) as caught:
        asked.content()
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "messages[1].images[1]")
    assert "messages[1].images[1]" in caught.value.message
    asked = generate.parse(msgspec.json.encode({"model": "m", "prompt": "a", "images": [data]}), Hints())
    with pytest.raises(ProxyError, match="images\\[0\\] is not base64") as caught:
        asked.content()
    assert caught.value.param == "images[0]"


def test_base64_in_lines_is_read_as_one() -> None:
    asked = generate.parse(msgspec.json.encode({"model": "m", "prompt": "a", "images": ["aGk\r\n=\n"]}), Hints())
    content = asked.content()
    assert isinstance(content, Completion)
    assert content.images == (Image("aGk="),)


def test_a_large_body_that_is_not_json_is_refused_in_fewer_words() -> None:
    small, large = b'{"model":"tiny","x":[0 1', b'{"model":"tiny","x":"' + b"a" * MOST_EXPLAINED_BYTES + b'",'
    with pytest.raises(ProxyError, match="invalid character '1' after array element"):
        chat.parse(small, Hints())
    with pytest.raises(ProxyError, match="the request body is not JSON: Input data was truncated"):
        chat.parse(large, Hints())
