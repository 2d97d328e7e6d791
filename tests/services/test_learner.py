"""What the end of an attempt teaches of a backend."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.errors import ErrorKind
from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.core.learning import MOST_LENGTHS, Speed
from ollama_proxyd.core.modes import Mode
from ollama_proxyd.core.policy.crowd import Crowd, Neighbour
from ollama_proxyd.core.policy.decision import Decision, Ranked
from ollama_proxyd.core.programs import Program
from ollama_proxyd.core.readings import Reading, SystemState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.services.learner import Learner

DAY_S = 86400.0


def ended(prompt_tokens: int = 100, **facts: Any) -> AttemptEnded:
    """A streamed answer of 40 tokens: its first after 1 s, the others within 4 s."""
    usage = facts.pop("usage", Usage(prompt_tokens=prompt_tokens, completion_tokens=40))
    times = {"begun_s": 10.0, "first_s": 11.0, "ended_s": 15.0}
    told = {"stream": True, "usage": usage, **times, **facts}
    return AttemptEnded("npu", "m", facts.pop("operation", Operation.CHAT), "", prompt_tokens=prompt_tokens, **told)


def learned(*attempts: AttemptEnded) -> Speed:
    learner = Learner()
    for each in attempts:
        learner.observe(each)
    return learner.speeds("npu").get("m", Speed())


def test_the_first_token_of_a_short_prompt_and_what_follows_it_are_learned() -> None:
    speed = learned(ended())
    assert (speed.ttft_s, speed.decode_tps) == (1.0, pytest.approx(39 / 4))


def test_loading_is_no_part_of_reading() -> None:
    assert learned(ended(timings=Timings(load_s=0.4))).ttft_s == pytest.approx(0.6)


def test_a_long_prompt_teaches_how_fast_its_length_is_read_and_answered() -> None:
    speed = learned(ended(4000))
    assert speed.longer == {("prefill_tps", 2): 4000, ("decode_tps", 2): pytest.approx(39 / 4)}
    assert (speed.ttft_s, speed.decode_tps) == (None, None)


def test_an_answer_in_one_piece_shows_it_by_the_backends_own_clock() -> None:
    speed = learned(ended(4000, stream=False, timings=Timings(prompt_s=2.0, decode_s=8.0)))
    assert speed.longer == {("prefill_tps", 2): 2000, ("decode_tps", 2): 5}
    untold = learned(ended(4000, stream=False))
    assert (untold.told_tps, dict(untold.longer)) == (None, {})


def test_a_backends_own_clock_counts_unless_ours_shows_that_it_cannot_be() -> None:
    assert learned(ended(timings=Timings(decode_s=1.0))).decode_tps == 40
    assert learned(ended(timings=Timings(decode_s=0.005))).decode_tps == pytest.approx(39 / 4)


def test_what_was_cached_was_not_read() -> None:
    speed = learned(ended(4000, usage=Usage(4000, 40, cached_tokens=2000)))
    assert speed.longer[("prefill_tps", 1)] == 2000
    assert learned(ended(4000, usage=Usage(4000, 40, cached_tokens=3900))).ttft_s == 1.0


def test_beside_others_it_shows_how_much_they_slow_it_once_its_speed_alone_is_known() -> None:
    alone, beside = ended(), ended(neighbours=2.0, ended_s=19.0)
    speed = learned(alone, alone, *[beside] * 30)
    assert speed.decode_tps == pytest.approx(39 / 4)
    assert speed.beside["npu"] == pytest.approx((8 / 4 - 1) / 2, rel=0.01)
    assert learned(beside).decode_tps == pytest.approx(39 / 8 * 1.5)


def in_batch(number: float) -> AttemptEnded:
    """An answer of a backend that writes 10 tokens a second alone, and each other of a batch slows by a twentieth."""
    return ended(neighbours=number, ended_s=11.0 + 39 / 10 * (1 + 0.05 * number))


def test_a_backend_that_was_never_alone_shows_its_speed_and_what_slows_it_by_fuller_and_emptier_batches() -> None:
    speed = learned(in_batch(2.0), in_batch(2.0), *[in_batch(7.0)] * 80)
    assert speed.beside["npu"] == pytest.approx(0.05, rel=0.05)
    assert speed.decode_tps == pytest.approx(10, rel=0.02)


def test_an_answer_in_an_emptier_batch_than_any_before_shows_its_speed() -> None:
    speed = learned(in_batch(7.0), in_batch(7.0), *[in_batch(1.0)] * 20)
    assert speed.decode_tps == pytest.approx(39 / (39 / 10 * 1.05) * 1.25, rel=0.02)
    assert speed.crowds["decode_tps"] == pytest.approx(1.0, abs=0.1)


def test_a_batch_that_is_always_as_full_shows_nothing_of_how_it_slows() -> None:
    speed = learned(*[in_batch(7.0), in_batch(6.9)] * 20, *[in_batch(7.4)] * 9)
    assert "npu" not in speed.beside
    assert speed.decode_tps == pytest.approx(10 / 1.35 * 2.75, rel=0.03)


def test_the_less_fuller_a_batch_than_those_that_showed_the_speed_the_less_it_weighs() -> None:
    fuller = learned(in_batch(1.0), in_batch(1.0), in_batch(7.0)).beside["npu"]
    hardly = learned(in_batch(6.0), in_batch(6.0), in_batch(7.0)).beside["npu"]
    assert fuller < 0.23
    assert 0.245 < hardly < 0.25


@pytest.mark.parametrize("number", [1, 4])
def test_another_backend_on_the_chip_slows_as_a_whole_however_many_requests_it_has(number: int) -> None:
    ranked = Ranked("npu", "m", 0, 0, 0, 0, 0, 0, 0, 0, crowd=Crowd({"igpu": Neighbour(number, number, 20.0)}, "npu"))
    why = Reason("cheapest")
    decision = Decision((ranked,), (), Mode.BALANCED, Mode.BALANCED, why, why)
    beside = ended(ended_s=17.0, decision=decision)
    speed = learned(ended(), ended(), *[beside] * 30)
    assert speed.beside == {"igpu": pytest.approx(6 / 4 - 1, rel=0.01)}


def by(program: str, tokens: int, finish: FinishReason = FinishReason.STOP, **facts: Any) -> AttemptEnded:
    return ended(usage=Usage(100, tokens), program=Program(program), finish=finish, **facts)


def test_the_length_of_answers_is_learned_for_each_program_and_operation() -> None:
    completes = replace(by("editor", 12), operation=Operation.COMPLETION)
    lengths = learned(by("editor", 300), by("editor", 300), completes, by("", 50)).lengths
    assert lengths["editor", "chat"] == (pytest.approx(300), 2)
    assert lengths["editor", "completion"] == (12, 1)
    assert lengths["", "chat"] == (50, 1)


def test_a_cut_answer_shows_that_they_are_at_least_so_long() -> None:
    assert learned(by("editor", 64, FinishReason.LENGTH)).lengths["editor", "chat"].tokens == 64
    whole = learned(by("editor", 300), by("editor", 64, FinishReason.LENGTH))
    assert (whole.lengths["editor", "chat"].tokens, whole.output_tokens) == (300, 300)
    longer = learned(by("editor", 20), by("editor", 64, FinishReason.LENGTH))
    assert longer.lengths["editor", "chat"].tokens > 20 < (longer.output_tokens or 0)


def test_the_lengths_that_are_kept_have_a_bound() -> None:
    assert len(learned(*[by(f"program {n}", 20) for n in range(3 * MOST_LENGTHS)]).lengths) == MOST_LENGTHS


def test_an_embedding_is_read_until_its_end_and_writes_nothing() -> None:
    times: dict[str, Any] = {"stream": False, "first_s": 10.2, "ended_s": 10.2}
    embedding = replace(ended(usage=Usage(100), **times), operation=Operation.EMBEDDING)
    speed = learned(embedding)
    assert speed.ttft_s == pytest.approx(0.2)
    assert speed.decode_tps is None


@pytest.mark.parametrize("facts", [{"error": ErrorKind.UPSTREAM_FAILED}, {"cancelled": True}, {"displaced": True}])
def test_what_did_not_end_well_teaches_nothing(facts: dict[str, Any]) -> None:
    assert learned(ended(**facts)) == Speed()


def machine(*, on_battery: bool, profile: str = "balanced") -> SystemState:
    return SystemState(on_battery=Reading(on_battery, 0.0), power_profile=Reading(profile, 0.0))


def test_each_condition_has_speeds_of_its_own_that_begin_as_those_of_the_last() -> None:
    learner = Learner()
    learner.follow(machine(on_battery=False))
    seen = learner.speeds("npu")
    for _ in range(9):
        learner.observe(ended())
    learner.follow(machine(on_battery=True))
    assert seen["m"].decode_tps == pytest.approx(39 / 4), "a measurement on the charger is a first guess"
    learner.observe(ended(timings=Timings(decode_s=16.0)))
    assert seen["m"].decode_tps == pytest.approx((39 / 4 * 40 / 16) ** 0.5)
    learner.follow(machine(on_battery=False))
    assert seen["m"].decode_tps == pytest.approx(39 / 4)
    learner.follow(machine(on_battery=False, profile="power-saver"))
    assert seen["m"].weight == 1


def test_what_was_shown_under_other_conditions_counts_more_than_what_its_kin_showed_under_these() -> None:
    learner = Learner()
    learner.follow(machine(on_battery=True))
    learner.suppose("npu", "m", Speed(9.0, 1.0, kin="other"))
    learner.follow(machine(on_battery=False))
    learner.observe(ended())
    learner.follow(machine(on_battery=True))
    speed = learner.speeds("npu")["m"]
    assert (speed.kin, speed.decode_tps) == (None, pytest.approx(39 / 4))


def test_what_is_forgotten_holds_under_no_condition() -> None:
    learner = Learner()
    learner.follow(machine(on_battery=False))
    learner.observe(ended())
    learner.follow(machine(on_battery=True))
    learner.forget("npu", "m")
    learner.follow(machine(on_battery=False))
    assert "m" not in learner.speeds("npu")


def test_what_attempts_before_the_start_showed_counts_as_one_measurement() -> None:
    learner = Learner()
    learner.recall([ended(), ended(), ended(4000), ended(error=ErrorKind.UPSTREAM_FAILED)])
    speed = learner.speeds("npu")["m"]
    assert (speed.ttft_s, speed.samples, speed.is_sure("ttft_s")) == (pytest.approx(1.0), 1, False)
    assert not speed.is_sure(("prefill_tps", 2))
    learner.observe(ended())
    assert learner.speeds("npu")["m"].is_sure("ttft_s")


def test_what_was_learned_since_the_start_stands_against_what_is_recalled() -> None:
    learner = Learner()
    learner.observe(ended())
    learner.recall([ended(first_s=14.0)])
    assert learner.speeds("npu")["m"].ttft_s == 1.0
