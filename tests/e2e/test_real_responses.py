"""OpenAI's own client, as it is published, asks for responses of the daemon in front of real engines."""

import base64
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.e2e.harness import Daemon
from tests.e2e.tiny_model import REPLY, REPLY_TOKENS, THINK, WEATHER_TOOL

pytestmark = pytest.mark.real
TOOL = {"type": "function", **WEATHER_TOOL["function"], "strict": False}
COLD = {"temperature": 0}


@pytest.fixture(scope="module")
def library() -> Any:
    return import_module("openai")


@pytest.fixture
def client(daemon: Daemon, library: Any) -> Iterator[Any]:
    with library.OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_it_answers_and_goes_on(client: Any, library: Any) -> None:
    first = client.responses.create(model="calm", input="hello", instructions="be kind", **COLD)
    assert (first.output_text, first.status, first.usage.output_tokens) == (REPLY, "completed", REPLY_TOKENS)
    second = client.responses.create(model="calm", input="and?", previous_response_id=first.id, **COLD)
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.role for item in client.responses.input_items.list(second.id, order="asc")] == [
        *("user", "assistant", "user")
    ]
    client.responses.delete(second.id)
    with pytest.raises(library.NotFoundError):
        client.responses.retrieve(second.id)


def test_it_streams_thoughts_and_words(client: Any) -> None:
    with client.responses.stream(model="tiny", input="hello", **COLD) as stream:
        events = list(stream)
        answer = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == REPLY
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == THINK
    off = client.responses.create(model="tiny", input="hello", reasoning={"effort": "none"}, **COLD)
    assert [item.type for item in off.output] == ["message"]


def test_an_answer_that_is_cut_is_incomplete(client: Any) -> None:
    told = list(client.responses.create(model="calm", input="hello", max_output_tokens=16, stream=True, **COLD))
    assert told[-1].type == "response.incomplete"
    assert told[-1].response.incomplete_details.reason == "max_output_tokens"


def test_an_answer_has_the_form_that_is_asked_for(client: Any) -> None:
    pydantic = import_module("pydantic")
    form = pydantic.create_model("Weather", days=(int, ...))
    answer = client.responses.parse(model="calm", input="hello", text_format=form, **COLD)
    assert isinstance(answer.output_parsed.days, int)
    with client.responses.stream(model="calm", input="hello", text_format=form, **COLD) as stream:
        assert isinstance(stream.get_final_response().output_parsed.days, int)


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_and_its_answer_taken(client: Any, stream: bool) -> None:
    ask = {"model": "calm", "tools": [TOOL], **COLD}
    forced = {**ask, "input": "hello", "tool_choice": {"type": "function", "name": "get_weather"}}
    if stream:
        with client.responses.stream(**forced) as events:
            called = events.get_final_response()
    else:
        called = client.responses.create(**forced)
    (call,) = (item for item in called.output if item.type == "function_call")
    assert json.loads(call.arguments)["city"] in {"Paris", "Oslo"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    by_id = client.responses.create(**ask, input=[result], previous_response_id=called.id)
    by_hand = client.responses.create(**ask, input=[{"role": "user", "content": "hello"}, *called.output, result])
    assert by_id.output_text == by_hand.output_text != ""


def test_it_raises_its_own_errors(client: Any, library: Any) -> None:
    with pytest.raises(library.NotFoundError, match="nope"):
        client.responses.create(model="nope", input="hello")
    with pytest.raises(library.BadRequestError, match="not found"):
        client.responses.create(model="calm", input="hello", previous_response_id="resp_none")
    picture = f"data:image/png;base64,{base64.b64encode(b'no').decode()}"
    image = {"role": "user", "content": [{"type": "input_image", "image_url": picture, "detail": "auto"}]}
    with pytest.raises(library.BadRequestError, match="images"):
        client.responses.create(model="calm", input=[image])
