"""The Responses API over HTTP: answers, what is kept of them, and errors."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ollama_proxyd.core.errors import ErrorKind, ProxyError
from ollama_proxyd.core.events import Accepted, Delta, Event, Finished, FinishReason, ToolCallDelta, Usage
from ollama_proxyd.core.requests import Api, Chat, Request
from ollama_proxyd.dialects.openai.responses.decode import EventDecoder
from ollama_proxyd.edges.http_api.settings import ServerSettings
from tests.edges.http_api.conftest import Answer, Serve, Site
from tests.fakes import FakeBackend, frames, words

PATH = "/v1/responses"
ASK = {"model": "tiny", "input": "hello"}
MEMBERS = {
    *(
        "id",
        "object",
        "created_at",
        "completed_at",
        "status",
        "incomplete_details",
        "model",
        "output",
        "error",
        "usage",
    ),
    *("previous_response_id", "instructions", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text"),
    *(
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs",
        "temperature",
        "reasoning",
        "store",
        "metadata",
    ),
    *("max_output_tokens", "max_tool_calls", "background", "service_tier", "safety_identifier", "prompt_cache_key"),
}
"""What every response has, be it null."""
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def events_of(answer: Answer) -> list[dict[str, Any]]:
    blocks = answer.body.decode().removesuffix("\n\n").split("\n\n")
    pairs = [block.split("\n") for block in blocks]
    found = [json.loads(data.removeprefix("data: ")) for _, data in pairs]
    assert [name.removeprefix("event: ") for name, _ in pairs] == [each["type"] for each in found]
    return found


def chat_of(backend: FakeBackend) -> Chat:
    content = backend.requests[-1][0].content()
    assert isinstance(content, Chat)
    return content


async def kept(site: Site, **fields: Any) -> str:
    return str((await site.post(PATH, {**ASK, **fields})).json["id"])


async def test_a_stream_numbers_its_events_and_says_where_each_belongs(serve: Serve) -> None:
    call = ToolCallDelta(0, "c1", "weather", '{"city":"Oslo"}')
    steps = (Accepted(), Delta(thinking="Hm"), Delta(text="Hi"), Delta(tool_calls=(call,)))
    site = await serve(FakeBackend("npu", *steps, Finished(FinishReason.TOOL_CALLS, Usage(3, 5, 2))))
    answer = await site.post(PATH, {**ASK, "stream": True, "tools": [TOOL]})
    events = events_of(answer)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert [each["type"].removeprefix("response.") for each in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        *("content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    assert [each["output_index"] for each in events if "output_index" in each] == [0] * 6 + [1] * 6 + [2] * 4
    done = events[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["reasoning", "message", "function_call"]
    assert done["output"][2]["call_id"] == "c1"
    assert (done["status"], done["tools"], done["store"]) == ("completed", [TOOL], True)
    assert done["completed_at"] >= done["created_at"]
    assert done.keys() >= MEMBERS
    assert events[0]["response"].keys() >= MEMBERS
    assert done["usage"]["input_tokens_details"]["cached_tokens"] == 2
    assert answer.headers["X-Backend-Used"] == "npu"


async def test_an_answer_that_its_limit_cut_is_incomplete(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *words("Hi")[:-1], Finished(FinishReason.LENGTH)))
    for stream in (True, False):
        answer = await site.post(PATH, {**ASK, "stream": stream, "max_output_tokens": 1})
        told = events_of(answer)[-1]["response"] if stream else answer.json
        assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert told["output"][0]["status"] == "incomplete"


async def test_what_was_said_before_goes_with_what_follows_it(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    first = await site.post(PATH, {**ASK, "instructions": "be kind"})
    second = await site.post(PATH, {**ASK, "input": "and?", "previous_response_id": first.json["id"], "stream": True})
    assert [message.role for message in chat_of(backend).messages] == ["user", "assistant", "user"]
    done = events_of(second)[-1]["response"]
    assert done["previous_response_id"] == first.json["id"]
    await site.post(PATH, {**ASK, "previous_response_id": done["id"]})
    assert len(chat_of(backend).messages) == 5
    reference = {"type": "item_reference", "id": done["output"][0]["id"]}
    await site.post(PATH, {**ASK, "input": [reference, {"role": "user", "content": "go on"}]})
    assert [message.role for message in chat_of(backend).messages] == ["assistant", "user"]


async def test_a_response_is_retrieved_listed_and_deleted_unless_it_was_not_to_be_stored(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    created = await site.post(PATH, {**ASK, "input": [{"role": "user", "content": text} for text in "abc"]})
    one = f"{PATH}/{created.json['id']}"
    assert (await site.get(one)).json == created.json
    page = (await site.get(f"{one}/input_items?limit=2")).json
    assert ([item["content"] for item in page["data"]], page["has_more"]) == (["c", "b"], True)
    rest = (await site.get(f"{one}/input_items?after={page['last_id']}")).json
    assert ([item["content"] for item in rest["data"]], rest["has_more"]) == (["a"], False)
    assert (await site.get(f"{one}/input_items?limit=0")).status == 400
    assert (await site.post(f"{one}/cancel")).status == 400
    assert (await site.ask("DELETE", one)).json == {"id": created.json["id"], "object": "response", "deleted": True}
    for method, path in (("GET", one), ("DELETE", one), ("GET", f"{one}/input_items"), ("POST", f"{one}/cancel")):
        gone = await site.ask(method, path)
        assert (gone.status, gone.json["error"]["code"]) == (404, "response_not_found")
    private = await kept(site, store=False)
    assert (await site.get(f"{PATH}/{private}")).status == 404
    lost = await site.post(PATH, {**ASK, "previous_response_id": private})
    assert (lost.status, lost.json["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_conversation_of_items_becomes_turns(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "look"}]},
        call,
        {**call, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
    ]
    answer = await site.post(PATH, {**ASK, "input": items, "tools": [TOOL, {"type": "web_search"}]})
    system, user, turn, *results = chat_of(backend).messages
    assert (system.role, user.role, turn.role) == ("system", "user", "assistant")
    assert (turn.thinking, [each.id for each in turn.tool_calls]) == ("look", ["c1", "c2"])
    assert [(each.role, each.tool_call_id, each.name) for each in results] == [
        ("tool", "c1", "weather"),
        ("tool", "c2", "weather"),
    ]
    assert [tool.name for tool in chat_of(backend).tools] == ["weather"]
    assert backend.requests[-1][0].api is Api.RESPONSES
    assert answer.status == 200


async def test_items_of_tools_that_openai_runs_end_no_conversation_and_free_calls_are_functions(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    items = [
        {"role": "user", "content": "weather?"},
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "mcp_call", "id": "m", "server_label": "s", "name": "roll", "arguments": "{}", "output": "4"},
        {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": 'a "patch"'},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]
    answer = await site.post(PATH, {**ASK, "input": items})
    user, turn, result = chat_of(backend).messages
    (call,) = turn.tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("c1", "apply_patch", {"input": 'a "patch"'})
    assert (user.role, result.role, result.name) == ("user", "tool", "apply_patch")
    assert answer.status == 200


class Reads(FakeBackend):
    """An engine of another API, for which the whole content is read."""

    async def answer(self, request: Request, model: str) -> AsyncGenerator[Event, None]:
        request.content()
        yield Accepted()
        yield Finished()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"type": "computer_call"}]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"background": True}, "background"),
        ({"conversation": "c"}, "conversation"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"metadata": []}, "metadata"),
    ],
)
async def test_a_wrong_field_is_named_as_the_client_wrote_it(serve: Serve, fields: Any, param: str) -> None:
    site = await serve(Reads("npu"))
    answer = await site.post(PATH, {**ASK, **fields})
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_a_break_costs_nothing_before_the_first_word_and_ends_a_stream_after_it_with_an_error(
    serve: Serve,
) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    site = await serve(FakeBackend("npu", failure), FakeBackend("cpu"))
    assert (await site.post(PATH, ASK)).headers["X-Backend-Used"] == "cpu"
    alone = await serve(FakeBackend("npu", *words("Hello")[:-1], failure))
    *_, failed, error = events_of(await alone.post(PATH, {**ASK, "stream": True}))
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert error["type"] == "error"
    assert error["error"]["message"]
    assert error["sequence_number"] == failed["sequence_number"] + 1


async def test_an_answer_that_breaks_goes_on_elsewhere_as_the_same_response(serve: Serve) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    other = FakeBackend("cpu", *words(" world"))
    site = await serve(FakeBackend("npu", *words("Hello")[:-1], failure), other)
    events = events_of(await site.post(PATH, {**ASK, "stream": True}))
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert [item["content"][0]["text"] for item in events[-1]["response"]["output"]] == ["Hello world"]
    assert len({each["response"]["id"] for each in events if "response" in each}) == 1
    assert [message.role for message in chat_of(other).messages] == ["user", "assistant"]


async def test_twenty_at_once_have_ids_of_their_own_and_the_oldest_make_room(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"))
    ids = await asyncio.gather(*(kept(site) for _ in range(20)))
    assert len(set(ids)) == 20
    assert [(await site.get(f"{PATH}/{each}")).status for each in ids] == [200] * 20


async def test_the_token_guards_what_is_kept(serve: Serve) -> None:
    site = await serve(FakeBackend("npu"), listen=ServerSettings(port=0, token="secret"))
    for method, path in (("POST", PATH), ("GET", f"{PATH}/x"), ("DELETE", f"{PATH}/x")):
        assert (await site.ask(method, path)).status == 401


async def test_a_conversation_is_summed_up_and_the_summary_stands_for_it_later(serve: Serve) -> None:
    backend = FakeBackend("npu", *words("They like tea.")[:-1], Finished(usage=Usage(30, 4)))
    site = await serve(backend)
    said = [
        {"role": "user", "content": "I like tea"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"role": "assistant", "content": "Noted."},
    ]
    made = await site.post(f"{PATH}/compact", {"model": "tiny", "input": said, "instructions": "be kind"})
    assert [message.role for message in chat_of(backend).messages] == ["system", "user", "assistant", "user"]
    assert made.json["object"] == "response.compaction"
    assert [item["type"] for item in made.json["output"]] == ["message", "compaction"]
    assert made.json["output"][0]["content"] == "I like tea"
    assert made.json["usage"]["total_tokens"] == 34
    assert (await site.get(f"{PATH}/{made.json['id']}")).status == 404, "it is no response and is not kept"
    later = [*made.json["output"], {"role": "user", "content": "What do I like?"}]
    await site.post(PATH, {"model": "tiny", "input": later})
    told = chat_of(backend).messages
    assert [message.role for message in told] == ["user", "assistant", "user"]
    assert "They like tea." in str(told[1])


async def test_a_response_that_is_kept_can_be_summed_up_and_nothing_cannot(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    first = await kept(site)
    made = await site.post(f"{PATH}/compact", {"model": "tiny", "previous_response_id": first})
    assert [message.role for message in chat_of(backend).messages] == ["user", "assistant", "user"]
    assert [item["type"] for item in made.json["output"]] == ["message", "compaction"]
    nothing = await site.post(f"{PATH}/compact", {"model": "tiny"})
    assert (nothing.status, nothing.json["error"]["param"]) == (400, "input")


async def test_a_summary_is_asked_for_without_tools_and_as_plain_text(serve: Serve) -> None:
    backend = FakeBackend("npu")
    site = await serve(backend)
    asked = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": True}
    as_json = {"text": {"format": {"type": "json_object"}}}
    made = await site.post(f"{PATH}/compact", {"model": "tiny", "input": "I like tea", **asked, **as_json})
    chat = chat_of(backend)
    assert (made.status, chat.tools, chat.tool_choice, chat.format) == (200, (), None, None)


async def test_a_summary_that_was_cut_is_an_error_and_stands_for_nothing(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", *words("They like")[:-1], Finished(FinishReason.LENGTH)))
    answer = await site.post(f"{PATH}/compact", {"model": "tiny", "input": "I like tea", "max_output_tokens": 3})
    assert (answer.status, answer.json["error"]["param"]) == (400, "max_output_tokens")


async def test_a_model_that_sums_nothing_up_is_an_error_and_no_empty_summary(serve: Serve) -> None:
    site = await serve(FakeBackend("npu", Accepted(), Delta(thinking="Hm"), Finished()))
    answer = await site.post(f"{PATH}/compact", {"model": "tiny", "input": "hello", "stream": True})
    assert answer.status == 502
    assert "no summary" in answer.json["error"]["message"]


@pytest.mark.parametrize("content", [None, "", "gAAAAABo", "ollama-proxyd:", "ollama-proxyd:%%", "ollama-proxyd:/w=="])
async def test_a_summary_that_was_made_elsewhere_is_refused_where_it_is(serve: Serve, content: str | None) -> None:
    site = await serve(FakeBackend("npu"))
    item = {"type": "compaction", "encrypted_content": content}
    answer = await site.post(PATH, {"model": "tiny", "input": [{"role": "user", "content": "hi"}, item]})
    assert (answer.status, answer.json["error"]["param"]) == (400, "input[1].encrypted_content")


def own_events(*said: str) -> list[bytes]:
    """An engine's own events up to and with these words."""
    begun = {"id": "resp_own", "object": "response", "model": "tiny", "status": "in_progress", "output": []}
    item = {"type": "message", "id": "msg_own", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": "msg_own", "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.content_part.added", {**place, "part": {"type": "output_text", "text": ""}}),
        *(("response.output_text.delta", {**place, "delta": each}) for each in said),
    ]
    return [
        f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': at, **fields})}\n\n".encode()
        for at, (kind, fields) in enumerate(told)
    ]


def own_end(*said: str) -> bytes:
    part = {"type": "output_text", "text": "".join(said), "annotations": []}
    item = {"type": "message", "id": "msg_own", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "resp_own", "object": "response", "model": "tiny", "status": "completed", "output": [item]}
    told = json.dumps({"type": "response.completed", "response": response})
    return f"event: response.completed\ndata: {told}\n\n".encode()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engines_own_answer_is_kept_like_every_other(serve: Serve, stream: bool) -> None:
    whole = json.dumps(json.loads(own_end("Hi").split(b"data: ")[1])["response"]).encode()
    backend = FakeBackend("npu", *frames(*((*own_events("Hi"), own_end("Hi")) if stream else (whole,))))
    site = await serve(backend)
    await site.post(PATH, {**ASK, "stream": stream})
    one = await site.get(f"{PATH}/resp_own")
    assert one.json["output"][0]["content"][0]["text"] == "Hi"
    await site.post(PATH, {**ASK, "previous_response_id": "resp_own", "stream": True})
    assert [message.role for message in chat_of(backend).messages] == ["user", "assistant", "user"]
    private = await serve(FakeBackend("npu", *frames(whole)))
    await private.post(PATH, {**ASK, "store": False})
    assert (await private.get(f"{PATH}/resp_own")).status == 404


async def test_an_engines_own_answer_that_breaks_goes_on_elsewhere_as_the_same_response(serve: Serve) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    said = (Delta(frame=each) for each in own_events("Hel", "lo"))
    other = FakeBackend("cpu", *words(" world"))
    site = await serve(FakeBackend("npu", Accepted(read=EventDecoder().feed), *said, failure), other)
    events = events_of(await site.post(PATH, {**ASK, "stream": True}))
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert {each["output_index"] for each in events if "output_index" in each} == {0}
    done = events[-1]["response"]
    assert (done["id"], done["status"]) == ("resp_own", "completed")
    assert [item["content"][0]["text"] for item in done["output"]] == ["Hello world"]
    assert [message.role for message in chat_of(other).messages] == ["user", "assistant"]


async def test_an_engines_own_answer_that_breaks_for_good_ends_with_an_error_event(serve: Serve) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    said = (Delta(frame=each) for each in own_events("Hi"))
    site = await serve(FakeBackend("npu", Accepted(read=EventDecoder().feed), *said, failure))
    *_, last = events_of(await site.post(PATH, {**ASK, "stream": True}))
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert "gone" in last["message"]


async def test_a_part_of_a_call_that_has_passed_is_not_written_a_second_time(serve: Serve) -> None:
    failure = ProxyError(ErrorKind.UPSTREAM_FAILED, "gone")
    item = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": ""}
    added = json.dumps({"type": "response.output_item.added", "output_index": 0, "item": item})
    call = f"event: response.output_item.added\ndata: {added}\n\n".encode()
    script = (Accepted(read=EventDecoder().feed), Delta(frame=own_events()[0]), Delta(frame=call), failure)
    other = FakeBackend("cpu")
    answer = await (await serve(FakeBackend("npu", *script), other)).post(PATH, {**ASK, "stream": True})
    assert events_of(answer)[-1]["type"] == "error"
    assert other.requests == []


async def test_a_wrong_item_is_named_by_its_place_in_the_clients_own_input(serve: Serve) -> None:
    site = await serve(Reads("npu"))
    before = await kept(site)
    for item, param in (
        ({"type": "computer_call"}, "input[0]"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": [{"type": "odd"}]}, "input[0].content[0]"),
    ):
        answer = await site.post(PATH, {**ASK, "input": [item], "previous_response_id": before})
        assert (answer.status, answer.json["error"]["param"]) == (400, param)
