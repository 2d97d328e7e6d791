"""What is kept of an attempt, and what it becomes again."""

import json
from dataclasses import replace
from math import inf, nan

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.energy import Energy, Source
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.core.history import MOST_NAME_CHARACTERS, attempt_row, ended_of
from ollama_proxyd.core.policy.decision import MOST_ALTERNATIVES, Decision
from ollama_proxyd.core.programs import KnownBy, Program
from ollama_proxyd.core.requests import Operation
from tests.core.reference_profile import REFERENCE, ask

ENDED = AttemptEnded(
    backend_id="npu",
    model="tiny:latest",
    operation=Operation.CHAT,
    request_id="what the client calls it",
    begun_s=990.0,
    ended_s=1000.0,
    first_s=992.0,
    prompt_tokens=12,
    stream=True,
    usage=Usage(11, 80, 5),
    timings=Timings(9.5, 0.5, 1.0, 8.0),
    finish=FinishReason.STOP,
    energy=Energy(1.0, 2.0, 0.5, Source.MEASURED, 0.1),
    program=Program("org.example.App", KnownBy.FLATPAK),
    decision=ask(),
)


def test_an_attempt_comes_back_as_it_was_but_for_its_clock_and_its_request() -> None:
    back = ended_of(attempt_row(ENDED, 2_000.0, "npu").values, since_s=500.0)
    expected = replace(ENDED, begun_s=1490.0, first_s=1492.0, ended_s=1500.0, request_id="", program=back.program)
    assert back == expected


def test_failures_and_what_clients_left_come_back_so() -> None:
    failed = replace(ENDED, error=ErrorKind.UPSTREAM_FAILED, status=500, finish=None, first_s=None)
    ends = failed, replace(ENDED, cancelled=True), replace(ENDED, displaced=True), replace(ENDED, moved=True)
    for ended in ends:
        back = ended_of(attempt_row(ended, 2_000.0, "npu").values, since_s=0.0)
        assert (back.error, back.status, back.cancelled, back.displaced, back.moved, back.succeeded) == (
            (ended.error, ended.status, ended.cancelled, ended.displaced, ended.moved, False)
        )


def test_what_was_foreseen_is_kept_term_by_term_and_the_others_that_were_priced() -> None:
    decision = ask()
    values, (best, *others) = attempt_row(replace(ENDED, decision=decision), 0.0, "npu").values, decision.settled.ranked
    assert values["predicted"]["decode_s"] == float(f"{best.terms['decode_s']:.4g}")
    assert "wake_s" not in values["predicted"], "a term that is zero says nothing"
    assert [each["backend"] for each in values["alternatives"]] == [each.backend_id for each in others] == ["nvidia"]
    assert len(decision.settled.ranked) == 2, "to write of a decision prices nothing"


def test_only_so_many_alternatives_are_kept() -> None:
    many = tuple(replace(REFERENCE[0], spec=replace(REFERENCE[0].spec, id=f"n{at}")) for at in range(50))
    decision = ask(many)
    assert len(decision.ranked[:]) == 50
    values = attempt_row(replace(ENDED, decision=decision), 0.0, "npu").values
    assert len(values["alternatives"]) == MOST_ALTERNATIVES


def test_no_word_of_the_client_is_kept() -> None:
    assert ENDED.request_id not in json.dumps(attempt_row(ENDED, 0.0, "npu").values)


def test_figures_that_are_none_and_endless_names_are_bounded() -> None:
    odd = replace(
        ENDED,
        model="m" * 10_000 + "\ud800",
        usage=Usage(10**40, -3, None),
        timings=Timings(nan, inf, None, 1.0),
        energy=Energy(nan, inf, 1.0),
        program=Program("\ud800"),
    )
    values = attempt_row(odd, 0.0, "npu").values
    assert len(values["model"]) == MOST_NAME_CHARACTERS
    assert values["program"] == "?"
    assert (values["prompt_tokens"], values["completion_tokens"]) == (2**53, 0)
    assert (values["total_s"], values["load_s"], values["decode_s"]) == (None, None, 1.0)
    assert (values["prefill_j"], values["decoding_j"], values["load_j"]) == (0.0, 0.0, 1.0)


def test_an_attempt_without_a_decision_has_no_forecast() -> None:
    nothing = Decision((), (), *(getattr(ask(), name) for name in ("mode", "effective_mode", "mode_reason", "reason")))
    for decision in (None, nothing):
        assert "predicted" not in attempt_row(replace(ENDED, decision=decision), 0.0, "npu").values
