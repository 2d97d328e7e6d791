"""What an answer would cost on a backend, in joules and seconds, each term by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ollama_proxyd.core.fleet import BackendView, Model
from ollama_proxyd.core.learning import Asker, Speed
from ollama_proxyd.core.modes import ModeRow
from ollama_proxyd.core.policy.crowd import Crowd, cheapest_fill, filled, least_slowing
from ollama_proxyd.core.policy.decision import Ranked
from ollama_proxyd.core.policy.priors import MOST, Expectation, is_known
from ollama_proxyd.core.policy.query import Query
from ollama_proxyd.core.policy.residence import Keeping, Residence
from ollama_proxyd.core.policy.sparing import Sparing
from ollama_proxyd.core.readings import DeviceState
from ollama_proxyd.core.reasons import Reason
from ollama_proxyd.core.requests import WRITING, Hints, Priority
from ollama_proxyd.core.tariff import Tariff
from ollama_proxyd.core.workload import Following, QueueAhead, followers_of

TYPICAL_OUTPUT_TOKENS = 200.0
"""An answer's length where nothing was learned of the model's answers."""
NEXT_TURN = 0.5
"""A conversation is taken to go on for one more turn: what is read anew for it is shared by both."""
URGENT_PRICE_W = 300.0
"""What a second is worth at least to a request that calls itself latency-critical: as much as in Performance."""


class Demand(NamedTuple):
    """What a request asks of a backend."""

    prompt_tokens: float
    output_tokens: float
    is_length_known: bool
    waits_s: Mapping[str, float]
    """The estimated waits until a slot is free, by backend."""
    queues: Mapping[str, QueueAhead]
    """What waits for them."""
    followers: Sequence[Following]
    """The others that wait for the same model, by the backends that could serve them."""
    price_of_time_w: float = 0.0
    others_price_w: float = 0.0
    """What a second is worth to those that it slows."""
    now_s: float = 0.0
    cached_tokens: Mapping[str, float] = {}
    """How much of the prompt each backend is likely to have read already."""


class Candidate(NamedTuple):
    """A backend that can do the work, with all of its price that no request changes."""

    view: BackendView
    model: Model
    device: DeviceState | None
    chip: str
    """The chip whose memory its device shares with others."""
    crowd: Crowd
    """What the requests under way on the same chip mean for one more."""
    expected: Expectation
    keeping: Keeping
    heat_share: float
    """What heat adds, as a share of the work: a device that must slow down takes up to twice the time."""
    heat_note: Reason | None
    noise_share: float
    """What noise and heat in the lap add to each joule of the work."""
    noise_note: Reason | None
    standing: tuple[Reason, ...]
    """What keeps requests off it in the mode while others can serve."""
    critical: Reason | None
    """Why more work would endanger its device."""
    place: tuple[bool, int, str]
    """Its order among equals."""
    known_until_s: float
    """Until when enough answers have shown its speed."""
    elsewhere_w: float = 0.0
    """What the work draws on another machine, as it counts here."""
    network_s: float = 0.0


def price_of_time_w(row: ModeRow, hints: Hints) -> float:
    """What one second of waiting is worth for this request.

    A client that asks for both speed and thrift has not asked for either: the mode's own price holds. Work of the
    lowest priority has no one waiting, unless it is latency-critical.
    """
    if hints.latency_critical and not hints.power_efficient:
        return max(row.price_of_time_w, URGENT_PRICE_W)
    if hints.power_efficient and not hints.latency_critical:
        return 0.0
    return 0.0 if hints.priority is Priority.BEST_EFFORT else row.price_of_time_w


def demand(query: Query, row: ModeRow, typical_tokens: float | None) -> Demand:
    """What a request asks for; how long an answer gets is the model's habit, the same on every backend."""
    is_written = query.operation in WRITING
    expected = (typical_tokens or TYPICAL_OUTPUT_TOKENS) if is_written else 0.0
    if query.max_tokens is not None and query.max_tokens >= 0:
        expected = float(min(query.max_tokens, expected))
    return Demand(
        prompt_tokens=min(max(query.prompt_tokens, 0), MOST),
        output_tokens=expected,
        is_length_known=not is_written or typical_tokens is not None,
        waits_s=query.waits_s,
        queues=query.queues,
        followers=query.followers,
        price_of_time_w=price_of_time_w(row, query.hints),
        others_price_w=row.price_of_time_w,
        now_s=query.now_s,
        cached_tokens=query.cached_tokens,
    )


def price(candidate: Candidate, asked: Demand) -> Ranked:
    """What the request would cost on this backend."""
    view, expected, crowd, price_w = candidate.view, candidate.expected, candidate.crowd, asked.price_of_time_w
    power_w, cached = expected.power_w, (0.0, 0.0)
    stay, stay_notes = candidate.keeping.at(view, asked.now_s)
    if asked.followers:
        followers = followers_of(asked.followers, view.spec.id)
        follow = followers.left_after(stay.wake_s + stay.load_s, len(asked.waits_s))
        stay, crowd = stay.shared(1 + follow), filled(crowd, view, candidate.model, follow)
    if asked.cached_tokens:
        prefill_s, cached, stay = _with_caches(candidate, crowd, asked, stay)
    else:
        prefill_s = expected.prefill_s(asked.prompt_tokens) * crowd.slow
    decode_s = expected.decode_s(asked.prompt_tokens, asked.output_tokens) * crowd.slow
    share_w, alone_s = power_w * crowd.share, (prefill_s + decode_s) / crowd.slow
    delay_j = (asked.others_price_w * crowd.delayed + crowd.delayed_w) * alone_s
    latency_s = stay.wake_s + stay.load_s + prefill_s + candidate.network_s
    queue_wait_s = _queue_wait_s(view.spec.id, asked, latency_s + decode_s) if asked.waits_s else 0.0
    latency_s += queue_wait_s
    time_s = latency_s + decode_s
    work_j = share_w * prefill_s + share_w * decode_s
    noise_j = candidate.noise_share * work_j
    elsewhere_j = candidate.elsewhere_w * (crowd.share * (prefill_s + decode_s) + stay.load_s)
    energy_j = work_j + stay.load_j + stay.wake_j + stay.idle_tail_j
    heat_j = candidate.heat_share * ((share_w + price_w) * (prefill_s + decode_s))
    tariff = view.spec.tariff
    money, money_j = _FREE if tariff is None else _money(tariff, asked)
    cost_j = energy_j + heat_j + money_j + delay_j + noise_j + elsewhere_j
    cost_j += price_w * (time_s - stay.spared_s) - stay.spared_j
    told = expected.notes, stay_notes, (candidate.heat_note, candidate.noise_note)
    figures = (cost_j, energy_j, latency_s * 1000, power_w, time_s, queue_wait_s, prefill_s, decode_s, stay)
    more = (heat_j, money, money_j, price_w, told, expected.is_guess, asked.is_length_known, tariff)
    others = (crowd, delay_j, noise_j, elsewhere_j, candidate.network_s)
    return Ranked(view.spec.id, candidate.model.name, *figures, *more, *others, *cached)


def _with_caches(
    candidate: Candidate, crowd: Crowd, asked: Demand, stay: Residence
) -> tuple[float, tuple[float, float], Residence]:
    """How long it reads; what its cache holds, and spares now; and the stay with what the next turn is spared.

    What reading more here than on another now spares the next turn counts as well.
    """
    is_cached = not stay.load_s  # with its model a cache leaves the memory
    tokens = asked.cached_tokens.get(candidate.view.spec.id, 0.0) if is_cached else 0.0
    expected, slow, most = candidate.expected, crowd.slow, max(asked.cached_tokens.values())
    read_s = expected.prefill_s(asked.prompt_tokens - tokens) * slow
    cached_s = max(expected.prefill_s(asked.prompt_tokens) * slow - read_s, 0.0) if tokens else 0.0
    if most > tokens:
        spared_s = NEXT_TURN * (read_s - expected.prefill_s(asked.prompt_tokens - most) * slow)
        if spared_s > 0:
            spared_j = expected.power_w * crowd.share * spared_s
            stay = Residence(*stay[:5], stay.spared_s + spared_s, stay.spared_j + spared_j, stay.keep_alive_s)
    return read_s, (tokens, cached_s), stay


class Line(NamedTuple):
    """The least that requests of one context cost on a backend, as a line over the tokens that are read and written.

    Others at work on its chip are not in it: they come and go. Where it shares a chip, what its own work costs those
    beside it is taken off, since that is in the sums of the chip.
    """

    fixed_j: float
    read_j: float
    write_j: float
    start_j: float
    """What waking its device and loading its model draw, which those that wait for it share."""
    start_s: float
    busy_s: tuple[float, float, float]
    """How long it would work alone: at first, for each token that is read, and for each that is written."""
    work_w: float
    """What a second of that costs, others' waiting apart."""
    slowed: float
    """How much longer another at work on the chip makes it at least."""
    turn_w: float = 0.0
    """What a second of reading costs that the next turn is spared."""
    is_loaded: bool = True
    """Whether the model is in memory, and with it what was cached of prompts."""
    sparing: Sparing | None = None
    """What later requests may be spared."""

    def most_spared_j(self, now_s: float) -> float:
        """What they are spared at most by one at this moment."""
        return 0.0 if self.sparing is None else self.sparing.most_j(now_s)

    def less_own(self, second_j: float) -> "Line":
        """The same without what its own work, taken for another's, would cost for each second that it takes longer."""
        less_j = self.slowed * (self.work_w + second_j)
        first_s, read_s, write_s = self.busy_s
        costs = self.fixed_j - less_j * first_s, self.read_j - less_j * read_s, self.write_j - less_j * write_s
        return Line._make((*costs, *self[3:]))


class LineKey(NamedTuple):
    """What a line is for."""

    context: int
    price_w: float
    others_price_w: float
    is_followed: bool = False
    """Whether others wait that may follow into the same batch."""


def line(candidate: Candidate, view: BackendView, crowd: Crowd, key: LineKey) -> Line:
    """The same as `price` without the wait, and less what only one request knows, such as how long models stay."""
    expected, keeping, price_w = candidate.expected, candidate.keeping, key.price_w
    shared_w = expected.power_w * (1 + candidate.noise_share + candidate.heat_share) + candidate.elsewhere_w
    own_w, fullest = price_w * (1 + candidate.heat_share), crowd
    if key.is_followed:
        follow = cheapest_fill(crowd, view, candidate.model, (shared_w, own_w, key.others_price_w))
        fullest = filled(crowd, view, candidate.model, view.slots)
        crowd = filled(crowd, view, candidate.model, follow)
    second_j = crowd.slow * (shared_w * crowd.share + own_w) + key.others_price_w * crowd.delayed + crowd.delayed_w
    work_w = shared_w * fullest.share + own_w
    stay = keeping.arrival[0]
    start_j, start_s = stay.wake_j + stay.load_j, stay.wake_s + stay.load_s
    first_s, each_s = expected.least_prefill_s(key.context)
    write_s = 1 / expected.decode_tps[key.context]
    tariff = view.spec.tariff
    read_j, write_j = (0.0, 0.0) if tariff is None else tariff.token_joules
    slowed = least_slowing(view, candidate.model)
    fixed_j = price_w * start_s + first_s * second_j
    costs = fixed_j, read_j + each_s * second_j, write_j + write_s * second_j
    sparing, busy_s = keeping.sparing(view, price_w), (first_s, each_s, write_s)
    turn_w = crowd.slow * (expected.power_w * crowd.share + price_w)
    return Line(*costs, start_j, start_s, busy_s, work_w, slowed, turn_w, not stay.load_s, sparing)


_FREE = (0.0, 0.0)


def _queue_wait_s(backend_id: str, asked: Demand, work_s: float) -> float:
    """How long a request of so much work waits for a slot: what is shorter goes before it."""
    queue = asked.queues.get(backend_id)
    return asked.waits_s.get(backend_id, 0.0) + (0.0 if queue is None else queue.wait_s(work_s))


def _money(tariff: Tariff, asked: Demand) -> tuple[float, float]:
    """What the service takes for the tokens, and the joules that this stands for."""
    money = tariff.spent(asked.prompt_tokens, asked.output_tokens)
    return money, tariff.joules(money)


def typical_output_tokens(speeds: Iterable[Speed], asker: Asker) -> float | None:
    """The mean of what was learned on each backend, weighed by how often; None where nothing was.

    A program's own answers count, and where it had none those to all.
    """
    own_tokens, own_samples, tokens, samples = 0.0, 0, 0.0, 0
    for speed in speeds:
        if (own := speed.lengths.get(asker)) is not None:
            own_tokens += own.tokens * own.samples
            own_samples += own.samples
        if speed.samples > 0 and is_known(speed.output_tokens):
            tokens += speed.output_tokens * speed.samples
            samples += speed.samples
    if own_samples:
        return own_tokens / own_samples
    return tokens / samples if samples else None
