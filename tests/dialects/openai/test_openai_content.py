"""The whole content of OpenAI's requests in the core's words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.requests import (
    Audio,
    Chat,
    Completion,
    Embedding,
    Hints,
    Image,
    JsonObject,
    JsonSchema,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from ollama_proxyd.dialects.openai.options import UNTRANSLATABLE_FIELDS
from ollama_proxyd.dialects.openai.parse import parse_completion, parse_embedding
from tests.dialects.openai.openai_samples import encoded, openai_chat


def content(**fields: object) -> Chat:
    parsed = openai_chat(**fields).content()
    assert isinstance(parsed, Chat)
    return parsed


def completion(**fields: object) -> Completion:
    parsed = parse_completion(encoded({"model": "m", "prompt": "hi", **fields}), Hints()).content()
    assert isinstance(parsed, Completion)
    return parsed


def embedding(**fields: object) -> Embedding:
    parsed = parse_embedding(encoded({"model": "m", **fields}), Hints()).content()
    assert isinstance(parsed, Embedding)
    return parsed


VALUES = st.sampled_from([None, 0, 1, 5])


@given(st.dictionaries(st.sampled_from(["temperature", "top_k", "seed", "min_p", "frequency_penalty"]), VALUES))
def test_zero_null_and_absent_stay_distinct(options: dict[str, object]) -> None:
    assert content(**options).options.known == options


def test_false_stays_distinct_from_absent() -> None:
    assert content(parallel_tool_calls=False).options.known == {"parallel_tool_calls": False}
    assert content(logprobs=False).logprobs is False
    assert content().logprobs is None


def test_options_get_their_canonical_names_and_a_single_stop_becomes_a_list() -> None:
    known = content(stop="\n", max_completion_tokens=4, max_tokens=9, repetition_penalty=1.1, n_keep=3).options.known
    assert known == {"stop": ["\n"], "max_tokens": 4, "repeat_penalty": 1.1, "num_keep": 3}


def test_an_option_is_known_by_the_name_that_the_client_gave_it() -> None:
    options = content(max_completion_tokens=4, max_tokens=None, repetition_penalty=1.1, top_k=2).options
    names = {name: options.name_of(name) for name in options.known}
    assert names == {"max_tokens": "max_completion_tokens", "repeat_penalty": "repetition_penalty", "top_k": "top_k"}


def test_a_null_in_one_spelling_does_not_hide_a_number_in_another() -> None:
    assert content(max_tokens=9, max_completion_tokens=None).options.known == {"max_tokens": 9}
    assert content(max_completion_tokens=None).options.known == {"max_tokens": None}


def test_a_null_stop_stays_null() -> None:
    assert content(stop=None).options.known == {"stop": None}


def test_what_has_no_canonical_name_is_kept_as_unknown() -> None:
    options = content(metadata={"a": 1}, store=False, chat_template_kwargs={"x": 1, "enable_thinking": True}).options
    assert options.known == {}
    assert options.unknown == {"metadata": {"a": 1}, "store": False, "chat_template_kwargs": {"x": 1}}


def test_an_option_of_the_wrong_type_is_named() -> None:
    with pytest.raises(ProxyError) as caught:
        content(temperature="hot")
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "temperature")


@pytest.mark.parametrize("name", sorted(UNTRANSLATABLE_FIELDS))
def test_a_field_that_shapes_the_answer_and_has_no_translation_is_refused_by_name(name: str) -> None:
    with pytest.raises(ProxyError) as caught:
        content(**{name: ["x"]})
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, name)
    assert content(**{name: None})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modalities", ["text", "audio"]),
        ("guided_json", {}),
        ("guided_choice", ["a", "b"]),
        ("grammar", "root ::= x"),
        ("lora", [{"id": 1}]),
        ("min_tokens", 5),
    ],
)
def test_a_wish_without_which_the_answer_would_be_wrong_is_never_dropped(name: str, value: object) -> None:
    for read in (content, completion):
        with pytest.raises(ProxyError) as caught:
            read(**{name: value})
        assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modalities", ["text"]),
        ("guided_json", None),
        ("ignore_eos", False),
    ],
)
def test_a_wish_for_what_happens_anyway_passes(name: str, value: object) -> None:
    assert content(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("function_call", "auto"),
        ("functions", [{"name": "f"}]),
        ("mirostat", 1),
        ("verbosity", "low"),
        ("web_search_options", {}),
        ("unheard_of", {}),
    ],
)
def test_what_ollamas_own_v1_leaves_out_is_no_setting_of_any_other_dialect(name: str, value: object) -> None:
    for read in (content, completion):
        assert read(**{name: value}).options.unknown == {name: value}


def test_a_legacy_call_of_a_function_is_a_tool_call() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    chat = content(messages=[call, {"role": "function", "name": "f", "content": "7"}])
    assert chat.messages[0].tool_calls == (ToolCall("f", "{}"),)
    assert (chat.messages[1].role, chat.messages[1].name) == ("tool", "f")


def test_speech_that_only_openai_keeps_is_refused_by_name() -> None:
    with pytest.raises(ProxyError) as caught:
        content(messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "audio": {"id": "a"}}])
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "messages[1].audio")


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}}, "image_url"),
        ({"type": "image_url", "image_url": "!!!"}, "image_url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "image_url"),
        ({"type": "input_audio", "input_audio": {"data": "!!!", "format": "wav"}}, "input_audio.data"),
    ],
)
def test_media_that_are_no_base64_are_named(part: dict[str, object], field: str) -> None:
    with pytest.raises(ProxyError) as caught:
        content(messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, part]}])
    name = f"messages[0].content[1].{field}"
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, name)
    assert name in caught.value.message


def test_a_conversation_with_tools_is_read_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    chat = content(
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": "hi", "name": "Ann"},
            {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "hm"},
            {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        ],
        tools=[{"type": "function", "function": {"name": "weather"}}],
    )
    system, user, assistant, tool = chat.messages
    assert (system.role, system.parts) == ("system", (Text("be brief"),))
    assert user.name == "Ann"
    assert assistant.parts is None
    assert assistant.thinking == "hm"
    assert assistant.tool_calls == (ToolCall("weather", '{"city":"Oslo"}', "c1"),)
    assert (tool.tool_call_id, tool.name) == ("c1", "weather")
    assert chat.tools == (Tool("weather"),)


def test_arguments_that_come_as_an_object_become_text() -> None:
    call = {"function": {"name": "f", "arguments": {"a": [1, 2]}}}
    chat = content(messages=[{"role": "assistant", "tool_calls": [call]}])
    assert chat.messages[0].tool_calls == (ToolCall("f", '{"a":[1,2]}'),)


def test_parts_become_text_images_and_audio() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": "BBBB"},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
    ]
    chat = content(messages=[{"role": "user", "content": parts}])
    assert chat.messages[0].parts == (Text("look"), Image("AAAA", "image/png"), Image("BBBB"), Audio("CCCC", "wav"))


@pytest.mark.parametrize(
    ("part", "kind", "param"),
    [
        ({"type": "file", "file": {"file_id": "f"}}, ErrorKind.UNSUPPORTED, "messages[0].content[0].type"),
        ({"type": "image_url"}, ErrorKind.INVALID_REQUEST, "messages[0].content[0].image_url"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png,x"}},
            ErrorKind.INVALID_REQUEST,
            "messages[0].content[0].image_url",
        ),
    ],
)
def test_a_part_that_cannot_be_read_is_named(part: dict[str, object], kind: ErrorKind, param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        content(messages=[{"role": "user", "content": [part]}])
    assert (caught.value.kind, caught.value.param) == (kind, param)


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning": {"effort": "medium"}}, "medium"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "high"}}, "high"),
        ({"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "high"}, False),
    ],
)
def test_thinking_is_found_wherever_clients_say_it(fields: dict[str, object], think: Think | None) -> None:
    assert content(**fields).think == think


def test_an_effort_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ProxyError, match="invalid reasoning value: 'huge'"):
        content(reasoning_effort="huge")


SCHEMA: dict[str, Any] = {"type": "object"}


@pytest.mark.parametrize(
    ("wanted", "parsed"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonObject()),
        ({"type": "json_object", "schema": SCHEMA}, JsonSchema(SCHEMA)),
        ({"type": "json_schema", "schema": SCHEMA}, JsonSchema(SCHEMA)),
        (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": False}},
            JsonSchema(SCHEMA, "a", strict=False),
        ),
    ],
)
def test_the_form_of_the_answer_is_read(wanted: object, parsed: object) -> None:
    assert content(response_format=wanted).format == parsed


@pytest.mark.parametrize(
    "wanted", [{"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}]
)
def test_a_form_that_nobody_knows_is_refused(wanted: object) -> None:
    with pytest.raises(ProxyError) as caught:
        content(response_format=wanted)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert "response_format" in str(caught.value.param)


def test_more_than_20_top_logprobs_are_refused() -> None:
    assert content(logprobs=True, top_logprobs=20).top_logprobs == 20
    with pytest.raises(ProxyError, match="top_logprobs must be between 0 and 20"):
        content(logprobs=True, top_logprobs=21)


def test_an_engine_of_another_dialect_reads_a_completions_prompt_through_its_template() -> None:
    assert not completion().raw
    filled = completion(suffix="end")
    assert (filled.raw, filled.suffix) == (False, "end")


def test_a_completion_asks_for_log_probabilities_with_one_number() -> None:
    assert (completion(logprobs=0).logprobs, completion(logprobs=0).top_logprobs) == (True, 0)
    assert (completion(logprobs=3).logprobs, completion(logprobs=3).top_logprobs) == (True, 3)
    assert (completion(logprobs=None).logprobs, completion(logprobs=False).logprobs) == (None, False)


def test_one_prompt_in_a_list_is_one_prompt() -> None:
    assert completion(prompt=["hi"]).prompt == "hi"


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], []])
def test_prompts_of_tokens_or_several_have_no_translation(prompt: object) -> None:
    with pytest.raises(ProxyError) as caught:
        completion(prompt=prompt)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "prompt")


def test_the_texts_to_embed_are_read() -> None:
    one, many = embedding(input="a", dimensions=4), embedding(input=["a", "b"], encoding_format="base64")
    assert (one.inputs, one.single, one.base64, one.normalized) == (("a",), True, False, True)
    assert one.options.known == {"dimensions": 4}
    assert (many.inputs, many.single, many.base64) == (("a", "b"), False, True)


@pytest.mark.parametrize("tokens", [[1, 2], [[1], [2]]])
def test_tokens_to_embed_have_no_translation(tokens: object) -> None:
    with pytest.raises(ProxyError) as caught:
        embedding(input=tokens)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "input")


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(("mode", "choice"), [("auto", ToolMode.AUTO), ("required", ToolMode.REQUIRED)])
def test_of_the_allowed_tools_those_alone_are_there(mode: str, choice: ToolMode) -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}
    tools = [{"type": "function", "function": {"name": name}} for name in ("e", "f", "g")]
    chat = content(tools=tools, tool_choice=allowed)
    assert (chat.tools, chat.tool_choice) == ((Tool("f"),), ToolChoice(choice))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "any", "tools": []}}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}}}, "tool_choice"),
    ],
)
def test_tools_that_no_other_dialect_has_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        openai_chat(**fields).content()
    assert caught.value.param == param


def test_a_tool_that_is_allowed_is_among_the_tools() -> None:
    with pytest.raises(ProxyError) as caught:
        content(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}})
    assert (caught.value.kind, caught.value.param) == (ErrorKind.INVALID_REQUEST, "tool_choice")
