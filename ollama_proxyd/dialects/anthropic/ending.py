"""How an answer ended that was passed on as it came."""

from ollama_proxyd.core.events import Finished, FinishReason, Usage
from ollama_proxyd.dialects.anthropic.answer import FRAME, finish_reason, merged
from ollama_proxyd.dialects.anthropic.errors import error_in_answer
from ollama_proxyd.dialects.base import Ending
from ollama_proxyd.dialects.framing import lenient
from ollama_proxyd.dialects.framing.jsonbody import readable
from ollama_proxyd.dialects.framing.sse import events

_FRAMES_WITHOUT_TEXT = 5
"""The start and the end of the message and of a block, and the reason."""


def peek_usage(blocks: bytes, frames_seen: int) -> Ending:
    """What the first and the last events of a stream say; odd data says nothing, and never raises."""
    usage, reason, stop = Usage(), None, None
    is_stopped, error = False, None
    for payload in events(blocks):
        frame = lenient.read(FRAME, payload)
        if frame is None:
            continue
        if frame.reported is not None:
            error = error_in_answer(frame.reported)
        is_stopped |= frame.type == "message_stop"
        usage = merged(merged(usage, frame.message.usage if frame.message else None), frame.usage)
        if frame.delta is not None and frame.delta.stop_reason:
            reason, stop = finish_reason(frame.delta.stop_reason), frame.delta.stop_sequence
    if not usage.completion_tokens:
        tokens = max(0, frames_seen - _FRAMES_WITHOUT_TEXT)
        usage = Usage(usage.prompt_tokens, tokens, usage.cached_tokens, estimated=True)
    finished = Finished(reason or FinishReason.STOP, usage, stop_sequence=stop)
    return Ending(finished, error is None and (is_stopped or reason is not None), error)


def peek_answer(body: bytes) -> Ending:
    """What a whole answer says of its end and usage; one that every reader takes is complete. Never raises."""
    frame = readable(FRAME, body)
    if frame is None:
        return Ending(Finished(), complete=False)
    error = None if frame.reported is None else error_in_answer(frame.reported)
    reason = finish_reason(frame.stop_reason or "end_turn")
    finished = Finished(reason, merged(Usage(), frame.usage), stop_sequence=frame.stop_sequence)
    return Ending(finished, error is None and frame.content is not None, error)
