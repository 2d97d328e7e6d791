"""A request reaches an Ollama backend as the client's own bytes, or translated without a silent loss."""

import msgspec
import pytest

from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Api,
    Audio,
    Chat,
    Completion,
    Content,
    Embedding,
    Hints,
    Image,
    Json,
    JsonObject,
    JsonSchema,
    Message,
    Operation,
    Options,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from ollama_proxyd.dialects.framing.gathering import joined
from ollama_proxyd.dialects.ollama.dialect import Ollama
from ollama_proxyd.dialects.ollama.options import DONE_HERE, LEFT_OUT, OPTION_BY_CANONICAL, TOP_LEVEL
from ollama_proxyd.dialects.ollama.parse import parse_chat, parse_embed, parse_embeddings
from ollama_proxyd.dialects.ollama.render import render
from ollama_proxyd.dialects.openai.parse import parse_chat as openai_parse_chat
from ollama_proxyd.dialects.openai.parse import parse_completion

HELLO = Message("user", (Text("hello"),))
TOOL = Tool("f", parameters={"type": "object", "properties": {}})


def foreign(content: Content, *, stream: bool = False) -> Request:
    operation = {Chat: Operation.CHAT, Completion: Operation.COMPLETION, Embedding: Operation.EMBEDDING}[type(content)]
    return Request(operation, Api.OPENAI, "any", "asked", stream, b"", lambda: content)


def sent(content: Content, *, stream: bool = False) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    rendered = render(foreign(content, stream=stream), "own")
    return rendered.path, msgspec.json.decode(rendered.body), rendered.ignored_fields


def talk(messages: tuple[Message, ...] = (HELLO,), **known: Json) -> Chat:
    return Chat(messages, options=Options(known=known))


def refused(content: Content) -> str | None:
    with pytest.raises(ProxyError) as caught:
        render(foreign(content), "own")
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert f"'{caught.value.param}'" in caught.value.message
    return caught.value.param


def test_an_ollama_clients_bytes_are_sent_as_they_are() -> None:
    body = b'{ "zebra":1, "model":"Tiny", "messages":[{"role":"user","content":"\\u0068i"}] }'
    rendered = render(parse_chat(body, Hints()), "tiny:latest")
    assert (rendered.path, rendered.ignored_fields) == ("/api/chat", ())
    assert rendered.body is body


def test_only_a_model_of_another_name_is_renamed() -> None:
    body = b'{"zebra": 1.0,"model":"alias","messages":[{"role":"user","content":"\\u0068i"}],"x":null}'
    rendered = render(parse_chat(body, Hints()), "tiny:latest")
    assert msgspec.json.decode(rendered.body) == msgspec.json.decode(body) | {"model": "tiny:latest"}
    assert list(msgspec.json.decode(rendered.body)) == ["zebra", "model", "messages", "x"]
    assert b'"\\u0068i"' in rendered.body
    assert b"1.0" in rendered.body


def test_each_of_ollamas_calls_goes_to_its_own_path() -> None:
    assert render(parse_embed(b'{"model":"m","input":"a"}', Hints()), "m").path == "/api/embed"
    assert render(parse_embeddings(b'{"model":"m","prompt":"a"}', Hints()), "m").path == "/api/embeddings"


def test_every_canonical_option_has_exactly_one_place() -> None:
    fates = [
        set(OPTION_BY_CANONICAL),
        TOP_LEVEL,
        {"user"},  # the answer is the same without it
        set(LEFT_OUT),
        DONE_HERE,
    ]
    assert set().union(*fates) == set(CANONICAL_OPTIONS)
    assert sum(map(len, fates)) == len(CANONICAL_OPTIONS)


def test_nothing_is_sent_that_the_client_did_not_say() -> None:
    want = {"model": "own", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    assert sent(talk()) == ("/api/chat", want, ())
    assert sent(Completion("p", raw=True)) == (
        "/api/generate",
        {"model": "own", "prompt": "p", "raw": True, "stream": False},
        (),
    )
    assert sent(Embedding(("a", "b"), single=False)) == ("/api/embed", {"model": "own", "input": ["a", "b"]}, ())


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}", '"{}"'])
def test_a_call_without_arguments_is_sent_with_an_empty_object(arguments: str) -> None:
    called = Message("assistant", (Text(""),), tool_calls=(ToolCall("f", arguments, "c1"),))
    (message,) = sent(talk((called,)))[1]["messages"]
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": {}}


@pytest.mark.parametrize("stream", [True, False])
def test_whether_to_stream_is_always_said(stream: bool) -> None:
    assert sent(talk(), stream=stream)[1]["stream"] is stream


@pytest.mark.parametrize(("canonical", "own"), sorted(OPTION_BY_CANONICAL.items()))
def test_settings_go_under_options_by_ollamas_names(canonical: str, own: str) -> None:
    assert sent(talk(**{canonical: 0}))[1]["options"] == {own: 0}


def test_a_null_asks_for_the_default_and_is_not_sent() -> None:
    _, body, ignored = sent(talk(temperature=None, keep_alive=None, max_tokens=0))
    assert body["options"] == {"num_predict": 0}
    assert "keep_alive" not in body
    assert ignored == ()


def test_settings_of_the_call_go_beside_the_model_where_it_has_them() -> None:
    _, body, ignored = sent(talk(keep_alive=0, truncate=False, shift=True, dimensions=8))
    assert (body["keep_alive"], body["truncate"], body["shift"]) == (0, False, True)
    assert ignored == ("dimensions",)
    embedding = Embedding(("a",), single=True, options=Options(known={"dimensions": 8, "shift": True}))
    assert sent(embedding)[1:] == ({"model": "own", "input": ["a"], "dimensions": 8}, ("shift",))


def test_fields_without_a_place_are_listed_as_ignored() -> None:
    content = Chat((HELLO,), options=Options(known={"user": "u"}, unknown={"metadata": {}, "store": False}))
    assert sent(content)[2] == ("user", "metadata", "store")


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 2), ("best_of", 3), ("logit_bias", {"1": 5})],
)
def test_what_ollamas_own_v1_leaves_out_is_left_out_and_named(name: str, value: Json) -> None:
    path, body, ignored = sent(talk(**{name: value}))
    assert (path, body) == sent(talk())[:2]
    assert ignored == (name,)


@pytest.mark.parametrize(
    "harmless",
    [{"n": 1}, {"n": None}, {"best_of": 1}, {"echo": False}, {"logit_bias": {}}],
)
def test_values_that_ask_for_nothing_pass_without_a_word(harmless: dict[str, Json]) -> None:
    assert sent(talk(**harmless)) == sent(talk())


def test_tools_are_sent_as_they_are() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    assert sent(Chat((HELLO,), tools=(TOOL,)))[1]["tools"] == [tool]


def test_forbidden_tools_are_not_sent() -> None:
    content = Chat((HELLO,), tools=(TOOL,), tool_choice=ToolChoice(ToolMode.NONE))
    assert "tools" not in sent(content)[1]


@pytest.mark.parametrize(("name", "names"), [(None, ["f", "g"]), ("f", ["f"]), ("g", ["g"])])
def test_of_a_tool_that_must_be_called_it_alone_is_sent_and_that_it_must_is_named_as_lost(
    name: str | None, names: list[str]
) -> None:
    choice = ToolChoice(ToolMode.REQUIRED, name)
    _, body, ignored = sent(Chat((HELLO,), tools=(TOOL, Tool("g")), tool_choice=choice))
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert ignored == ("tool_choice",)


def test_a_tool_that_must_be_called_and_is_not_there_is_the_clients_fault() -> None:
    choice = ToolChoice(ToolMode.REQUIRED, "h")
    with pytest.raises(ProxyError) as caught:
        sent(Chat((HELLO,), tools=(TOOL,), tool_choice=choice))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "tool_choice")


def test_what_is_done_to_the_answer_is_not_sent() -> None:
    alone = Options(known={"parallel_tool_calls": False, "echo": True})
    assert sent(Chat((HELLO,), options=alone)) == sent(talk())


def asked_of_openai(endpoint: str, **fields: Json) -> Request:
    parse = {"chat": openai_parse_chat, "completions": parse_completion}[endpoint]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "prompt": "hi", **fields}
    return parse(msgspec.json.encode(body), Hints())


def test_a_client_that_takes_one_call_at_a_time_gets_the_first() -> None:
    one = b'{"message":{"tool_calls":[{"function":{"name":"f"}},{"function":{"name":"g"}}]},"done":false}\n'
    end = b'{"message":{"tool_calls":[{"function":{"name":"h"}}]},"done":true}\n'
    for wish, names in ((False, ["f"]), (True, ["f", "g", "h"]), (None, ["f", "g", "h"])):
        decoder = Ollama().decoder(asked_of_openai("chat", parallel_tool_calls=wish))
        calls = joined([*decoder.feed(one + end), decoder.finish()]).tool_calls
        assert [call.name for call in calls] == names


def test_a_prompt_that_is_to_be_echoed_goes_ahead_of_the_text_once() -> None:
    line, end = b'{"response":"a","done":false}\n', b'{"response":"","done":true}\n'
    for wish, text in ((True, "hia"), (False, "a")):
        request = asked_of_openai("completions", echo=wish)
        decoder = Ollama().decoder(request)
        assert joined([*decoder.feed(line + end), decoder.finish()]).text == text
        assert joined(Ollama().decode_answer(request, b'{"response":"a","done":true}')).text == text


def test_a_completion_of_openai_goes_through_the_template_as_with_ollamas_own_v1() -> None:
    rendered = render(asked_of_openai("completions"), "own")
    assert rendered.path == "/api/generate"
    assert "raw" not in msgspec.json.decode(rendered.body)


def test_the_form_of_the_answer_is_a_word_or_the_schema_itself() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert sent(Chat((HELLO,), format=JsonObject()))[1]["format"] == "json"
    assert sent(Chat((HELLO,), format=JsonSchema(schema, name="x", strict=True)))[1]["format"] == schema


@pytest.mark.parametrize("think", [True, False, "low", "max"])
def test_thinking_is_a_switch_or_an_effort(think: bool | str) -> None:
    assert sent(Chat((HELLO,), think=think))[1]["think"] == think


def test_an_effort_that_ollama_does_not_know_is_refused() -> None:
    assert refused(Chat((HELLO,), think="xhigh")) == "reasoning_effort"


@pytest.mark.parametrize(("wanted", "top"), [(True, 3), (True, 0), (False, None)])
def test_logprobs_are_asked_for_as_the_client_did(wanted: bool, top: int | None) -> None:
    body = sent(Chat((HELLO,), logprobs=wanted, top_logprobs=top))[1]
    assert (body["logprobs"], body.get("top_logprobs")) == (wanted, top)


def test_parts_become_one_text_and_a_list_of_bare_base64() -> None:
    parts = (Text("a"), Image("aW1n", "image/png"), Text("b"), Audio("c25k", "wav"))
    message = {"role": "user", "content": "a\nb", "images": ["aW1n", "c25k"]}
    assert sent(talk((Message("user", parts),)))[1]["messages"] == [message]


def test_a_message_without_content_is_sent_with_an_empty_one() -> None:
    assert sent(talk((Message("assistant", None),)))[1]["messages"] == [{"role": "assistant", "content": ""}]


def test_a_developer_speaks_as_the_system() -> None:
    assert sent(talk((Message("developer", (Text("x"),)),)))[1]["messages"][0]["role"] == "system"


def test_a_tools_answer_names_the_tool_that_was_called() -> None:
    asked = Message("assistant", None, thinking="hm", tool_calls=(ToolCall("f", '{"z": 1.0, "a": 2}', "c1"),))
    answer = Message("tool", (Text("ok"),), tool_call_id="c1")
    unknown = Message("tool", (Text("ok"),), tool_call_id="c2")
    messages = sent(talk((asked, answer, unknown)))[1]["messages"]
    call = {"id": "c1", "function": {"name": "f", "arguments": {"z": 1.0, "a": 2}}}
    assert messages[0] == {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]}
    assert messages[1] == {"role": "tool", "content": "ok", "tool_name": "f", "tool_call_id": "c1"}
    assert messages[2] == {"role": "tool", "content": "ok", "tool_call_id": "c2"}


def test_arguments_keep_the_models_own_order_and_numbers() -> None:
    asked = Message("assistant", None, tool_calls=(ToolCall("f", '{"z": 1.0, "a": 2}'), ToolCall("g", "")))
    body = render(foreign(talk((asked,))), "own").body
    assert b'"arguments":{"z": 1.0, "a": 2}' in body
    assert b'"arguments":{}' in body


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", "true"])
def test_arguments_that_are_no_object_are_refused_with_their_place_and_what_to_do(arguments: str) -> None:
    asked = Message("assistant", None, tool_calls=(ToolCall("f", arguments),))
    with pytest.raises(ProxyError, match=r"JSON text of an object.*leave that call") as caught:
        render(foreign(talk((HELLO, asked))), "own")
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert caught.value.param == "messages[1].tool_calls.function.arguments"


def test_a_persons_name_is_lost_and_listed() -> None:
    _, body, ignored = sent(talk((Message("user", (Text("x"),), name="ann"),)))
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert ignored == ("messages.name",)


def test_a_suffix_needs_the_models_template() -> None:
    body = sent(Completion("p", raw=True, suffix="s"))[1]
    assert body["suffix"] == "s"
    assert "raw" not in body
    assert sent(Completion("p", raw=True, suffix=""))[1]["raw"] is True


def test_a_completion_keeps_all_that_it_says() -> None:
    content = Completion(
        "p", raw=False, system="", template="t", context=(1,), images=(Image("aW1n"),), format=JsonObject(), think=False
    )
    assert sent(content)[1] == {
        "model": "own",
        "prompt": "p",
        "system": "",
        "template": "t",
        "context": [1],
        "images": ["aW1n"],
        "format": "json",
        "think": False,
        "stream": False,
    }
