"""What one backend of a kind has shown is a guess for its like."""

from dataclasses import replace
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.backend_status import Moment, most_asked
from ollama_proxyd.core.events import FinishReason, Usage
from ollama_proxyd.core.fleet import Hardware, Model, Probe, Profile
from ollama_proxyd.core.gpu_loss import Before, remember
from ollama_proxyd.core.learning import Speed
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.crowd import Neighbour, Neighbours, crowd
from ollama_proxyd.core.policy.priors import expect
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM, Reading
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import Operation
from ollama_proxyd.core.slowing import NEIGHBOUR_SLOWDOWN
from ollama_proxyd.edges.http_api.status_json import backend_json
from ollama_proxyd.services.health import HealthMonitor
from ollama_proxyd.services.kinship import Kinship
from ollama_proxyd.services.learner import Learner
from ollama_proxyd.services.ledger import BackendTotals
from ollama_proxyd.services.switches import NOT_CHECKED
from tests.fakes import FakeBackend, FakeClock, FakeFleet, spec_of

MODEL = Model("tiny:latest")
CARD = Profile(power_w=72.0, ttft_s=0.2, decode_tps=40.0)
TRUE_TPS, TRUE_SLOWS = 30.0, 0.05


def card(backend_id: str, profile: Profile = CARD, **facts: Any) -> FakeBackend:
    return FakeBackend(spec_of(backend_id, hardware=Hardware.NVIDIA, profile=profile, slots=8, **facts))


class Cards:
    """Cards that learn from what ends on them."""

    def __init__(self) -> None:
        self.clock, self.learner = FakeClock(), Learner()
        self.fleet = FakeFleet(self.clock, self.learner)
        kinship = Kinship(self.fleet, self.learner)
        self.fleet.attempts.listen(self.learner.observe)
        self.fleet.attempts.listen(kinship.observe)
        self.health = HealthMonitor(self.fleet, self.clock)

    async def have(self, *backends: FakeBackend) -> None:
        self.fleet.have(*backends)
        await self.health.check_all()

    def answers(
        self, backend_id: str, *batches: float, model: str = MODEL.name, read: int = 9, tps: float = TRUE_TPS
    ) -> None:
        """Answers beside so many others, as long as they truly take."""
        for batch in batches:
            writing_s = 39 * (1 + TRUE_SLOWS * batch) / tps
            times = {"begun_s": 10.0, "first_s": 10.5, "ended_s": 10.5 + writing_s}
            told: dict[str, Any] = {
                "stream": True,
                "usage": Usage(9, 40),
                "finish": FinishReason.STOP,
                "neighbours": batch,
            }
            told |= {"prompt_tokens": read, **times}
            self.fleet.attempts.publish(AttemptEnded(backend_id, model, Operation.CHAT, "", **told))

    def speed(self, backend_id: str) -> Speed:
        return self.fleet.view(backend_id).speeds.get(MODEL.name, Speed())

    def slows(self, backend_id: str) -> float:
        """How much each other of its batch is taken to slow an answer there."""
        view = replace(self.fleet.view(backend_id), in_flight=1)
        met = crowd(view, MODEL, Neighbours({backend_id: Neighbour(1, 1, 72.0)}, 1, 72.0))
        return met.slow - 1


@pytest.fixture
async def cards() -> Cards:
    cards = Cards()
    await cards.have(card("a"), card("b"), card("c", Profile(power_w=300.0, decode_tps=90.0)))
    return cards


async def test_what_one_has_shown_is_expected_of_its_like_and_said_to_be_estimated(cards: Cards) -> None:
    before = expect(cards.fleet.view("b"), MODEL)
    cards.answers("a", 0, 0, 0, 0)
    after = expect(cards.fleet.view("b"), MODEL)
    assert after.decode_tps[0] < before.decode_tps[0]
    assert after.notes[-1] == Reason("speed_of_kin", backend_id="a")
    assert expect(cards.fleet.view("a"), MODEL).decode_tps[0] == pytest.approx(TRUE_TPS)


async def test_others_expect_nothing_of_it(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("c") == Speed()


async def test_one_answer_says_little_and_is_not_passed_on(cards: Cards) -> None:
    cards.answers("a", 0)
    assert cards.speed("b") == Speed()


async def test_what_a_batch_slows_is_learned_of_the_kind_together(cards: Cards) -> None:
    cards.answers("a", *[0] * 4)
    for _ in range(8):
        cards.answers("b", 7, 7, 7)
        cards.answers("a", 0)
    assert cards.slows("a") == pytest.approx(TRUE_SLOWS, abs=0.05)
    assert cards.slows("b") == pytest.approx(TRUE_SLOWS, abs=0.05)
    assert cards.slows("c") == pytest.approx(NEIGHBOUR_SLOWDOWN)
    assert cards.speed("b").decode_tps == pytest.approx(TRUE_TPS, rel=0.25), "it was never seen alone"


async def test_what_a_batch_slows_is_passed_on_as_soon_as_it_has_changed(cards: Cards) -> None:
    cards.answers("a", *[0] * 8)
    assert cards.slows("b") == pytest.approx(NEIGHBOUR_SLOWDOWN)
    cards.answers("a", 7)
    assert cards.slows("b") < 0.9 * NEIGHBOUR_SLOWDOWN


async def test_two_answers_of_its_own_count_by_themselves(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    cards.learner.suppose("b", MODEL.name, Speed(9.0, 1.0, kin="a", seen_once=frozenset({"decode_tps"})))
    cards.answers("b", 0, 0)
    assert cards.speed("b").kin is None
    assert expect(cards.fleet.view("b"), MODEL).decode_tps[0] == pytest.approx(TRUE_TPS)


async def test_its_first_answer_to_a_longer_prompt_takes_the_place_of_the_guess_whenever_it_comes(cards: Cards) -> None:
    long, part = 20_000, ("decode_tps", 3)
    cards.answers("a", 0, 0, 0, 0, read=long)
    cards.answers("b", 0, 0)
    assert cards.speed("b").longer[part] == pytest.approx(TRUE_TPS)
    cards.answers("b", 0, read=long, tps=TRUE_TPS / 10)
    assert cards.speed("b").longer[part] == pytest.approx(TRUE_TPS / 10)
    assert not cards.speed("b").is_sure(part)
    cards.answers("b", 0, read=long, tps=TRUE_TPS / 10)
    assert cards.speed("b").is_sure(part)


async def test_a_newcomer_starts_from_what_is_known_of_its_kind(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    await cards.have(card("a"), card("d"))
    assert (cards.speed("d").kin, cards.speed("d").decode_tps) == ("a", pytest.approx(TRUE_TPS))


async def test_one_that_is_taken_to_be_degraded_counts_on_no_guess(cards: Cards) -> None:
    cards.fleet.note_degraded("b", NOT_CHECKED)
    before = expect(cards.fleet.view("b"), MODEL)
    cards.fleet.note_degraded("b", None)
    cards.answers("a", 0, 0, 0, 0)
    cards.fleet.note_degraded("b", NOT_CHECKED)
    assert cards.speed("b").kin == "a"
    assert expect(cards.fleet.view("b"), MODEL) == before


async def test_one_that_does_not_hold_the_model_expects_nothing_of_it(cards: Cards) -> None:
    cards.fleet.note_up("b", Probe(models=(Model("other:latest"),)))
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed()


async def test_what_was_known_of_a_kind_goes_with_the_last_of_it(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    await cards.have(card("c", Profile(power_w=300.0, decode_tps=90.0)))
    await cards.have(card("d"), card("e"))
    assert cards.speed("d") == cards.speed("e") == Speed()


async def test_one_whose_figures_become_others_expects_nothing_more_of_its_former_kind(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b").kin == "a"
    await cards.have(card("a"), card("b", Profile(power_w=300.0, decode_tps=90.0)))
    assert cards.speed("b") == Speed()
    assert cards.speed("a").samples == 4, "what it showed itself stays"


async def test_cards_whose_engines_turn_out_to_be_others_are_not_alike(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    for backend_id, flavor in (("a", "vllm"), ("b", "llamacpp")):
        cards.fleet.note_up(backend_id, Probe(models=(MODEL,), flavor=flavor))
    assert cards.speed("b") == Speed()
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed()


async def test_cards_whose_engines_turn_out_to_be_the_same_are_alike(cards: Cards) -> None:
    for backend_id in ("a", "b"):
        cards.fleet.note_up(backend_id, Probe(models=(MODEL,), flavor="vllm"))
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b").kin == "a"


async def test_one_that_serves_worse_than_it_should_neither_teaches_nor_learns(cards: Cards) -> None:
    cards.fleet.note_degraded("a", NOT_CHECKED)
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed()
    cards.answers("b", 0, 0, 0, 0)
    assert cards.speed("a").kin is None


@pytest.mark.parametrize("profile", [Profile(), Profile(keep_alive_s=9.0)])
async def test_cards_of_which_no_figure_is_given_are_not_taken_to_be_alike(profile: Profile) -> None:
    cards = Cards()
    await cards.have(card("a", profile), card("b", profile))
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed()


async def test_a_guess_gives_way_to_what_answers_before_the_start_have_shown(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    times: dict[str, Any] = {"stream": True, "usage": Usage(9, 40), "begun_s": 10.0, "first_s": 11.0, "ended_s": 15.0}
    former = AttemptEnded("b", MODEL.name, Operation.CHAT, "", prompt_tokens=9, **times)
    cards.learner.recall([former])
    assert (cards.speed("b").kin, cards.speed("b").ttft_s) == (None, 1.0)


async def test_no_surface_tells_a_guess_as_learned(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    view = cards.fleet.view("b")
    assert view.speeds
    told = backend_json(view, UNKNOWN_SYSTEM, DEFAULT_TABLE[Mode.BALANCED], BackendTotals(), Moment(0.0, 0.0))
    assert told["learned"] == {}
    assert most_asked(view) == Speed()


async def test_a_part_that_only_kin_has_shown_is_no_more_learned_for_the_answers_to_longer_prompts(
    cards: Cards,
) -> None:
    cards.answers("a", 0, 0, 0, 0)
    cards.answers("b", 0, 0, read=20_000, tps=TRUE_TPS / 10)
    view = cards.fleet.view("b")
    told = backend_json(view, UNKNOWN_SYSTEM, DEFAULT_TABLE[Mode.BALANCED], BackendTotals(), Moment(0.0, 0.0))
    assert told["learned"][MODEL.name]["tokens_per_second"] == pytest.approx(TRUE_TPS / 10)
    assert remember(Before(), view).decode_tps == {}


async def test_parts_of_a_former_kin_go_with_it_and_its_own_stay(cards: Cards) -> None:
    cards.answers("a", 0, 0, 0, 0)
    cards.answers("b", 0, 0, read=20_000, tps=TRUE_TPS / 10)
    await cards.have(card("a"), card("b", Profile(power_w=300.0, decode_tps=90.0)))
    assert (cards.speed("b").decode_tps, cards.speed("b").longer.keys()) == (
        None,
        {("prefill_tps", 3), ("decode_tps", 3)},
    )


async def test_only_what_holds_the_same_weights_learns_of_it_whatever_its_name(cards: Cards) -> None:
    own, other = replace(MODEL, digest="d1"), replace(MODEL, digest="d2")
    cards.fleet.note_up("a", Probe(models=(own,)))
    cards.fleet.note_up("b", Probe(models=(other, replace(own, name="copy"))))
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed(), "its model of that name has other weights"
    assert cards.fleet.view("b").speeds["copy"].kin == "a"


@pytest.mark.parametrize(
    "of_each", [({"quantization": "Q4_0"}, {"quantization": "F16"}), ({"size_bytes": 10**9}, {"size_bytes": 2 * 10**9})]
)
async def test_models_of_one_name_and_another_quantisation_or_size_are_not_the_same(
    cards: Cards, of_each: tuple[dict[str, Any], ...]
) -> None:
    for backend_id, facts in zip("ab", of_each, strict=True):
        cards.fleet.note_up(backend_id, Probe(models=(replace(MODEL, **facts),)))
    cards.answers("a", 0, 0, 0, 0)
    assert cards.speed("b") == Speed()


async def test_what_a_kind_shows_under_other_conditions_is_kept_apart(cards: Cards) -> None:
    def conditions(*, on_battery: bool) -> None:
        cards.learner.follow(replace(UNKNOWN_SYSTEM, on_battery=Reading(on_battery, at_s=0.0)))

    conditions(on_battery=False)
    cards.answers("a", *[0] * 8)
    conditions(on_battery=True)
    cards.answers("a", 0, tps=TRUE_TPS / 10)
    assert (cards.speed("b").decode_tps or 0.0) < TRUE_TPS / 2, "one answer is enough beside what is known from before"
    cards.answers("a", *[0] * 15, tps=TRUE_TPS / 10)
    assert cards.speed("b").decode_tps == pytest.approx(TRUE_TPS / 10, rel=0.25)
    conditions(on_battery=False)
    await cards.have(card("a"), card("b"), card("d"))
    assert cards.speed("d").decode_tps == pytest.approx(TRUE_TPS), "nothing of the battery is in it"
