"""A request reaches an OpenAI-style engine as the client's own bytes, or translated field by field."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.canonical_options import CANONICAL_OPTIONS
from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Api,
    Audio,
    Chat,
    Completion,
    Embedding,
    Hints,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    Options,
    Request,
    Text,
    Think,
    Tool,
    ToolCall,
)
from ollama_proxyd.dialects.base import Rendered
from ollama_proxyd.dialects.ollama.parse import parse_chat as ollama_chat
from ollama_proxyd.dialects.openai.dialect import OpenAI
from ollama_proxyd.dialects.openai.options import CHAT, COMPLETION, EMBEDDING, INTERNAL_FIELDS
from ollama_proxyd.dialects.openai.parse import parse_completion, parse_embedding
from ollama_proxyd.dialects.openai.quirks import OptionPolicy
from ollama_proxyd.edges.backends.engines import ENGINES, engine_of
from tests.dialects.openai.openai_samples import body_of, encoded, native, openai_chat, said

HELLO = (said("hi"),)


def render(request: Request, model: str, flavor: str = "generic") -> Rendered:
    """The request as this engine gets it."""
    return engine_of(Api.OPENAI, flavor).speaks[0].render(request, model)


def sent(request: Request, flavor: str = "llamacpp") -> dict[str, Any]:
    fields = msgspec.json.decode(render(request, "theirs", flavor).body)
    assert isinstance(fields, dict)
    return fields


def chat_sent(flavor: str = "llamacpp", **fields: Any) -> dict[str, Any]:
    return sent(native(Chat(**{"messages": HELLO, **fields})), flavor)


def completion_sent(flavor: str = "llamacpp", **fields: Any) -> dict[str, Any]:
    return sent(native(Completion(**{"prompt": "hi", "raw": True, **fields}), "generate"), flavor)


# The same dialect.


def test_in_the_same_dialect_only_the_model_is_renamed() -> None:
    rendered = render(openai_chat(top_k=0, x_unknown={"a": None}), "theirs")
    assert rendered.path == "/v1/chat/completions"
    assert rendered.body == body_of(top_k=0, x_unknown={"a": None}).replace(b'"tiny"', b'"theirs"')
    assert rendered.ignored_fields == ()


def earlier_call(arguments: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": 'say "arguments":""'},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "now", "arguments": arguments}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "noon"},
        ]
    }  # fmt: skip


@pytest.mark.parametrize("arguments", ["", " ", "\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_came_without_arguments_goes_back_with_an_empty_object(arguments: str, stream: bool) -> None:
    told = msgspec.json.decode(render(openai_chat(**earlier_call(arguments), stream=stream), "theirs", "llamacpp").body)
    assert told["messages"] == earlier_call("{}")["messages"]


def test_calls_with_arguments_go_back_as_the_client_wrote_them() -> None:
    for arguments in ('{"a": 1}', "not JSON", "{}"):
        body = render(openai_chat(**earlier_call(arguments)), "theirs").body
        assert body == body_of(**earlier_call(arguments)).replace(b'"tiny"', b'"theirs"')


def test_what_is_no_list_of_calls_is_left_for_the_engine_to_refuse() -> None:
    odd = {"messages": [{"role": "assistant", "tool_calls": {"arguments": ""}}, {"role": "user", "content": "x"}]}
    assert msgspec.json.decode(render(openai_chat(**odd), "theirs").body)["messages"] == odd["messages"]


def test_a_translated_call_without_arguments_has_an_empty_object() -> None:
    calls = (Message("assistant", (), tool_calls=(ToolCall("now", " ", "c1"),)),)
    (message,) = chat_sent(messages=calls)["messages"]
    assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def native_chat(**fields: Any) -> Request:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **fields}
    return ollama_chat(encoded(body), Hints())


def test_what_is_dropped_is_listed_where_the_client_wrote_it() -> None:
    options = {"num_ctx": 256, "num_gpu": 1, "typical_p": 0.5, "top_k": 3}
    rendered = render(native_chat(options=options, keep_alive="5m"), "theirs", "vllm")
    assert set(rendered.ignored_fields) == {"options.num_ctx", "options.num_gpu", "options.typical_p", "keep_alive"}


@pytest.mark.parametrize("flavor", ["generic", "vllm", "openai"])
def test_a_way_of_sampling_that_an_engine_does_not_have_is_refused_by_name(flavor: str) -> None:
    with pytest.raises(ProxyError) as caught:
        render(native_chat(options={"mirostat": 2}), "theirs", flavor)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "options.mirostat")


def test_a_way_of_sampling_that_is_off_or_that_the_engine_has_passes() -> None:
    off = render(native_chat(options={"mirostat": 0, "mirostat_tau": 5.0}), "theirs", "vllm")
    assert "options.mirostat" not in off.ignored_fields
    on = render(native_chat(options={"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2}), "theirs", "llamacpp")
    assert msgspec.json.decode(on.body)["mirostat"] == 2
    assert msgspec.json.decode(on.body)["mirostat_tau"] == 3.0
    assert on.ignored_fields == ()


def test_an_error_instead_of_a_cut_is_what_most_engines_give_and_the_unknown_one_cannot_promise() -> None:
    assert render(native_chat(truncate=False), "theirs", "llamacpp").ignored_fields == ()
    assert render(native_chat(truncate=True), "theirs", "llamacpp").ignored_fields == ("truncate",)
    with pytest.raises(ProxyError) as caught:
        render(native_chat(truncate=False), "theirs", "generic")
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "truncate")
    assert render(native_chat(truncate=None), "theirs", "generic").ignored_fields == ()


@pytest.mark.parametrize("truncate", [True, False])
def test_a_llama_servers_inputs_are_cut_or_refused_as_asked(truncate: bool) -> None:
    content = Embedding(("a",), single=True, options=Options(known={"truncate": truncate}))
    assert render(native(content, "embed"), "theirs", "llamacpp").ignored_fields == ()


def test_in_the_same_dialect_a_body_with_the_right_name_is_not_touched() -> None:
    request = openai_chat(weird="  spaces ")
    assert render(request, "tiny").body is request.body


def test_each_endpoint_keeps_its_path() -> None:
    completion = parse_completion(b'{"model":"m","prompt":[1,2]}', Hints())
    embedding = parse_embedding(b'{"model":"m","input":[[1],[2]]}', Hints())
    assert render(completion, "m").path == "/v1/completions"
    assert render(embedding, "m").path == "/v1/embeddings"


@pytest.mark.parametrize("name", sorted(INTERNAL_FIELDS))
def test_what_belongs_to_a_servers_inside_is_refused_even_in_the_same_dialect(name: str) -> None:
    with pytest.raises(ProxyError) as caught:
        render(openai_chat(**{name: 1}), "tiny")
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, name)


# The tables.


@pytest.mark.parametrize("table", [CHAT, COMPLETION, EMBEDDING], ids=["chat", "completion", "embedding"])
def test_every_canonical_option_has_a_place_or_a_policy(table: dict[str, object]) -> None:
    assert set(table) == set(CANONICAL_OPTIONS)


def test_an_engines_row_only_names_options_that_would_else_be_dropped() -> None:
    for dialect in (dialect for engine in ENGINES.values() for dialect in engine.speaks if isinstance(dialect, OpenAI)):
        for name in dialect.quirks.options:
            assert CHAT[name] is OptionPolicy.DROP
            assert COMPLETION[name] is OptionPolicy.DROP


NUMBERS = st.sampled_from([None, 0, 1, 7])


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "top_k"]), NUMBERS
    )
)
def test_zero_null_and_absent_stay_distinct_from_client_to_engine(options: dict[str, object]) -> None:
    fields = sent(native(openai_chat(**options).content()))
    assert {name: fields[name] for name in fields if name in options} == options
    assert set(fields) == {"model", "messages", "stream", "stream_options", *options}


def test_options_reach_llama_server_under_its_names() -> None:
    known = {"max_tokens": 5, "top_k": 0, "min_p": 0.1, "typical_p": 1, "repeat_penalty": 1.2, "num_keep": 4}
    fields = chat_sent(options=Options(known={**known, "repeat_last_n": -1, "stop": ["a"]}))
    assert (fields["max_tokens"], fields["top_k"], fields["n_keep"]) == (5, 0, 4)
    assert (fields["repeat_penalty"], fields["repeat_last_n"], fields["stop"]) == (1.2, -1, ["a"])


def test_options_reach_vllm_under_its_names_and_the_rest_is_listed() -> None:
    known = {"repeat_penalty": 1.2, "typical_p": 0.9, "num_ctx": 4096, "keep_alive": "5m", "truncate": None}
    content = Chat(HELLO, options=Options(known=known, unknown={"num_gpu": 1, "nope": None}))
    rendered = render(native(content), "theirs", "vllm")
    assert msgspec.json.decode(rendered.body)["repetition_penalty"] == 1.2
    assert rendered.ignored_fields == ("typical_p", "num_ctx", "keep_alive", "num_gpu")


def test_no_limit_is_said_by_leaving_the_limit_out() -> None:
    assert "max_tokens" not in chat_sent(options=Options(known={"max_tokens": -1}))
    assert chat_sent(options=Options(known={"max_tokens": 0}))["max_tokens"] == 0


@pytest.mark.parametrize(("name", "value", "same"), [("n", 2, 1), ("best_of", 3, 1), ("echo", True, False)])
def test_an_option_that_changes_the_answer_is_refused_unless_it_asks_for_what_happens_anyway(
    name: str, value: object, same: object
) -> None:
    with pytest.raises(ProxyError) as caught:
        chat_sent(options=Options(known={name: value}))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, name)
    for harmless in (same, None):
        assert name not in chat_sent(options=Options(known={name: harmless}))


def test_asking_for_the_rendered_prompt_alone_is_refused() -> None:
    with pytest.raises(ProxyError) as caught:
        chat_sent(options=Options(unknown={"_debug_render_only": True}))
    assert caught.value.param == "_debug_render_only"


def test_an_unknown_engine_is_treated_as_the_generic_one() -> None:
    options = Options(known={"top_k": 3})
    assert chat_sent("brand-new", options=options) == chat_sent("generic", options=options)


# Chats.


@pytest.mark.parametrize("stream", [True, False])
def test_a_translated_request_is_streamed_so_that_the_engine_notices_a_client_that_leaves(stream: bool) -> None:
    fields = sent(native(Chat(HELLO), stream=stream))
    assert (fields["stream"], fields["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    ("think", "flavor", "fields"),
    [
        (None, "llamacpp", {}),
        (False, "llamacpp", {"chat_template_kwargs": {"enable_thinking": False}}),
        (True, "vllm", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("max", "llamacpp", {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "max"}}),
        (False, "generic", {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "none"}),
        ("max", "openai", {"reasoning_effort": "high"}),
        ("low", "openai", {"reasoning_effort": "low"}),
        (True, "openai", {}),
    ],
)
def test_thinking_is_switched_in_each_engines_way(think: Think | None, flavor: str, fields: dict[str, Any]) -> None:
    rendered = chat_sent(flavor, think=think)
    assert {name: rendered[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in rendered} == fields


def test_the_form_of_the_answer_is_translated() -> None:
    assert chat_sent(format=JsonObject())["response_format"] == {"type": "json_object"}
    assert chat_sent(format=JsonSchema({"type": "array"}))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "schema", "schema": {"type": "array"}},
    }
    named = chat_sent(format=JsonSchema({}, "x", strict=False))["response_format"]["json_schema"]
    assert named == {"name": "x", "schema": {}, "strict": False}


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, {}),
        ({"logprobs": False}, {"logprobs": False}),
        ({"logprobs": True}, {"logprobs": True, "top_logprobs": 1}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
def test_at_least_one_likeliest_token_is_asked_for_since_engines_take_0_for_none(
    asked: dict[str, Any], fields: dict[str, Any]
) -> None:
    rendered = chat_sent(**asked)
    assert {name: rendered[name] for name in ("logprobs", "top_logprobs") if name in rendered} == fields


def test_messages_are_strings_where_there_is_only_text_and_parts_where_there_is_more() -> None:
    png, wav = Image("iVBORw0KGgoAAA"), Audio("AAAA", "wav")
    messages = (
        said("be brief", "system"),
        Message("user", (Text("look"), png, Image("xx", "image/webp"), wav)),
        Message("assistant", None, thinking="hm"),
        Message("user", ()),
    )
    assert chat_sent(messages=messages)["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgoAAA"}},
                {"type": "image_url", "image_url": {"url": "data:image/webp;base64,xx"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"role": "user", "content": ""},
    ]


def test_earlier_thinking_that_an_engine_does_not_take_is_listed() -> None:
    content = Chat((Message("assistant", (Text("a"),), thinking="hm"), *HELLO))
    rendered = render(native(content), "theirs", "openai")
    assert "reasoning_content" not in msgspec.json.decode(rendered.body)["messages"][0]
    assert rendered.ignored_fields == ("messages.thinking",)


def test_tool_calls_without_ids_get_them_and_their_answers_refer_to_them() -> None:
    calls = (ToolCall("a", "{}"), ToolCall("b", '{"x":1}'), ToolCall("a", '{"y":2}', "given"))
    messages = (
        Message("assistant", (Text(""),), tool_calls=calls),
        Message("tool", (Text("of b"),), name="b"),
        Message("tool", (Text("of given"),), tool_call_id="given"),
        Message("tool", (Text("of a"),), name="a"),
        Message("tool", (Text("of nobody"),), name="c"),
    )
    assistant, b, given_one, a, nobody = chat_sent(messages=messages)["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_1", "call_2", "given"]
    assert assistant["tool_calls"][1] == {
        "id": "call_2",
        "type": "function",
        "function": {"name": "b", "arguments": '{"x":1}'},
    }
    assert (b["tool_call_id"], given_one["tool_call_id"], a["tool_call_id"]) == ("call_2", "given", "call_1")
    assert "tool_call_id" not in nobody


def test_answers_without_a_name_belong_to_the_calls_in_their_order() -> None:
    calls = (ToolCall("a", "{}"), ToolCall("a", "{}"))
    messages = (
        Message("assistant", None, tool_calls=calls),
        Message("tool", (Text("1"),)),
        Message("tool", (Text("2"),)),
    )
    rendered = chat_sent(messages=messages)["messages"]
    assert [message.get("tool_call_id") for message in rendered[1:]] == ["call_1", "call_2"]


def test_tools_go_on_as_they_are() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"minimum": 1}}}]
    assert chat_sent(tools=(Tool("f", parameters={"minimum": 1}),))["tools"] == tools
    assert "tools" not in chat_sent()


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}])
def test_whether_tools_are_called_goes_on_as_it_was_asked(choice: Any) -> None:
    chat = openai_chat(tool_choice=choice).content()
    assert isinstance(chat, Chat)
    assert chat_sent(tool_choice=chat.tool_choice)["tool_choice"] == choice


def test_what_openai_says_survives_a_journey_through_the_cores_words() -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "r", "tool_call_id": "c", "name": "f"},
    ]
    fields = {"messages": messages, "tool_choice": "required", "logit_bias": {"7": -1.5}, "user": "", "seed": 0}
    rendered = sent(native(openai_chat(**fields).content()))
    assert {name: rendered[name] for name in fields} == fields


# Completions.


def test_a_raw_completion_is_a_completion() -> None:
    rendered = render(native(Completion("hi", raw=True, think=True), "generate"), "theirs", "llamacpp")
    assert rendered.path == "/v1/completions"
    fields = msgspec.json.decode(rendered.body)
    assert {name: fields[name] for name in fields if not name.startswith("stream")} == {
        "model": "theirs",
        "prompt": "hi",
    }
    assert rendered.ignored_fields == ("think",)


def test_a_templated_completion_is_a_chat_of_one_turn() -> None:
    content = Completion("hi", raw=False, system="be brief", images=(Image("xx", "image/png"),), think=False)
    rendered = render(native(content, "generate"), "theirs", "llamacpp")
    assert rendered.path == "/v1/chat/completions"
    fields = msgspec.json.decode(rendered.body)
    assert fields["messages"][0] == {"role": "system", "content": "be brief"}
    assert [part["type"] for part in fields["messages"][1]["content"]] == ["text", "image_url"]
    assert fields["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_context_is_dropped_and_listed_and_an_empty_one_is_nothing() -> None:
    assert render(native(Completion("hi", raw=False, context=(1, 2)), "generate"), "m").ignored_fields == ("context",)
    assert render(native(Completion("hi", raw=False, context=()), "generate"), "m").ignored_fields == ()


def test_a_template_of_plain_variables_is_filled_in_here() -> None:
    template = "{{ .System }}|{{- .Prompt -}}  \n{{.Response}}{{ .Prompt }}\n"
    assert completion_sent(raw=False, system="s", template=template)["prompt"] == "s|hihi\n"


@pytest.mark.parametrize("template", ["{{ if .System }}x{{ end }}", "{{ .Messages }}", "{{ Prompt }}"])
def test_a_template_that_computes_is_refused(template: str) -> None:
    with pytest.raises(ProxyError) as caught:
        completion_sent(raw=False, template=template)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "template")


def test_images_have_no_place_in_a_raw_completion() -> None:
    with pytest.raises(ProxyError) as caught:
        completion_sent(images=(Image("x"),))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "images")


def test_a_suffix_goes_only_where_it_is_read() -> None:
    assert completion_sent("openai", raw=False, suffix="end")["suffix"] == "end"
    with pytest.raises(ProxyError) as caught:
        completion_sent("llamacpp", raw=False, suffix="end")
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "suffix")
    assert "suffix" not in completion_sent("llamacpp", raw=False, suffix="")


def test_the_form_of_a_raw_completion_goes_where_each_engine_takes_it() -> None:
    schema = JsonSchema({"type": "array"})
    assert completion_sent("llamacpp", format=schema)["json_schema"] == {"type": "array"}
    assert completion_sent("llamacpp", format=JsonObject())["json_schema"] == {"type": "object"}
    assert completion_sent("vllm", format=schema)["response_format"]["type"] == "json_schema"
    with pytest.raises(ProxyError) as caught:
        completion_sent("generic", format=schema)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "format")


def test_a_raw_completion_asks_for_log_probabilities_with_a_number() -> None:
    assert completion_sent(logprobs=True)["logprobs"] == 1
    assert completion_sent(logprobs=True, top_logprobs=4)["logprobs"] == 4
    assert "logprobs" not in completion_sent(logprobs=False)


# Embeddings.


def test_texts_to_embed_go_one_or_many_and_the_vectors_are_shaped_here() -> None:
    content = Embedding(("a",), single=True, options=Options(known={"dimensions": 4, "temperature": 0, "top_k": 2}))
    rendered = render(native(content, "embed"), "theirs", "llamacpp")
    assert rendered.path == "/v1/embeddings"
    assert msgspec.json.decode(rendered.body) == {"model": "theirs", "input": "a", "encoding_format": "float"}
    assert rendered.ignored_fields == ("temperature", "top_k")
    assert sent(native(Embedding(("a",), single=False), "embed"))["input"] == ["a"]


def test_raw_vectors_are_asked_for_where_an_engine_can() -> None:
    content = Embedding(("a",), single=True, normalized=False)
    assert sent(native(content, "embed"), "llamacpp")["embd_normalize"] == -1
    assert "embd_normalize" not in sent(native(content, "embed"), "vllm")
    assert encoded(sent(native(Embedding(("a",), single=True), "embed"))).count(b"normalize") == 0
