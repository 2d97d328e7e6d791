"""A prior that is wrong does not stay wrong: the policy and the learner before devices of known speed."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.events import FinishReason, Timings, Usage
from ollama_proxyd.core.fleet import FleetView, Model, Profile
from ollama_proxyd.core.modes import DEFAULT_TABLE, Mode
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.rank import rank
from ollama_proxyd.core.readings import UNKNOWN_SYSTEM
from ollama_proxyd.core.requests import Hints, Operation, Priority
from ollama_proxyd.core.watts import Watts, learn_watts
from ollama_proxyd.services.learner import Learner
from tests.core.reference_profile import PROFILES, TINY, backend, setting

TRUE: Mapping[str, Profile] = PROFILES
FOREGROUND, BACKGROUND = Hints(), Hints(priority=Priority.BEST_EFFORT)


def figures(profile: Profile) -> tuple[float, float, float]:
    """Watts, seconds to the first token, tokens per second."""
    assert profile.power_w is not None
    assert profile.ttft_s is not None
    assert profile.decode_tps is not None
    return profile.power_w, profile.ttft_s, profile.decode_tps


def wrong(profile: Profile, power: float = 1.0, speed: float = 1.0) -> Profile:
    """A profile that claims so many times the watts and the speed."""
    power_w, ttft_s, decode_tps = figures(profile)
    return replace(profile, power_w=power_w * power, ttft_s=ttft_s / speed, decode_tps=decode_tps * speed)


def cost_j(backend_id: str, price_w: float, tokens: float) -> float:
    power_w, ttft_s, decode_tps = figures(TRUE[backend_id])
    return (power_w + price_w) * (ttft_s + tokens / decode_tps)


class World:
    """Devices that do what TRUE says, told to the policy as `told` says."""

    def __init__(self, told: Mapping[str, Profile], mode: Mode) -> None:
        self.told, self.mode, self.now_s = told, mode, 0.0
        self.learner, self.watts, self.rng = Learner(), dict[str, Watts | None](), Random(1)
        self.trials: list[str] = []

    def views(self) -> FleetView:
        told = self.told.items()
        return tuple(
            replace(
                backend(each, profile), speeds=self.learner.speeds(each), watts=self.watts.get(each), models=(TINY,)
            )
            for each, profile in told
        )

    def ask(self, hints: Hints = FOREGROUND) -> tuple[str, float]:
        """Where a request goes, and how long its answer is; the answer teaches."""
        query = Query("tiny", prompt_tokens=64, hints=hints, now_s=self.now_s)
        decision = rank(query, self.views(), UNKNOWN_SYSTEM, setting(self.mode))
        chosen, tokens = decision.ranked[0].backend_id, float(max(int(self.rng.lognormvariate(5.2, 0.9)), 8))
        if decision.reason.code == "trial":
            self.trials.append(chosen)
        power_w, ttft_s, decode_tps = figures(TRUE[chosen])
        begun_s, self.now_s = self.now_s, self.now_s + ttft_s + tokens / decode_tps
        usage, timings = Usage(64, int(tokens)), Timings(decode_s=tokens / decode_tps)
        times: dict[str, Any] = {"begun_s": begun_s, "first_s": begun_s + ttft_s, "ended_s": self.now_s}
        ended = AttemptEnded(chosen, TINY.name, Operation.CHAT, "", **times, prompt_tokens=64, stream=True, usage=usage)
        self.learner.observe(replace(ended, timings=timings, finish=FinishReason.STOP))
        self.watts[chosen] = learn_watts(self.watts.get(chosen), power_w, self.now_s - begun_s)
        return chosen, tokens


def excess(world: World, requests: int = 60, since: int = 30) -> float:
    """What requests cost after so many, over what they would have on the backend that is truly the best."""
    row = DEFAULT_TABLE[world.mode]
    within = [each for each in TRUE if (figures(TRUE[each])[0]) <= (row.max_power_w or 1e9)]
    best = min(within, key=lambda each: cost_j(each, row.price_of_time_w, 250))
    spent_j = least_j = 0.0
    for at in range(requests):
        chosen, tokens = world.ask()
        if at >= since:
            spent_j += cost_j(chosen, row.price_of_time_w, tokens)
            least_j += cost_j(best, row.price_of_time_w, tokens)
    return spent_j / least_j - 1


BIAS = {
    "right": (1.0, 1.0),
    "three times too slow": (1.0, 1 / 3),
    "three times too fast": (1.0, 3.0),
    "three times too many watts": (3.0, 1.0),
    "three times too few watts": (1 / 3, 1.0),
    "too fast and too few watts": (1 / 3, 3.0),
}


@pytest.mark.parametrize("mode", [Mode.PERFORMANCE, Mode.BALANCED, Mode.EFFICIENCY])
@pytest.mark.parametrize("which", TRUE)
@pytest.mark.parametrize("bias", BIAS)
def test_after_thirty_requests_a_wrong_prior_costs_at_most_a_twentieth(mode: Mode, which: str, bias: str) -> None:
    told = {each: wrong(profile, *BIAS[bias]) if each == which else profile for each, profile in TRUE.items()}
    assert excess(World(told, mode)) <= 0.05


def test_a_table_that_is_upside_down_heals_as_well() -> None:
    swapped = {"npu": "nvidia", "nvidia": "npu", "igpu": "cpu", "cpu": "igpu"}
    assert excess(World({each: TRUE[other] for each, other in swapped.items()}, Mode.PERFORMANCE)) <= 0.05


def test_each_backend_is_tried_twice_at_most_and_what_could_not_be_the_best_never() -> None:
    world = World(TRUE, Mode.BALANCED)
    for _ in range(200):
        world.ask()
    assert all(world.trials.count(each) <= 2 for each in TRUE)
    assert len(world.trials) < 6


def test_work_in_the_background_tries_first() -> None:
    world = World({**TRUE, "npu": wrong(TRUE["npu"], speed=1 / 3)}, Mode.BALANCED)
    world.ask()
    world.ask(BACKGROUND)
    assert world.trials


def test_a_model_of_another_name_is_not_tried_for_it() -> None:
    world = World(TRUE, Mode.BALANCED)
    world.ask()
    views = tuple(replace(view, models=(Model("other"),)) for view in world.views())
    decision = rank(Query("other", hints=BACKGROUND), views, UNKNOWN_SYSTEM, setting(Mode.BALANCED))
    assert decision.reason.code != "trial"
