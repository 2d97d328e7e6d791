"""The answers of tools find the calls that they answer, however many there are."""

from ollama_proxyd.core.requests import Message, Text, ToolCall
from ollama_proxyd.dialects.openai.render import OpenCalls, render_messages


def answer_of(name: str | None = None, call_id: str | None = None) -> Message:
    return Message("tool", (Text("x"),), tool_call_id=call_id, name=name)


def test_an_answer_goes_to_its_own_call_else_to_the_first_open_one_of_its_tool() -> None:
    calls = OpenCalls()
    first, second, third = (calls.add(ToolCall(name, "{}")) for name in ("add", "find", "add"))
    assert calls.answered(answer_of("add", third)) == third
    assert calls.answered(answer_of("add")) == first
    assert calls.answered(answer_of("add")) is None
    assert calls.answered(answer_of("add", "elsewhere")) == "elsewhere"
    assert calls.answered(answer_of()) == second
    assert calls.answered(answer_of()) is None


def test_calls_with_the_same_id_are_answered_together() -> None:
    calls = OpenCalls()
    for name in ("add", "find"):
        calls.add(ToolCall(name, "{}", "same"))
    assert calls.answered(answer_of("find")) == "same"
    assert calls.answered(answer_of()) is None


class Counted(str):
    """A name that counts how often it is compared with another."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_answers_do_not_look_through_all_open_calls() -> None:
    calls = tuple(ToolCall(Counted("add"), "{}") for _ in range(1000))
    answers = [*[answer_of("find")] * 500, *[answer_of("add")] * 500, *[answer_of()] * 500]
    rendered = render_messages([Message("assistant", None, tool_calls=calls), *answers], with_thinking=False)
    assert [each.get("tool_call_id") for each in (rendered[1], rendered[501], rendered[-1])] == [
        None,
        "call_1",
        "call_1000",
    ]
    assert Counted.comparisons < 5000
